// Runs one scenario with an npm client: node node.mjs CLIENT SCENARIO URL TOKEN. It ends with its standard input.

import { createClient as createSse } from "graphql-sse";
import { createClient as createWs } from "graphql-ws";
import WebSocket from "ws";
import { play } from "./scenarios.mjs";

const [client, scenario, url, token] = process.argv.slice(2);
const retryAttempts = scenario === "reconnect" ? 5 : 0;
const soon = () => new Promise((done) => setTimeout(done, 100));

function subscriber() {
  if (client === "graphql-ws")
    return createWs({
      url: url.replace("http", "ws"),
      webSocketImpl: WebSocket,
      connectionParams: { authorization: `Bearer ${token}` },
      retryAttempts,
      retryWait: soon,
    });
  return createSse({
    url,
    singleConnection: client === "graphql-sse-single",
    headers: { authorization: `Bearer ${token}` },
    retryAttempts,
    retry: soon,
  });
}

const made = subscriber();
play(
  (payload, sink) => made.subscribe(payload, sink),
  scenario,
  (event, data) => console.log(JSON.stringify({ event, data })),
);
process.stdin.on("end", () => process.exit(0)).resume();
