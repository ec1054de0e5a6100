"""Logout in the browser: `/v2/logout` and `/oidc/logout`."""

from __future__ import annotations

import jwt

from mock_server.messages import Request, Response

from .browser import without_session
from .directory import Client
from .messages import PageError, page_parameters, query_parameters, redirect, with_query
from .rendering import message_page
from .tenant import Tenant


def logout(tenant: Tenant, request: Request) -> Response:
    """Serve `/v2/logout`: end the browser session, and redirect to `returnTo` if it is on the allow-list."""
    parameters = query_parameters(request)
    client = _named_client(tenant, parameters.get("client_id"))
    return _end_session(tenant, request, client, parameters.get("returnTo"))


def oidc_logout(tenant: Tenant, request: Request) -> Response:
    """Serve `/oidc/logout` (OpenID Connect RP-Initiated Logout, 2), for GET and POST."""
    parameters = page_parameters(request) if request.method == "POST" else query_parameters(request)
    client = _named_client(tenant, parameters.get("client_id"))
    hint = parameters.get("id_token_hint")
    if hint is not None:
        hinted = _hinted_client(tenant, hint)
        if client is not None and client != hinted:
            raise PageError("The client_id is not the one the id_token_hint was issued to.")
        client = hinted
    target = parameters.get("post_logout_redirect_uri")
    return _end_session(tenant, request, client, target, parameters.get("state"))


def _end_session(
    tenant: Tenant, request: Request, client: Client | None, target: str | None, state: str | None = None
) -> Response:
    if target is not None and not (client or tenant.directory).accepts_logout(target):
        raise PageError(f"{target} is not on the list of addresses to return to after a logout.")
    if target is None:
        response = message_page("Signed out", "You can close this window.")
    else:
        response = redirect(with_query(target, {"state": state} if state is not None else {}))
    return without_session(tenant, request, response)


def _named_client(tenant: Tenant, client_id: str | None) -> Client | None:
    if client_id is None:
        return None
    client = tenant.directory.clients.get(client_id)
    if client is None:
        raise PageError("Unknown client: the application is not registered here.")
    return client


def _hinted_client(tenant: Tenant, hint: str) -> Client | None:
    try:
        claims = tenant.minter.read_id_token_hint(hint)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise PageError("The id_token_hint is not a token issued here.") from None
    audience = claims.get("aud")
    return _named_client(tenant, audience if isinstance(audience, str) else "")
