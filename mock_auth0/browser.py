"""The session of a browser: its cookie, and which pages may post its forms."""

from __future__ import annotations

from mock_server.messages import Request, Response

from .messages import PageError, origin, with_headers
from .state import Session
from .tenant import Tenant

COOKIE = "auth0"


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
