"""The HTML pages: rendered from the templates in `pages/`, which escape all values.

A page loads its style and its scripts from this server only, and contains none.
"""

from __future__ import annotations

import functools
import json
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import jinja2

from mock_server.messages import Request, Response

from .messages import NO_STORE, Parameters

if TYPE_CHECKING:
    from .tenant import Tenant

SHOWN_USERS = 24
SHOWN_GENERATED = 3
FOLDER = Path(__file__).with_name("pages")
ASSETS = {
    "/u/style.css": ("style.css", "text/css; charset=utf-8"),
    "/u/icon.svg": ("icon.svg", "image/svg+xml"),
    "/u/submit.js": ("submit.js", "text/javascript; charset=utf-8"),
    "/u/message.js": ("message.js", "text/javascript; charset=utf-8"),
    "/u/copy.js": ("copy.js", "text/javascript; charset=utf-8"),
}


def page(
    template: str,
    *,
    status: int = 200,
    form_action: str | None = "'none'",
    script: bool = False,
    ancestors: str = "'none'",
    **values: object,
) -> Response:
    """Return a page.

    Args:
        template: the name of its file.
        status: the status code.
        form_action: where its forms may lead to; None: anywhere.
        script: True if it has a script.
        ancestors: the origin that may embed it.
        values: what the template needs.
    """
    policy = {
        "default-src": "'none'",
        "style-src": "'self'",
        "img-src": "'self'",
        "script-src": "'self'" if script else "'none'",
        "base-uri": "'none'",
        "frame-ancestors": ancestors,
    }
    if form_action is not None:
        policy["form-action"] = form_action
    headers = (
        *NO_STORE,
        ("Content-Security-Policy", "; ".join(f"{name} {value}" for name, value in policy.items())),
        ("X-Content-Type-Options", "nosniff"),
        # With no-referrer, browsers would post the forms of a page with `Origin: null`.
        ("Referrer-Policy", "same-origin"),
    )
    text = _templates().get_template(template).render(values)
    return Response(status, text.encode("utf-8", "replace"), "text/html; charset=utf-8", headers)


def message_page(title: str, text: str, status: int = 200) -> Response:
    """Return a page with a title and a sentence."""
    return page("message.html", status=status, title=title, text=text)


def error_page(text: str, status: int = 400) -> Response:
    """Return the page for an error."""
    return page("message.html", status=status, title="Oops, something went wrong", text=text, failed=True)


def form_post_page(redirect_uri: str, parameters: Parameters) -> Response:
    """Return a page that posts a form to the application (OAuth 2.0 Form Post Response Mode)."""
    # No form-action: the application may redirect the post to any address.
    return page("form_post.html", script=True, form_action=None, action=redirect_uri, parameters=parameters)


def web_message_page(redirect_uri: str, parameters: Parameters) -> Response:
    """Return a page that sends the result to the window that opened or embeds it."""
    origin = origin_of(redirect_uri)
    message = json.dumps({"type": "authorization_response", "response": dict(parameters)})
    return page("web_message.html", script=True, ancestors=origin, origin=origin, message=message)


def asset(tenant: Tenant, request: Request) -> Response:
    """Serve a style, a script or an image of the pages."""
    name, kind = ASSETS[request.path]
    headers = (("Cache-Control", "max-age=300"), ("X-Content-Type-Options", "nosniff"))
    return Response(200, _content(name), kind, headers)


def picture(tenant: Tenant, request: Request) -> Response:
    """Serve the picture of a user: up to two letters."""
    letters = "".join(letter for letter in request.query.get("name", "") if letter.isalnum())[:2].upper()
    text = _content("picture.svg").decode().replace("{{letters}}", escape(letters))
    headers = (("Cache-Control", "max-age=300"), ("X-Content-Type-Options", "nosniff"))
    return Response(200, text.encode(), "image/svg+xml", headers)


def origin_of(uri: str) -> str:
    """Return scheme, host and port of a URI; of one of a native application only the scheme."""
    parts = urlsplit(uri)
    return f"{parts.scheme}://{parts.netloc}" if parts.scheme in {"http", "https"} else f"{parts.scheme}:"


@functools.cache
def _content(name: str) -> bytes:
    return (FOLDER / name).read_bytes()


@functools.cache
def _templates() -> jinja2.Environment:
    return jinja2.Environment(
        loader=jinja2.FileSystemLoader(FOLDER),
        autoescape=True,
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
