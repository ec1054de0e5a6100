"""Verification of logout tokens (OpenID Connect Back-Channel Logout 1.0, 2.6), with the checks for Auth0 tokens.

The `iss` claim only selects one of the configured tenants. An ID token is never accepted as a logout token: it has no
`events` claim, and a `nonce` claim is rejected.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Iterable
from typing import Any

import jwt

from proxy.identity.jwks import KeySet
from proxy.identity.tokens import (
    MAX_TOKEN,
    InvalidToken,
    TenantSettings,
    check_party,
    decode_verified,
    is_logout_type,
    required_text,
)
from proxy.sessions.store import Logout

EVENT = "http://schemas.openid.net/event/backchannel-logout"
MAX_AGE = 3600.0
_REQUIRED = ("iss", "aud", "iat", "exp", "jti", "events")


async def read_logout_token(token: str, tenants: Iterable[tuple[TenantSettings, KeySet]]) -> Logout:
    """Return the content of a logout token. Raises InvalidToken, or KeySetUnavailable if the keys can't be fetched."""
    issuer = _issuer(token)
    problem = InvalidToken("wrong issuer")
    for tenant, keys in tenants:
        if issuer not in tenant.issuers:
            continue
        try:
            header, claims = await decode_verified(token, tenant, keys, required=_REQUIRED)
            return _logout(header, claims, tenant)
        except InvalidToken as error:
            problem = error
    raise problem


def _issuer(token: str) -> Any:
    """Return the `iss` claim of a token that is not verified yet."""
    if len(token) > MAX_TOKEN:
        raise InvalidToken("too large")
    try:
        return jwt.decode(token, options={"verify_signature": False}).get("iss")
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken("not a token") from None


def _logout(header: dict[str, Any], claims: dict[str, Any], tenant: TenantSettings) -> Logout:
    kind, events = header.get("typ"), claims["events"]
    if kind is not None and kind != "JWT" and not is_logout_type(kind):
        raise InvalidToken("not a logout token: another typ")
    if not isinstance(events, dict) or not isinstance(events.get(EVENT), dict):
        raise InvalidToken("not a logout token: no logout event")
    if "nonce" in claims:
        raise InvalidToken("not a logout token: it has a nonce")
    check_party(claims, tenant)
    subject, sid = (required_text(claims[name], name) if name in claims else "" for name in ("sub", "sid"))
    if not subject and not sid:
        raise InvalidToken("neither sub nor sid")
    name = f"{claims['iss']}\0{required_text(claims['jti'], 'jti')}".encode()
    try:
        oldest, expires = float(claims["iat"]) + MAX_AGE, float(claims["exp"])
    except OverflowError:
        raise InvalidToken("not acceptable") from None
    if oldest < time.time():
        raise InvalidToken("too old")
    until = min(expires + tenant.leeway, oldest) + 1
    return Logout(claims["iss"], subject, sid, hashlib.sha256(name).digest(), until)
