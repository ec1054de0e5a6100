"""The HTML pages: login, errors, logout, and the responses for `form_post` and `web_message`.

All values from requests are escaped here. The content security policy allows scripts and styles by their hash.
"""

from __future__ import annotations

import base64
import hashlib
import json
from collections.abc import Iterable
from html import escape
from urllib.parse import urlsplit

from aiohttp import web

from .messages import NO_STORE, Parameters

_STYLE = """
:root{color-scheme:light dark;--ink:#1c2333;--soft:#5c6579;--line:#d6dbe6;--card:#fff;--back:#eef1f7;--act:#3b4fd8;
--bad:#b3261e;--bad-back:#fdecea}
@media (prefers-color-scheme:dark){:root{--ink:#e8ebf4;--soft:#9aa4ba;--line:#343c50;--card:#1b2130;--back:#10141e;
--act:#7385ff;--bad:#ff9d94;--bad-back:#3a1d1d}}
*{box-sizing:border-box}
body{margin:0;min-height:100vh;display:grid;place-items:center;padding:1.5rem;background:var(--back);color:var(--ink);
font:16px/1.5 system-ui,sans-serif}
main{width:100%;max-width:25rem;background:var(--card);border:1px solid var(--line);border-radius:14px;padding:2rem;
box-shadow:0 12px 40px rgba(20,30,60,.10)}
h1{margin:0;font-size:1.5rem;line-height:1.25;text-wrap:balance}
p{margin:.35rem 0 1.25rem;color:var(--soft);overflow-wrap:anywhere}
label{display:block;margin:0 0 .3rem;font-weight:600;font-size:.9rem}
input{width:100%;margin:0 0 1rem;padding:.65rem .75rem;font:inherit;color:inherit;background:transparent;
border:1px solid var(--line);border-radius:8px}
input:focus-visible,button:focus-visible{outline:2px solid var(--act);outline-offset:2px}
button{font:inherit;cursor:pointer}
.go{width:100%;padding:.7rem;border:0;border-radius:8px;background:var(--act);color:var(--card);font-weight:600}
.bad{margin:0 0 1rem;padding:.6rem .75rem;border-radius:8px;background:var(--bad-back);color:var(--bad)}
section{margin-top:1.5rem;padding-top:1.1rem;border-top:1px solid var(--line)}
h2{margin:0 0 .4rem;font-size:.85rem;color:var(--soft);font-weight:600}
ul{margin:0;padding:0;list-style:none}
li button{width:100%;text-align:left;padding:.4rem .5rem;border:0;border-radius:6px;background:none;color:inherit}
li button:hover{background:var(--back)}
form li button{margin:0 0 .5rem;padding:.6rem .75rem;border:1px solid var(--line);border-radius:8px}
li span{color:var(--soft)}
""".strip()

_PICK_USER = """
for (const button of document.querySelectorAll("[data-email]")) {
  button.addEventListener("click", () => {
    document.getElementById("username").value = button.dataset.email;
    document.getElementById("password").focus();
  });
}
""".strip()

_SUBMIT = "document.forms[0].submit();"

_POST_MESSAGE = """
const { message, origin } = document.body.dataset;
const target = window.opener || window.parent;
if (target !== window) target.postMessage(JSON.parse(message), origin);
""".strip()


def _source(text: str) -> str:
    return f"'sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}'"


_STYLE_SOURCE = _source(_STYLE)


def login_page(
    transaction: str,
    application: str,
    redirect_uri: str,
    emails: Iterable[str],
    *,
    username: str = "",
    error: str = "",
) -> web.Response:
    """Return the login form; with `error` as the response to a failed login (status 400)."""
    alert = f'<div class="bad" role="alert">{escape(error)}</div>' if error else ""
    focus_name, focus_password = ("", " autofocus") if username else (" autofocus", "")
    people = "".join(
        f'<li><button type="button" data-email="{escape(email)}">{escape(email)}</button></li>' for email in emails
    )
    body = (
        f"<main><h1>Sign in</h1><p>to continue to {escape(application)}</p>{alert}"
        '<form method="post" action="/u/login">'
        f'<input type="hidden" name="state" value="{escape(transaction)}">'
        '<label for="username">Email address</label>'
        f'<input id="username" name="username" type="email" autocomplete="username" required'
        f' value="{escape(username)}"{focus_name}>'
        '<label for="password">Password</label>'
        '<input id="password" name="password" type="password" autocomplete="current-password" required'
        f'{focus_password}><button class="go" type="submit">Continue</button></form>'
        f"<section><h2>Sandbox users</h2><ul>{people}</ul></section></main>"
    )
    # Browsers apply form-action to the redirect after the form too, so it must allow the application's origin.
    form_action = f"'self' {origin_of(redirect_uri)}"
    return _page("Sign in", body, script=_PICK_USER, status=400 if error else 200, form_action=form_action)


