"""`/oauth/token` and `/oauth/revoke`: issue tokens for a grant, and revoke refresh tokens."""

from __future__ import annotations

import hashlib
import hmac
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from mock_server.messages import Request, Response

from . import device
from .client_auth import authenticate, proof_key
from .directory import Client, Grant
from .keys import b64url
from .messages import NO_STORE, OAuthError, Parameters, json_response, read_parameters, required
from .scopes import parse_scope
from .state import Authorization, Code
from .tenant import Tenant

Answer = dict[str, object]

_VERIFIER = re.compile(r"[A-Za-z0-9._~-]{43,128}")


@dataclass(frozen=True, slots=True)
class TokenRequest:
    """A request of an authenticated client for tokens.

    Args:
        tenant: the tenant.
        client: the client.
        parameters: the parameters.
        jkt: the thumbprint of the key that the tokens are to be bound to, or None.
        changes: `claims` and `lifetime` that replace the usual ones.
    """

    tenant: Tenant
    client: Client
    parameters: Parameters
    jkt: str | None
    changes: Mapping[str, Any]

    def answer(self, grant: Authorization, family: str | None = None, refresh_token: str | None = None) -> Answer:
        """Return the response for a grant."""
        return self.tenant.token_answer(grant, family, refresh_token=refresh_token, changes=self.changes)


Exchange = Callable[[TokenRequest], Answer]


