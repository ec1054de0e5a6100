// A page that signs in with auth0-js: `begin` makes a client, which outlives the redirect.

import auth0 from "auth0-js";

window.call = (object, method, ...parameters) =>
  new Promise((done) => object[method](...parameters, (error, result) => done({ error, result })));

window.begin = (options) => {
  sessionStorage.setItem("options", JSON.stringify(options));
  window.webAuth = new auth0.WebAuth({ redirectUri: `${location.origin}/callback`, ...options });
};

if (location.pathname === "/callback") {
  window.begin(JSON.parse(sessionStorage.getItem("options")));
  if (location.hash) window.callback = await window.call(window.webAuth, "parseHash", {});
}
window.ready = true;
