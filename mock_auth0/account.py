"""The endpoints for discovery, keys, user information and logout."""

from __future__ import annotations

import jwt
from aiohttp import web

from .authorize import COOKIE, RESPONSE_MODES, RESPONSE_TYPES
from .messages import (
    OAuthError,
    PageError,
    Parameters,
    bearer_token,
    form_parameters,
    json_response,
    read_parameters,
    redirect,
    with_query,
)
from .pages import signed_out_page
from .tenant import Tenant
from .users import Client, Grant

_CACHEABLE = {"Cache-Control": "public, max-age=15, must-revalidate"}


async def discovery(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `/.well-known/openid-configuration` (OpenID Connect Discovery, 3)."""
    base = tenant.issuer
    document = {
        "issuer": base,
        "authorization_endpoint": f"{base}authorize",
        "token_endpoint": f"{base}oauth/token",
        "userinfo_endpoint": f"{base}userinfo",
        "jwks_uri": f"{base}.well-known/jwks.json",
        "revocation_endpoint": f"{base}oauth/revoke",
        "end_session_endpoint": f"{base}oidc/logout",
        "backchannel_logout_supported": True,
        "response_types_supported": sorted(" ".join(sorted(kind)) for kind in RESPONSE_TYPES),
        "response_modes_supported": sorted(RESPONSE_MODES),
        "grant_types_supported": [str(grant) for grant in Grant],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
        "scopes_supported": ["openid", "profile", "email", "offline_access"],
        "claims_supported": [
            *("iss", "sub", "aud", "iat", "exp", "nonce", "sid", "auth_time"),
            *("email", "email_verified", "name", "nickname"),
        ],
    }
    return json_response(document, headers=_CACHEABLE)


async def jwks(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `/.well-known/jwks.json` (RFC 7517, 5)."""
    return json_response({"keys": [tenant.key.jwk]}, headers=_CACHEABLE)


async def userinfo(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `/userinfo` for a Bearer access token (OpenID Connect Core, 5.3)."""
    token = bearer_token(request.headers.get("Authorization"))
    if token is None:
        raise OAuthError(401, "invalid_token", "Unauthorized")
    try:
        claims = tenant.minter.read_access_token(token)
    except jwt.InvalidTokenError:
        raise OAuthError(401, "invalid_token", "Unauthorized") from None
    user = tenant.directory.user(str(claims.get("sub")))
    if user is None:
        raise OAuthError(401, "invalid_token", "Unauthorized")
    return json_response(user.profile(tuple(str(claims.get("scope", "")).split())))


async def logout(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `/v2/logout`: end the browser session, and redirect to `returnTo` if it is on the allow-list."""
    parameters = _query(request)
    client = _named_client(tenant, parameters.get("client_id"))
    return _end_session(tenant, request, client, parameters.get("returnTo"))


async def oidc_logout(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `/oidc/logout` (OpenID Connect RP-Initiated Logout, 2), for GET and POST."""
    parameters = await _form(request) if request.method == "POST" else _query(request)
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
    tenant: Tenant, request: web.BaseRequest, client: Client | None, target: str | None, state: str | None = None
) -> web.Response:
    if target is not None and not (client or tenant.directory).accepts_logout(target):
        raise PageError(f"{target} is not on the list of addresses to return to after a logout.")
    tenant.sessions.pop(request.cookies.get(COOKIE, ""))
    if target is None:
        response = signed_out_page()
    else:
        response = redirect(with_query(target, {"state": state} if state is not None else {}))
    response.del_cookie(COOKIE, path="/", httponly=True, samesite="Lax")
    return response


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
    except jwt.InvalidTokenError:
        raise PageError("The id_token_hint is not a token issued here.") from None
    audience = claims.get("aud")
    return _named_client(tenant, audience if isinstance(audience, str) else "")


def _query(request: web.BaseRequest) -> Parameters:
    try:
        return form_parameters(request.rel_url.raw_query_string)
    except OAuthError as error:
        raise PageError(error.description) from None


async def _form(request: web.BaseRequest) -> Parameters:
    try:
        return await read_parameters(request)
    except OAuthError as error:
        raise PageError(error.description, error.status) from None
