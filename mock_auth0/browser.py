"""The session of a browser: its cookie, and which pages may post its forms."""

from __future__ import annotations

import hmac
import re

from mock_server.messages import Request, Response
from mock_server.randomness import handle

from .messages import PageError, origin, with_headers
from .state import Session
from .tenant import Tenant

COOKIE = "auth0"
LOGIN_COOKIE = "auth0_login"
_HANDLE = re.compile(r"[A-Za-z0-9_-]{43}")


def session_of(tenant: Tenant, request: Request) -> Session | None:
    """Return the session of the browser, or None; a session ends with its user."""
    session = tenant.sessions.get(request.cookies.get(COOKIE, ""))
    user = tenant.directory.user(session.subject) if session is not None else None
    return session if user is not None and not user.blocked else None


def with_session(tenant: Tenant, response: Response, cookie: str) -> Response:
    """Return a response that sets the cookie of a session."""
    return with_headers(response, _cookie(tenant, cookie, tenant.directory.lifetimes.session))


def without_session(tenant: Tenant, request: Request, response: Response) -> Response:
    """End the session of the browser, and return a response that removes its cookie."""
    tenant.sessions.pop(request.cookies.get(COOKIE, ""))
    return with_headers(response, _cookie(tenant, "", 0))


def _cookie(tenant: Tenant, value: str, max_age: int) -> tuple[str, str]:
    # A page of another site may check for a session in an iframe, which needs SameSite=None, which needs TLS.
    site = "SameSite=None; Secure" if tenant.issuer.startswith("https:") else "SameSite=Lax"
    return "Set-Cookie", f"{COOKIE}={value}; Path=/; Max-Age={max_age}; HttpOnly; {site}"


def browser_of(tenant: Tenant, request: Request) -> str:
    """Return what tells this browser from others while it shows a login page: its cookie, or a new value for it."""
    given = request.cookies.get(LOGIN_COOKIE, "")
    return given if _HANDLE.fullmatch(given) else handle(tenant.source)


def with_browser(tenant: Tenant, response: Response, browser: str) -> Response:
    """Return a login page that sets the cookie of its browser; the page is in no iframe, so that Lax is enough."""
    lifetime = tenant.directory.lifetimes.login
    cookie = f"{LOGIN_COOKIE}={browser}; Path=/; Max-Age={lifetime}; HttpOnly; SameSite=Lax"
    return with_headers(response, ("Set-Cookie", cookie))


def check_browser(request: Request, browser: str) -> None:
    """Refuse the form of a login page that another browser has got, which could sign its user in unnoticed.

    Raises:
        PageError: the cookie is missing, or another one.
    """
    given = request.cookies.get(LOGIN_COOKIE, "")
    if not hmac.compare_digest(given.encode("utf-8", "surrogatepass"), browser.encode("utf-8", "surrogatepass")):
        raise PageError(
            "This sign-in was begun in another browser, or cookies are off. Go back to the application and start "
            f"again. A program sends the cookie {LOGIN_COOKIE} of the login page with its form.",
        )


def check_origin(tenant: Tenant, request: Request) -> None:
    """Refuse a form that a page of another origin posts, which could sign a user in or out unnoticed.

    The own origins are that of the issuer, and the one by which the request came. A program has no origin.

    Raises:
        PageError: the `Origin` field is another one, or `null`.
    """
    given = request.headers.get("origin")
    if given is None:
        return
    found = origin(given)
    if found is None or found not in {origin(tenant.issuer), origin(f"{request.scheme}://{request.host}")}:
        raise PageError(
            f"This form was posted by a page of another origin ({given[:200]}), which is not allowed. Open the page "
            f"at {tenant.issuer} and send the form there. If that is not the address by which browsers reach this "
            "server, start it with --issuer.",
            403,
        )
