// A page that signs in with @auth0/auth0-spa-js: `begin` makes a client, which outlives the redirect.

import { createAuth0Client } from "@auth0/auth0-spa-js";

window.begin = async (options) => {
  sessionStorage.setItem("options", JSON.stringify(options));
  const { authorizationParams, ...rest } = options;
  window.auth0 = await createAuth0Client({
    ...rest,
    authorizationParams: { redirect_uri: `${location.origin}/callback`, ...authorizationParams },
  });
};

window.failed = (action) => action().then(() => "", (error) => error.error ?? String(error));

if (location.pathname === "/callback") {
  await window.begin(JSON.parse(sessionStorage.getItem("options")));
  if (location.search) {
    window.callback = await window.failed(() => window.auth0.handleRedirectCallback());
    history.replaceState(null, "", "/callback");
  }
}
window.ready = true;
