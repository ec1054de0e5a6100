"""`/oauth/token` and `/oauth/revoke`: issue tokens for a grant, and revoke refresh tokens."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import replace

from aiohttp import web

from .authorize import parse_scope
from .keys import b64url
from .messages import (
    OAuthError,
    Parameters,
    basic_credentials,
    json_response,
    read_parameters,
)
from .state import Authorization, Code
from .tenant import Tenant
from .tokens import ACCESS_TOKEN_SECONDS
from .users import Client, Grant

Answer = dict[str, object]
Exchange = Callable[[Tenant, Client, Parameters], Answer]

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


async def token(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `POST /oauth/token`."""
    parameters = await read_parameters(request)
    name = _required(parameters, "grant_type")
    try:
        grant = Grant(name)
        exchange = _EXCHANGES[grant]
    except (ValueError, KeyError):
        raise OAuthError(400, "unsupported_grant_type", "Unsupported grant type") from None
    client = _client(tenant, request, parameters)
    if grant not in client.grants:
        raise OAuthError(403, "unauthorized_client", f"Grant type '{grant}' not allowed for the client.")
    return json_response(exchange(tenant, client, parameters))


async def revoke(tenant: Tenant, request: web.BaseRequest) -> web.Response:
    """Serve `POST /oauth/revoke` (RFC 7009); an unknown token gets 200 too."""
    parameters = await read_parameters(request)
    client = _client(tenant, request, parameters)
    found = tenant.refresh_tokens.find(_required(parameters, "token"))
    if found is not None and found.grant.client_id == client.client_id:
        tenant.refresh_tokens.revoke(found.family)
    return json_response({})


def _client(tenant: Tenant, request: web.BaseRequest, parameters: Parameters) -> Client:
    basic = basic_credentials(request.headers.get("Authorization"))
    if basic is None:
        return tenant.client(parameters.get("client_id"), parameters.get("client_secret"))
    if "client_secret" in parameters or parameters.get("client_id", basic[0]) != basic[0]:
        raise OAuthError(400, "invalid_request", "The client uses two authentication methods.")
    return tenant.client(*basic)


def _required(parameters: Parameters, name: str) -> str:
    value = parameters.get(name)
    if value is None:
        raise OAuthError(400, "invalid_request", f"Missing required parameter: {name}")
    return value


def _by_code(tenant: Tenant, client: Client, parameters: Parameters) -> Answer:
    handle = _required(parameters, "code")
    family = tenant.spent_codes.get(handle)
    if family is not None:
        tenant.refresh_tokens.revoke(family)
        raise OAuthError(403, "invalid_grant", "Invalid authorization code")
    code = tenant.codes.get(handle)
    if code is None or code.grant.client_id != client.client_id:
        raise OAuthError(403, "invalid_grant", "Invalid authorization code")
    # The code is removed before the other checks, so that an attacker can try one verifier only.
    tenant.codes.pop(handle)
    tenant.spent_codes.put(handle, code.family)
    if parameters.get("redirect_uri") != code.redirect_uri:
        raise OAuthError(403, "invalid_grant", "The redirect URI is not the one the code was issued for")
    _check_verifier(code, parameters.get("code_verifier"))
    return tenant.token_answer(code.grant, code.family)


def _check_verifier(code: Code, verifier: str | None) -> None:
    """Compare the verifier with the challenge (RFC 7636, 4.6). Raises OAuthError, also if one of them is missing."""
    if code.challenge is None and verifier is None:
        return
    if code.challenge is None or verifier is None or not _VERIFIER.fullmatch(verifier):
        raise OAuthError(403, "invalid_grant", "Failed to verify code verifier")
    actual = b64url(hashlib.sha256(verifier.encode("ascii")).digest())
    if not hmac.compare_digest(actual, code.challenge):
        raise OAuthError(403, "invalid_grant", "Failed to verify code verifier")


def _by_refresh_token(tenant: Tenant, client: Client, parameters: Parameters) -> Answer:
    handle = _required(parameters, "refresh_token")
    found = tenant.refresh_tokens.find(handle)
    if found is None or found.grant.client_id != client.client_id:
        raise OAuthError(403, "invalid_grant", "Unknown or invalid refresh token.")
    scope = parse_scope(parameters["scope"]) if "scope" in parameters else found.grant.scope
    if not set(scope) <= set(found.grant.scope):
        raise OAuthError(400, "invalid_scope", "A refresh must not extend the scope.")
    successor = tenant.refresh_tokens.rotate(handle, found)
    # A refreshed id_token does not contain the nonce of the login (OpenID Connect Core, 12.2).
    grant = replace(found.grant, scope=scope, nonce=None, gty=str(Grant.REFRESH))
    return tenant.token_answer(grant, refresh_token=successor)


def _by_password(tenant: Tenant, client: Client, parameters: Parameters) -> Answer:
    username, password = _required(parameters, "username"), _required(parameters, "password")
    user = tenant.directory.authenticate(username, password)
    if user is None:
        raise OAuthError(403, "invalid_grant", "Wrong email or password.")
    grant = Authorization(
        client_id=client.client_id,
        subject=user.subject,
        scope=parse_scope(parameters.get("scope")),
        audience=parameters.get("audience"),
        gty="password",
    )
    return tenant.token_answer(grant)


def _by_password_realm(tenant: Tenant, client: Client, parameters: Parameters) -> Answer:
    _required(parameters, "realm")
    return _by_password(tenant, client, parameters)


def _by_client_credentials(tenant: Tenant, client: Client, parameters: Parameters) -> Answer:
    audience = parameters.get("audience")
    if audience is None:
        raise OAuthError(403, "access_denied", "No audience parameter was provided")
    scope = tuple(dict.fromkeys(parameters.get("scope", "").split()))
    if "openid" in scope:
        raise OAuthError(400, "invalid_scope", "The grant has no user.")
    grant = Authorization(
        client_id=client.client_id,
        subject=f"{client.client_id}@clients",
        scope=scope,
        audience=audience,
        gty="client-credentials",
    )
    answer: Answer = {"access_token": tenant.minter.access_token(grant)}
    if scope:
        answer["scope"] = " ".join(scope)
    return answer | {"expires_in": ACCESS_TOKEN_SECONDS, "token_type": "Bearer"}


_EXCHANGES: Mapping[Grant, Exchange] = {
    Grant.CODE: _by_code,
    Grant.REFRESH: _by_refresh_token,
    Grant.PASSWORD: _by_password,
    Grant.PASSWORD_REALM: _by_password_realm,
    Grant.CLIENT_CREDENTIALS: _by_client_credentials,
}