def error_page(message: str, status: int = 400) -> web.Response:
    """Return the page for an error of the application."""
    body = f"<main><h1>Invalid request</h1><p>{escape(message)}</p></main>"
    return _page("Error", body, status=status)


def signed_out_page() -> web.Response:
    """Return the page after a logout without a redirect."""
    return _page("Signed out", "<main><h1>Signed out</h1><p>You can close this window.</p></main>")


def everywhere_page(action: str, emails: Iterable[str]) -> web.Response:
    """Return the page with the users who can be logged out everywhere."""
    people = "".join(
        f'<li><button name="email" value="{escape(email)}">{escape(email)}</button></li>' for email in emails
    )
    body = (
        "<main><h1>Log out everywhere</h1>"
        "<p>Ends the user's sessions here, and sends a logout token to the applications.</p>"
        f'<form method="post" action="{escape(action)}"><ul>{people}</ul></form></main>'
    )
    return _page("Log out everywhere", body, form_action="'self'")


def logout_results_page(email: str, ended: int, results: Iterable[tuple[str, str, int]]) -> web.Response:
    """Return the page with the responses of the applications to the logout token."""
    rows = "".join(
        f"<li>{escape(client)} <span>{escape(uri)}: {status or 'not reached'}</span></li>"
        for client, uri, status in results
    )
    body = (
        f"<main><h1>Logged out everywhere</h1><p>{escape(email)}: {ended} sessions here</p>"
        f"<section><h2>Applications</h2><ul>{rows}</ul></section></main>"
    )
    return _page("Logged out everywhere", body)


def form_post_page(redirect_uri: str, parameters: Parameters) -> web.Response:
    """Return a page that posts a form to the application (OAuth 2.0 Form Post Response Mode)."""
    fields = "".join(
        f'<input type="hidden" name="{escape(name)}" value="{escape(value)}">' for name, value in parameters.items()
    )
    body = (
        f'<form method="post" action="{escape(redirect_uri)}">{fields}'
        '<noscript><button class="go" type="submit">Continue</button></noscript></form>'
    )
    # No form-action: the application may redirect the post to any address.
    return _page("Signing in", body, script=_SUBMIT, form_action=None)


def web_message_page(redirect_uri: str, parameters: Parameters) -> web.Response:
    """Return a page that sends the result to the window that opened or embeds it."""
    origin = origin_of(redirect_uri)
    message = json.dumps({"type": "authorization_response", "response": dict(parameters)})
    attributes = f' data-message="{escape(message)}" data-origin="{escape(origin)}"'
    return _page("Signing in", "", script=_POST_MESSAGE, attributes=attributes, ancestors=origin)


def origin_of(uri: str) -> str:
    """Return scheme, host and port of a URI."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}"


def _page(
    title: str,
    body: str,
    *,
    script: str = "",
    status: int = 200,
    form_action: str | None = "'none'",
    attributes: str = "",
    ancestors: str = "'none'",
) -> web.Response:
    policy = {
        "default-src": "'none'",
        "style-src": _STYLE_SOURCE,
        "script-src": _source(script) if script else "'none'",
        "base-uri": "'none'",
        "frame-ancestors": ancestors,
    }
    if form_action is not None:
        policy["form-action"] = form_action
    html = (
        '<!doctype html><html lang="en"><head><meta charset="utf-8">'
        '<meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{_STYLE}</style></head><body{attributes}>{body}"
        f"{f'<script>{script}</script>' if script else ''}</body></html>"
    )
    headers = {
        **NO_STORE,
        "Content-Security-Policy": "; ".join(f"{name} {value}" for name, value in policy.items()),
        "X-Content-Type-Options": "nosniff",
        "Referrer-Policy": "no-referrer",
    }
    return web.Response(text=html, status=status, content_type="text/html", headers=headers)
