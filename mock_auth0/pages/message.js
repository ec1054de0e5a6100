const { message, origin } = document.body.dataset;
const target = window.opener || window.parent;
if (target !== window) target.postMessage(JSON.parse(message), origin);
