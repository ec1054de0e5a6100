// Signs in with openid-client, in Node: node openid-client.mjs ISSUER. It prints one line of JSON for each step, and
// reads the answers of a browser, one line of JSON each.

import * as client from "openid-client";
import readline from "node:readline";

const [issuer] = process.argv.slice(2);
const lines = readline.createInterface({ input: process.stdin })[Symbol.asyncIterator]();
const say = (value) => console.log(JSON.stringify(value));
const answer = async (value) => (say(value), JSON.parse((await lines.next()).value));
const insecure = { execute: [client.allowInsecureRequests] };
const redirect_uri = "http://localhost:3000/callback";

const open = await client.discovery(new URL(issuer), "public", undefined, client.None(), insecure);
const code_verifier = client.randomPKCECodeVerifier();
const state = client.randomState();
const address = client.buildAuthorizationUrl(open, {
  redirect_uri,
  scope: "openid email offline_access",
  code_challenge: await client.calculatePKCECodeChallenge(code_verifier),
  code_challenge_method: "S256",
  state,
});
const back = await answer({ step: "authorize", address });
const tokens = await client.authorizationCodeGrant(open, new URL(back.location), {
  pkceCodeVerifier: code_verifier,
  expectedState: state,
});
say({ step: "code", email: tokens.claims().email });

const fresh = await client.refreshTokenGrant(open, tokens.refresh_token);
say({ step: "refresh", rotated: fresh.refresh_token !== tokens.refresh_token });
const info = await client.fetchUserInfo(open, fresh.access_token, tokens.claims().sub);
say({ step: "userinfo", email: info.email });
await client.tokenRevocation(open, fresh.refresh_token);
say({ step: "revoked", error: await client.refreshTokenGrant(open, fresh.refresh_token).catch((e) => e.error) });

const device = await client.initiateDeviceAuthorization(open, { scope: "openid email" });
await answer({ step: "activate", address: device.verification_uri_complete });
const ofDevice = await client.pollDeviceAuthorizationGrant(open, device);
say({ step: "device", email: ofDevice.claims().email });

const DPoP = client.getDPoPHandle(open, await client.randomDPoPKeyPair("ES256"));
const password = { username: "user@example.com", password: "password", scope: "openid email" };
const bound = await client.genericGrantRequest(open, "password", password, { DPoP });
const boundInfo = await client.fetchUserInfo(open, bound.access_token, tokens.claims().sub, { DPoP });
say({ step: "dpop", type: bound.token_type, email: boundInfo.email });

const { publicKey, privateKey } = await crypto.subtle.generateKey(
  { name: "RSASSA-PKCS1-v1_5", modulusLength: 2048, publicExponent: new Uint8Array([1, 0, 1]), hash: "SHA-256" },
  true,
  ["sign", "verify"],
);
const spki = Buffer.from(await crypto.subtle.exportKey("spki", publicKey)).toString("base64");
await answer({ step: "key", pem: `-----BEGIN PUBLIC KEY-----\n${spki}\n-----END PUBLIC KEY-----\n` });
const signing = await client.discovery(new URL(issuer), "signing", undefined, client.PrivateKeyJwt(privateKey), insecure);
const service = await client.clientCredentialsGrant(signing, { audience: "https://api.example" });
say({ step: "private_key_jwt", type: service.token_type });

const hybrid = await client.discovery(new URL(issuer), "web", { client_secret: "secret" }, undefined, insecure);
client.useCodeIdTokenResponseType(hybrid);
const nonce = client.randomNonce();
const both = client.buildAuthorizationUrl(hybrid, { redirect_uri, scope: "openid email", nonce, state });
const fragment = await answer({ step: "hybrid", address: both });
const mixed = await client.authorizationCodeGrant(hybrid, new URL(fragment.location), {
  expectedNonce: nonce,
  expectedState: state,
});
say({ step: "mixed", email: mixed.claims().email });
say({ step: "logout", address: client.buildEndSessionUrl(open, { post_logout_redirect_uri: redirect_uri }) });
process.exit(0);
