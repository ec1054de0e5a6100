// Runs one scenario with Apollo Client in a page: ?link=ws|sse&scenario=…&url=…&token=… It reports to its own origin.

import { ApolloClient, ApolloLink, gql, InMemoryCache } from "@apollo/client";
import { GraphQLWsLink } from "@apollo/client/link/subscriptions";
import { print } from "graphql";
import { createClient as createSse } from "graphql-sse";
import { createClient as createWs } from "graphql-ws";
import { Observable } from "rxjs";
import { play } from "./scenarios.mjs";

const given = Object.fromEntries(new URLSearchParams(location.search));
const retryAttempts = given.scenario === "reconnect" ? 5 : 0;
const soon = () => new Promise((done) => setTimeout(done, 100));

class SseLink extends ApolloLink {
  constructor(options) {
    super();
    this.client = createSse(options);
  }

  request({ query, ...operation }) {
    return new Observable((sink) => this.client.subscribe({ ...operation, query: print(query) }, sink));
  }
}

const link =
  given.link === "ws"
    ? new GraphQLWsLink(
        createWs({
          url: given.url.replace("http", "ws"),
          connectionParams: { authorization: `Bearer ${given.token}` },
          retryAttempts,
          retryWait: soon,
        }),
      )
    : new SseLink({
        url: given.url,
        headers: { authorization: `Bearer ${given.token}` },
        retryAttempts,
        retry: soon,
      });
const client = new ApolloClient({ link, cache: new InMemoryCache() });

let last = Promise.resolve();
function report(event, data) {
  last = last.then(() => fetch("/report", { method: "POST", body: JSON.stringify({ event, data }) }));
}

play(
  ({ query, variables }, sink) => {
    const subscription = client.subscribe({ query: gql(query), variables }).subscribe({
      next: (result) => (result.error ? sink.error(result.error) : sink.next(result)),
      error: sink.error,
      complete: sink.complete,
    });
    return () => subscription.unsubscribe();
  },
  given.scenario,
  report,
);
