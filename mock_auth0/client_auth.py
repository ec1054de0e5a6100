"""Authentication of clients: secrets in the body or by Basic, assertions (RFC 7523), and keys of DPoP."""

from __future__ import annotations

from typing import Any

import jwt

from mock_server.messages import Request

from .directory import Client
from .messages import OAuthError, Parameters, basic_credentials
from .tenant import Tenant

ASSERTION = "urn:ietf:params:oauth:client-assertion-type:jwt-bearer"
ASSERTION_ALGORITHMS = ("RS256", "RS384", "PS256", "ES256")
_ASSERTION_SECONDS = 600.0


def authenticate(tenant: Tenant, request: Request, parameters: Parameters) -> Client:
    """Return the client of a request. Raises OAuthError."""
    if "client_assertion" in parameters or "client_assertion_type" in parameters:
        return _by_assertion(tenant, parameters)
    basic = basic_credentials(request.headers.get("authorization"))
    if basic is None:
        return tenant.client(parameters.get("client_id"), parameters.get("client_secret"))
    if "client_secret" in parameters or parameters.get("client_id", basic[0]) != basic[0]:
        raise OAuthError(400, "invalid_request", "The client uses two authentication methods.")
    return tenant.client(*basic)


def proof_key(tenant: Tenant, request: Request, client: Client) -> str | None:
    """Return the thumbprint of the key that tokens are to be bound to, or None. Raises OAuthError."""
    directory = tenant.directory
    if client.entry.dpop == "off":
        return None
    # As Auth0: public clients need a nonce, as their clocks and keys can't be trusted.
    period = directory.lifetimes.dpop_nonce if directory.dpop_nonce and client.public else None
    jkt = tenant.proofs.thumbprint(request, period=period)
    if jkt is None and client.entry.dpop == "required":
        raise OAuthError(400, "invalid_request", "A DPoP proof is required for this client")
    return jkt


def _by_assertion(tenant: Tenant, parameters: Parameters) -> Client:
    """Return the client of an assertion that its key has signed (RFC 7523, 3)."""
    unauthorized = OAuthError(401, "invalid_client", "Invalid client assertion")
    assertion = parameters.get("client_assertion", "")
    if parameters.get("client_assertion_type") != ASSERTION or "client_secret" in parameters:
        raise OAuthError(400, "invalid_request", "The client assertion is incomplete, or beside a secret.")
    options: Any = {"verify_signature": False}
    try:
        claims = jwt.decode(assertion, options=options)
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise unauthorized from None
    client = tenant.directory.clients.get(str(claims.get("sub")))
    if (
        client is None
        or client.entry.public_key is None
        or parameters.get("client_id", client.client_id) != claims["sub"]
    ):
        raise unauthorized
    audience = [tenant.issuer, tenant.issuer.rstrip("/"), f"{tenant.issuer}oauth/token"]
    # The times are compared with the clock of the tenant, below.
    options = {"require": ["exp", "jti"], "verify_exp": False, "verify_iat": False, "verify_nbf": False}
    try:
        claims = jwt.decode(
            assertion,
            client.entry.public_key,
            algorithms=ASSERTION_ALGORITHMS,
            audience=audience,
            issuer=client.client_id,
            options=options,
        )
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise unauthorized from None
    if not isinstance(claims["exp"], int | float) or tenant.clock.now() >= claims["exp"]:
        raise unauthorized
    used = f"{client.client_id} {claims['jti']}"
    if tenant.assertions.get(used):
        raise unauthorized
    tenant.assertions.put(used, True, _ASSERTION_SECONDS)
    return client
