"""The endpoints for discovery, keys and user information."""

from __future__ import annotations

import jwt

from mock_server.messages import Request, Response

from .authorize import RESPONSE_MODES, RESPONSE_TYPES
from .directory import Grant
from .dpop import ALGORITHMS
from .jws import to_json
from .messages import OAuthError, json_response
from .tenant import OPENID_SCOPES, Tenant

_CACHEABLE = (("Cache-Control", "public, max-age=15, must-revalidate"),)


def discovery(tenant: Tenant, request: Request) -> Response:
    """Serve the metadata (OpenID Connect Discovery, 3; RFC 8414, 3)."""
    return Response(200, tenant.discovery, "application/json", _CACHEABLE)


def discovery_document(base: str) -> bytes:
    """Return the document of an issuer."""
    document = {
        "issuer": base,
        "authorization_endpoint": f"{base}authorize",
        "token_endpoint": f"{base}oauth/token",
        "device_authorization_endpoint": f"{base}oauth/device/code",
        "userinfo_endpoint": f"{base}userinfo",
        "jwks_uri": f"{base}.well-known/jwks.json",
        "revocation_endpoint": f"{base}oauth/revoke",
        "end_session_endpoint": f"{base}oidc/logout",
        "backchannel_logout_supported": True,
        "backchannel_logout_session_supported": False,
        "response_types_supported": sorted(" ".join(sorted(kind)) for kind in RESPONSE_TYPES),
        "response_modes_supported": sorted(RESPONSE_MODES),
        "grant_types_supported": [str(grant) for grant in Grant],
        "subject_types_supported": ["public"],
        "id_token_signing_alg_values_supported": ["RS256"],
        "code_challenge_methods_supported": ["S256"],
        "token_endpoint_auth_methods_supported": [
            *("client_secret_basic", "client_secret_post", "private_key_jwt", "none"),
        ],
        "token_endpoint_auth_signing_alg_values_supported": ["RS256", "RS384", "PS256", "ES256"],
        "dpop_signing_alg_values_supported": list(ALGORITHMS),
        "request_uri_parameter_supported": False,
        "request_parameter_supported": False,
        "scopes_supported": sorted(OPENID_SCOPES - {"address", "phone"}),
        "claims_supported": [
            *("iss", "sub", "aud", "iat", "exp", "nonce", "sid", "auth_time"),
            *("email", "email_verified", "name", "nickname", "picture"),
        ],
    }
    return to_json(document)


def jwks(tenant: Tenant, request: Request) -> Response:
    """Serve `/.well-known/jwks.json` (RFC 7517, 5)."""
    return Response(200, tenant.ring.jwks, "application/json", _CACHEABLE)


def userinfo(tenant: Tenant, request: Request) -> Response:
    """Serve `/userinfo` for an access token (OpenID Connect Core, 5.3)."""
    scheme, _, token = request.headers.get("authorization", "").partition(" ")
    token = token.strip()
    if scheme.lower() not in {"bearer", "dpop"} or not token or not token.isascii():
        raise OAuthError(401, "invalid_token", "Unauthorized")
    try:
        claims = tenant.minter.read_access_token(token)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise OAuthError(401, "invalid_token", "Unauthorized") from None
    _check_proof(tenant, request, scheme.lower(), token, claims.get("cnf"))
    user = tenant.directory.user(str(claims.get("sub")))
    if user is None:
        raise OAuthError(401, "invalid_token", "Unauthorized")
    scope = tuple(str(claims.get("scope", "")).split())
    return json_response(tenant.minter.profile(tenant.directory, user, scope))


def _check_proof(tenant: Tenant, request: Request, scheme: str, token: str, confirmation: object) -> None:
    """Raise OAuthError unless a bound token comes with a proof of its key, and any other token without one."""
    bound = confirmation.get("jkt") if isinstance(confirmation, dict) else None
    if (scheme == "dpop") != (bound is not None):
        raise OAuthError(401, "invalid_token", "The token needs another authorization scheme")
    if bound is None:
        return
    period = tenant.directory.lifetimes.dpop_nonce if tenant.directory.dpop_nonce else None
    if tenant.proofs.thumbprint(request, period=period, access_token=token) != bound:
        raise OAuthError(401, "invalid_token", "The token is bound to another key")
