"""Verification of Auth0 tokens (RFC 7519, RFC 8725). A token that does not pass every check is rejected.

The header's `kid` only selects a key of the tenant's own set; `jwk`, `jku`, `x5u` and `x5c` are ignored.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

import jwt

from proxy.identity.jwks import Key, KeySet
from proxy.sessions.store import Identity

MAX_TOKEN = 16 * 1024
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_PROTOCOL_CLAIMS = frozenset(
    {"iss", "sub", "aud", "azp", "exp", "nbf", "iat", "jti", "nonce", "at_hash", "c_hash", "sid", "auth_time"}
)


class InvalidToken(Exception):
    """The token is rejected. The text gives the reason in general terms and may be sent to the client.

    `account` is issuer and subject, if the signature was valid.
    """

    def __init__(self, text: str, account: tuple[str, str] | None = None) -> None:
        super().__init__(text)
        self.account = account


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """A configured tenant.

    Args:
        domain: the domain that clients name it by.
        issuer: the expected `iss` claim.
        audience: the accepted `aud` claims.
        algorithms: the accepted signature algorithms.
        require_verified_email: reject tokens without `email_verified: true`.
        leeway: the accepted difference between clocks, in seconds.
    """

    domain: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    require_verified_email: bool
    leeway: float


async def verify(token: str, tenant: TenantSettings, keys: KeySet) -> Identity:
    """Return the user of a token. Raises InvalidToken, or KeySetUnavailable if the keys can't be fetched."""
    header, claims = await decode_verified(token, tenant, keys, required=("exp", "sub", "iss", "aud"))
    if is_logout_type(header.get("typ")) or "events" in claims:
        raise InvalidToken("not a token to sign in with")
    return _identity(claims, tenant)


async def decode_verified(
    token: str, tenant: TenantSettings, keys: KeySet, *, required: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of any token of this tenant that has the required claims. Raises as `verify` does."""
    header = _header(token)
    algorithm, key_id = header.get("alg"), header.get("kid")
    if algorithm not in tenant.algorithms:
        raise InvalidToken("algorithm not accepted")
    if "crit" in header or header.get("b64") is False:
        raise InvalidToken("unknown critical header")
    if not isinstance(key_id, str) or not key_id:
        raise InvalidToken("no key id")
    key = await keys.find(key_id)
    if key is None or not _fits(key, algorithm):
        raise InvalidToken("unknown key")
    return header, _claims(token, key, algorithm, tenant, required)


def is_logout_type(kind: object) -> bool:
    """Return True for the `typ` of a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4)."""
    return isinstance(kind, str) and kind.lower().removeprefix("application/") == "logout+jwt"


def check_party(claims: dict[str, Any], tenant: TenantSettings) -> None:
    """Raise InvalidToken for a token with several audiences whose `azp` claim is not an audience of the tenant."""
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") not in tenant.audience:
        subject = claims.get("sub")
        account = (tenant.issuer, subject) if isinstance(subject, str) else None
        raise InvalidToken("wrong authorized party", account)


def required_text(value: Any, name: str) -> str:
    """Return a claim that must be a text. Raises InvalidToken if it is missing, empty, or not a text."""
    if not isinstance(value, str) or not value:
        raise InvalidToken(f"no {name}")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidToken(f"{name} is not a text")
    return value


def _header(token: str) -> dict[str, Any]:
    if len(token) > MAX_TOKEN:
        raise InvalidToken("too large")
    if not _SHAPE.fullmatch(token):
        raise InvalidToken("not a token")
    try:
        return dict(jwt.get_unverified_header(token))
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken("not a token") from None


def _fits(key: Key, algorithm: str) -> bool:
    return key.kind == _KINDS.get(algorithm[:2]) and key.algorithm in (None, algorithm)


def _claims(token: str, key: Key, algorithm: str, tenant: TenantSettings, required: tuple[str, ...]) -> dict[str, Any]:
    try:
        return dict(
            jwt.decode(
                token,
                key.key,
                algorithms=[algorithm],
                audience=list(tenant.audience),
                issuer=tenant.issuer,
                leeway=tenant.leeway,
                options={"require": list(required)},
            )
        )
    except jwt.ExpiredSignatureError:
        raise InvalidToken("expired") from None
    except jwt.ImmatureSignatureError:
        raise InvalidToken("not valid yet") from None
    except jwt.InvalidAudienceError:
        raise InvalidToken("wrong audience") from None
    except jwt.InvalidIssuerError:
        raise InvalidToken("wrong issuer") from None
    except jwt.MissingRequiredClaimError as error:
        raise InvalidToken(f"no {error.claim}") from None
    except jwt.InvalidSignatureError:
        raise InvalidToken("bad signature") from None
    except (jwt.PyJWTError, ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidToken("not acceptable") from None


def _identity(claims: dict[str, Any], tenant: TenantSettings) -> Identity:
    subject = required_text(claims["sub"], "sub")
    check_party(claims, tenant)
    if tenant.require_verified_email and claims.get("email_verified") is not True:
        raise InvalidToken("e-mail address not verified", (tenant.issuer, subject))
    email = _text(claims.get("email"))
    if email.count("@") > 1:
        email = ""  # the domain of such an address is ambiguous
    names = (_text(claims.get(name)) for name in ("name", "nickname", "email"))
    return Identity(
        issuer=tenant.issuer,
        subject=subject,
        email=email,
        display_name=next((name for name in names if name), subject),
        tenant=tenant.domain,
        claims={name: value for name, value in claims.items() if name not in _PROTOCOL_CLAIMS},
        sid=_text(claims.get("sid")),
    )


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""
