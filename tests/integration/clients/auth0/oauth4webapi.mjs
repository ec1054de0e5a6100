// Signs in with oauth4webapi, in Node: node oauth4webapi.mjs ISSUER. Input and output as openid-client.mjs.

import * as oauth from "oauth4webapi";
import readline from "node:readline";

const issuer = new URL(process.argv[2]);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (value) => console.log(JSON.stringify(value));
const answer = async (value) => (say(value), JSON.parse((await lines.next()).value));
const http = { [oauth.allowInsecureRequests]: true };
const redirect = "http://localhost:3000/callback";

const found = await oauth.discoveryRequest(issuer, http);
const server = await oauth.processDiscoveryResponse(issuer, found);
const client = { client_id: "public" };
const verifier = oauth.generateRandomCodeVerifier();
const state = oauth.generateRandomState();
const nonce = oauth.generateRandomNonce();
const address = new URL(server.authorization_endpoint);
for (const [name, value] of Object.entries({
  client_id: "public",
  redirect_uri: redirect,
  response_type: "code",
  scope: "openid email offline_access",
  code_challenge: await oauth.calculatePKCECodeChallenge(verifier),
  code_challenge_method: "S256",
  state,
  nonce,
}))
  address.searchParams.set(name, value);

const back = await answer({ step: "authorize", address });
const checked = oauth.validateAuthResponse(server, client, new URL(back.location), state);
const DPoP = oauth.DPoP(client, await oauth.generateKeyPair("ES256"));
const redeem = () =>
  oauth.authorizationCodeGrantRequest(server, client, oauth.None(), checked, redirect, verifier, { DPoP, ...http });
const grant = async () =>
  oauth.processAuthorizationCodeResponse(server, client, await redeem(), { expectedNonce: nonce, requireIdToken: true });
const tokens = await grant().catch((error) => {
  if (!oauth.isDPoPNonceError(error)) throw error;
  return grant();
});
const claims = oauth.getValidatedIdTokenClaims(tokens);
say({ step: "code", email: claims.email, type: tokens.token_type });
const info = await oauth.userInfoRequest(server, client, tokens.access_token, { DPoP, ...http });
say({ step: "userinfo", email: (await oauth.processUserInfoResponse(server, client, claims.sub, info)).email });
const again = await oauth.refreshTokenGrantRequest(server, client, oauth.None(), tokens.refresh_token, { DPoP, ...http });
say({ step: "refresh", type: (await oauth.processRefreshTokenResponse(server, client, again)).token_type });
process.exit(0);
