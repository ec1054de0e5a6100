// Runs the audits of the npm package graphql-http against a gateway, signed in.
// usage: node run.mjs URL TOKEN; prints one line per audit, exits 1 unless all are ok.
import { serverAudits } from 'graphql-http';

const [url, token] = process.argv.slice(2);

const fetchFn = (input, init = {}) => {
  const headers = new Headers(init.headers);
  headers.set('authorization', `Bearer ${token}`);
  return fetch(input, { ...init, headers });
};

let ok = 0;
const audits = serverAudits({ url, fetchFn });
for (const audit of audits) {
  const result = await audit.fn();
  if (result.status === 'ok') ok += 1;
  console.log(`${result.status.padEnd(6)} ${audit.id} ${audit.name}${result.reason ? `: ${result.reason}` : ''}`);
}
console.log(`${ok} of ${audits.length} audits ok`);
process.exit(ok === audits.length ? 0 : 1);
