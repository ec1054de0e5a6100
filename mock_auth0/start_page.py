"""The page at `/`: what this is, who may sign in, and what to paste where."""

from __future__ import annotations

from urllib.parse import urlencode, urlsplit

from mock_server.messages import Request, Response

from .rendering import page
from .sign_in import people
from .tenant import Tenant


def show(tenant: Tenant, request: Request) -> Response:
    """Serve `GET /`."""
    directory = tenant.directory
    first = next(iter(directory.shown_users(1)), None)
    client_id = next(iter(directory.clients), "")
    issuer, domain = tenant.issuer, urlsplit(tenant.issuer).netloc
    return page(
        "start.html",
        script=True,
        issuer=issuer,
        domain=domain,
        # The library takes a bare domain as https.
        spa_domain=domain if issuer.startswith("https:") else issuer.rstrip("/"),
        client_id=client_id,
        clients=list(directory.clients.values()),
        login=_login_address(tenant, client_id),
        others=[each for each in tenant.issuers if each != issuer],
        email=first.email if first else "",
        password=first.password if first else "",
        **people(directory),
    )


def _login_address(tenant: Tenant, client_id: str) -> str:
    """Return a login that ends at this page, if the client may return to it."""
    client = tenant.directory.clients.get(client_id)
    if client is None or not client.accepts_redirect(tenant.issuer):
        return "/activate"
    parameters = {
        "response_type": "id_token",
        "client_id": client_id,
        "redirect_uri": tenant.issuer,
        "scope": "openid profile email",
        "nonce": "start",
        "prompt": "login",
    }
    return f"/authorize?{urlencode(parameters)}"