def token(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /oauth/token`."""
    parameters = read_parameters(request)
    name = required(parameters, "grant_type")
    exchange = _EXCHANGES.get(name)
    if exchange is None:
        raise OAuthError(400, "unsupported_grant_type", f"Unsupported grant type: {name}")
    client = authenticate(tenant, request, parameters)
    if name not in client.grants:
        raise OAuthError(403, "unauthorized_client", f"Grant type '{name}' not allowed for the client.")
    jkt = proof_key(tenant, request, client)
    answer = exchange(TokenRequest(tenant, client, parameters, jkt, request.overrides))
    if jkt is None:
        return json_response(answer)
    nonce = tenant.proofs.nonce_header(tenant.directory.lifetimes.dpop_nonce)
    return json_response(answer, headers=(*NO_STORE, *nonce))


def revoke(tenant: Tenant, request: Request) -> Response:
    """Serve `POST /oauth/revoke` (RFC 7009); an unknown token gets 200 too."""
    parameters = read_parameters(request)
    client = authenticate(tenant, request, parameters)
    found = tenant.refresh_tokens.find(required(parameters, "token"))
    if found is not None and found.grant.client_id == client.client_id:
        tenant.refresh_tokens.revoke(found.family)
    return json_response({})


def _by_code(request: TokenRequest) -> Answer:
    tenant, client, parameters = request.tenant, request.client, request.parameters
    name = required(parameters, "code")
    family = tenant.spent_codes.get(name)
    if family is not None:
        tenant.refresh_tokens.revoke(family)
        raise OAuthError(403, "invalid_grant", "Invalid authorization code")
    code = tenant.codes.get(name)
    if code is None or code.grant.client_id != client.client_id:
        raise OAuthError(403, "invalid_grant", "Invalid authorization code")
    # The code is removed before the other checks, so that an attacker can try one verifier only.
    tenant.codes.pop(name)
    tenant.spent_codes.put(name, code.family, tenant.directory.lifetimes.session)
    if parameters.get("redirect_uri") != code.redirect_uri:
        raise OAuthError(403, "invalid_grant", "The redirect URI is not the one the code was issued for")
    _check_verifier(code, parameters.get("code_verifier"))
    if code.grant.jkt is not None and code.grant.jkt != request.jkt:
        raise OAuthError(400, "invalid_dpop_proof", "The code is bound to another key")
    return request.answer(replace(code.grant, jkt=request.jkt), code.family)


def _check_verifier(code: Code, verifier: str | None) -> None:
    """Compare the verifier with the challenge (RFC 7636, 4.6). Raises OAuthError, also if one of them is missing."""
    if code.challenge is None and verifier is None:
        return
    if code.challenge is None or verifier is None or not _VERIFIER.fullmatch(verifier):
        raise OAuthError(403, "invalid_grant", "Failed to verify code verifier")
    actual = b64url(hashlib.sha256(verifier.encode("ascii")).digest())
    if not hmac.compare_digest(actual, code.challenge):
        raise OAuthError(403, "invalid_grant", "Failed to verify code verifier")


def _by_refresh_token(request: TokenRequest) -> Answer:
    tenant, client, parameters = request.tenant, request.client, request.parameters
    name = required(parameters, "refresh_token")
    found = tenant.refresh_tokens.find(name, client.entry.refresh_token_leeway)
    if found is None or found.grant.client_id != client.client_id:
        raise OAuthError(403, "invalid_grant", "Unknown or invalid refresh token.")
    scope = parse_scope(parameters["scope"]) if "scope" in parameters else found.grant.scope
    if not set(scope) <= set(found.grant.scope):
        raise OAuthError(400, "invalid_scope", "A refresh must not extend the scope.")
    # The refresh token of a public client is bound to its key (RFC 9449, 5).
    if client.public and found.grant.jkt is not None and found.grant.jkt != request.jkt:
        raise OAuthError(400, "invalid_dpop_proof", "The refresh token is bound to another key")
    successor = name
    if client.entry.refresh_token_rotation:
        successor = tenant.refresh_tokens.rotate(name, found, tenant.directory.lifetimes.refresh_token)
    # A refreshed id_token does not contain the nonce of the login (OpenID Connect Core, 12.2).
    grant = replace(found.grant, scope=scope, nonce=None, gty=str(Grant.REFRESH), jkt=request.jkt)
    return request.answer(grant, refresh_token=successor)


def _by_password(request: TokenRequest) -> Answer:
    tenant, parameters = request.tenant, request.parameters
    username, password = required(parameters, "username"), required(parameters, "password")
    user = tenant.directory.authenticate(username, password)
    if user is None:
        raise OAuthError(403, "invalid_grant", "Wrong email or password.")
    if user.blocked:
        raise OAuthError(403, "unauthorized", "user is blocked")
    audience = parameters.get("audience")
    scope = tenant.granted_scope(request.client, parse_scope(parameters.get("scope")), audience)
    grant = Authorization(
        client_id=request.client.client_id,
        subject=user.subject,
        scope=scope,
        audience=audience,
        gty="password",
        jkt=request.jkt,
    )
    return request.answer(grant)


def _by_password_realm(request: TokenRequest) -> Answer:
    required(request.parameters, "realm")
    return _by_password(request)


def _by_client_credentials(request: TokenRequest) -> Answer:
    tenant, client, parameters = request.tenant, request.client, request.parameters
    audience = parameters.get("audience")
    if audience is None:
        raise OAuthError(403, "access_denied", "No audience parameter was provided")
    scope = tuple(dict.fromkeys(parameters.get("scope", "").split()))
    if "openid" in scope:
        raise OAuthError(400, "invalid_scope", "The grant has no user.")
    grant = Authorization(
        client_id=client.client_id,
        subject=f"{client.client_id}@clients",
        scope=tenant.granted_scope(client, scope, audience),
        audience=audience,
        gty="client-credentials",
        jkt=request.jkt,
    )
    access_token = tenant.minter.access_token(tenant.directory, grant, changes=request.changes)
    return {"access_token": access_token} | tenant.terms(grant, request.changes)


def _by_device_code(request: TokenRequest) -> Answer:
    grant = device.grant_of(request.tenant, request.client, required(request.parameters, "device_code"))
    return request.answer(replace(grant, jkt=request.jkt))


_EXCHANGES: Mapping[str, Exchange] = {
    Grant.CODE: _by_code,
    Grant.REFRESH: _by_refresh_token,
    Grant.PASSWORD: _by_password,
    Grant.PASSWORD_REALM: _by_password_realm,
    Grant.CLIENT_CREDENTIALS: _by_client_credentials,
    Grant.DEVICE: _by_device_code,
}
