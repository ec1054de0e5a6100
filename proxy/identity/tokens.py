"""Verification of Auth0 tokens (RFC 7519, RFC 8725). A token that does not pass every check is rejected.

The header's `kid` only selects a key of the tenant's own set; `jwk`, `jku`, `x5u` and `x5c` are ignored.
"""

from __future__ import annotations

import json
import re
from dataclasses import asdict, dataclass, replace
from typing import Any

import jwt

from proxy.identity.jwks import KeySet
from proxy.identity.keys import AmbiguousKey
from proxy.sessions.store import Identity

MAX_TOKEN = 16 * 1024
MAX_STORED = 4 * 1024
"""The most bytes that a session stores of its token, as JSON."""
MAX_NAME = 256
_SHAPE = re.compile(r"[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+\.[A-Za-z0-9_-]+")
_SHOWN = 200
LOGIN_CLAIMS = ("exp", "sub", "iss", "aud")
"""The claims that a token to sign in with must have."""
_PROTOCOL_CLAIMS = frozenset(
    {"iss", "sub", "aud", "azp", "exp", "nbf", "iat", "jti", "nonce", "at_hash", "c_hash", "sid", "auth_time"}
)


class InvalidToken(Exception):
    """The token is rejected. The text gives the reason in general terms and may be sent to the client.

    `account` is issuer and subject, if the signature was valid. `detail` says what the token has and what is wanted,
    for the log; it is in ASCII.
    """

    def __init__(self, text: str, account: tuple[str, str] | None = None, *, detail: str = "") -> None:
        super().__init__(text)
        self.account = account
        self.detail = detail

    @property
    def public(self) -> str:
        """The text for the client."""
        return f"Invalid token: {self}"


@dataclass(frozen=True, slots=True)
class TenantSettings:
    """A configured tenant.

    Args:
        domain: the domain that clients name it by.
        issuer: the expected `iss` claim, which may have a slash at the end or not.
        audience: the accepted `aud` claims.
        algorithms: the accepted signature algorithms.
        leeway: the accepted difference between clocks, in seconds.
    """

    domain: str
    issuer: str
    audience: tuple[str, ...]
    algorithms: tuple[str, ...]
    leeway: float

    @property
    def issuers(self) -> tuple[str, str]:
        """The accepted `iss` claims: the issuer with a slash at its end, and without."""
        bare = self.issuer.removesuffix("/")
        return bare, f"{bare}/"


async def verify(token: str, tenant: TenantSettings, keys: KeySet) -> Identity:
    """Return the user of a token. Raises InvalidToken, or KeySetUnavailable if the keys can't be fetched."""
    header, claims = await decode_verified(token, tenant, keys, required=LOGIN_CLAIMS)
    check_login_kind(header, claims)
    return identity_of(claims, tenant)


def unverified(token: str, tenant: TenantSettings) -> Identity:
    """Return the user of a token without verifying its signature: another server does that. Raises InvalidToken."""
    claims = unverified_claims(token)
    if not claims.keys() >= {"sub", "iss", "aud"}:
        raise InvalidToken("not a token")
    return identity_of(claims, tenant)


async def decode_verified(
    token: str, tenant: TenantSettings, keys: KeySet, *, required: tuple[str, ...]
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Return header and claims of any token of this tenant that has the required claims. Raises as `verify` does."""
    header = read_header(token)
    algorithm = check_algorithm(header, tenant)
    check_extensions(header)
    key = await find_key(token, header, algorithm, tenant, keys)
    return header, decode(token, key, algorithm, tenant, {"require": list(required)})


def check_algorithm(header: dict[str, Any], tenant: TenantSettings) -> str:
    """Return the algorithm of a token. Raises InvalidToken if the tenant does not accept it."""
    algorithm = header.get("alg")
    if not isinstance(algorithm, str) or algorithm not in tenant.algorithms:
        detail = f"alg is {shown(algorithm)}; algorithms: {', '.join(tenant.algorithms)}"
        raise InvalidToken("algorithm not accepted", detail=detail)
    return algorithm


def check_extensions(header: dict[str, Any]) -> None:
    """Raise InvalidToken for a header with extensions that must be understood (RFC 7515, 4.1.11; RFC 7797, 3)."""
    if "crit" in header or header.get("b64") is False:
        raise InvalidToken("unknown critical header")


async def find_key(token: str, header: dict[str, Any], algorithm: str, tenant: TenantSettings, keys: KeySet) -> Any:
    """Return the tenant's public key that the header selects. Raises as `verify` does."""
    key_id = header.get("kid")
    if not isinstance(key_id, str) or not key_id:
        raise InvalidToken("no key id", detail=_about(token, tenant))
    found = await keys.find(key_id)
    try:
        key = None if found is None else found.select(algorithm)
    except AmbiguousKey:
        detail = f"the key set has several keys {shown(key_id)} for {algorithm}"
        raise InvalidToken("unknown key", detail=detail) from None
    if key is None:
        what = "no key" if found is None else f"no key for {algorithm} with id"
        raise InvalidToken("unknown key", detail=f"{what} {shown(key_id)} in the key set; {_about(token, tenant)}")
    return key


def check_login_kind(header: dict[str, Any], claims: dict[str, Any]) -> None:
    """Raise InvalidToken for a logout token, which nobody signs in with."""
    if is_logout_type(header.get("typ")) or "events" in claims:
        raise InvalidToken("not a token to sign in with")


def is_logout_type(kind: object) -> bool:
    """Return True for the `typ` of a logout token (OpenID Connect Back-Channel Logout 1.0, 2.4)."""
    return isinstance(kind, str) and kind.lower().removeprefix("application/") == "logout+jwt"


def check_party(claims: dict[str, Any], tenant: TenantSettings) -> None:
    """Raise InvalidToken for a token with several audiences whose `azp` claim is not an audience of the tenant."""
    audience = claims["aud"]
    if isinstance(audience, list) and len(audience) > 1 and claims.get("azp") not in tenant.audience:
        subject = claims.get("sub")
        account = (claims["iss"], subject) if isinstance(subject, str) else None
        detail = f"azp is {shown(claims.get('azp'))}, and aud names several: {shown(audience)}"
        raise InvalidToken("wrong authorized party", account, detail=detail)


def required_text(value: Any, name: str) -> str:
    """Return a claim that must be a text. Raises InvalidToken if it is missing, empty, or not a text."""
    if not isinstance(value, str) or not value:
        raise InvalidToken(f"no {name}")
    if any("\ud800" <= char <= "\udfff" for char in value):
        raise InvalidToken(f"{name} is not a text")
    return value


def read_header(token: str) -> dict[str, Any]:
    """Return the header of a token, which is not verified. Raises InvalidToken if it is not a token."""
    if len(token) > MAX_TOKEN:
        raise InvalidToken("too large")
    if not _SHAPE.fullmatch(token):
        raise InvalidToken("not a token")
    try:
        return dict(jwt.get_unverified_header(token))
    except (jwt.PyJWTError, ValueError, RecursionError):
        raise InvalidToken("not a token") from None


def decode(token: str, key: Any, algorithm: str, tenant: TenantSettings, options: Any) -> dict[str, Any]:
    """Return the claims of a token. Raises InvalidToken. `options` are those of PyJWT: the claims to require, and the
    checks to make; all if none is given."""
    try:
        return dict(
            jwt.decode(
                token,
                key,
                algorithms=[algorithm],
                audience=list(tenant.audience),
                issuer=tenant.issuers,
                leeway=tenant.leeway,
                options=options,
            )
        )
    except jwt.PyJWTError as error:
        raise _rejected(error, token, tenant) from None
    except (ValueError, TypeError, OverflowError, RecursionError):
        raise InvalidToken("not acceptable") from None


_REASONS: tuple[tuple[type[jwt.PyJWTError], str], ...] = (
    (jwt.ExpiredSignatureError, "expired"),
    (jwt.ImmatureSignatureError, "not valid yet"),
    (jwt.InvalidAudienceError, "wrong audience"),
    (jwt.InvalidIssuerError, "wrong issuer"),
    (jwt.InvalidSignatureError, "bad signature"),
)


def _rejected(error: jwt.PyJWTError, token: str, tenant: TenantSettings) -> InvalidToken:
    """Return why PyJWT rejects a token; the signature of a token with a wrong claim is valid."""
    if isinstance(error, jwt.MissingRequiredClaimError):
        return InvalidToken(f"no {error.claim}", detail=_about(token, tenant))
    text = next((text for kind, text in _REASONS if isinstance(error, kind)), "not acceptable")
    return InvalidToken(text, detail=_about(token, tenant) if text.startswith("wrong") else "")


def _about(token: str, tenant: TenantSettings) -> str:
    """Return the issuer and the audience that a token states, which need not be verified, beside the wanted ones."""
    claims = unverified_claims(token)
    return (
        f"the token says iss {shown(claims.get('iss'))} and aud {shown(claims.get('aud'))}; "
        f"wanted are iss {shown(tenant.issuer)} and aud {' or '.join(map(shown, tenant.audience))}"
    )


def unverified_claims(token: str) -> dict[str, Any]:
    """Return the claims of a token without any check, for messages; empty if there are none."""
    try:
        return dict(jwt.decode(token, options={"verify_signature": False}))
    except (jwt.PyJWTError, ValueError, RecursionError):
        return {}


def shown(value: Any) -> str:
    """Return a value of a token for a message: in ASCII, and not long."""
    text = json.dumps(value) if value is None or isinstance(value, str | int | list) else type(value).__name__
    return text if len(text) <= _SHOWN else f"{text[:_SHOWN]}..."


def identity_of(claims: dict[str, Any], tenant: TenantSettings) -> Identity:
    """Return the user that verified claims describe. Raises InvalidToken."""
    subject = required_text(claims["sub"], "sub")
    check_party(claims, tenant)
    email = _text(claims.get("email"))
    if email.count("@") > 1:
        email = ""  # the domain of such an address is ambiguous
    names = (_text(claims.get(name)) for name in ("name", "nickname", "email"))
    return Identity(
        issuer=required_text(claims["iss"], "iss"),
        subject=subject,
        email=email,
        display_name=next((name for name in names if name), subject),
        tenant=tenant.domain,
        claims={name: value for name, value in claims.items() if name not in _PROTOCOL_CLAIMS},
        sid=_text(claims.get("sid")),
    )


def stored_part(who: Identity, used: frozenset[str]) -> Identity:
    """Return what a session stores of a user: of the claims only those that are used.

    Raises:
        InvalidToken: they have more than `MAX_STORED` bytes; a claim that is left out could be one that denies.
    """
    claims = {name: value for name, value in who.claims.items() if name in used or name == "email_verified"}
    kept = replace(who, claims=claims, display_name=who.display_name[:MAX_NAME])
    size = len(json.dumps(asdict(kept)))
    if size > MAX_STORED:
        sizes = sorted(((len(json.dumps(value)), name) for name, value in claims.items()), reverse=True)
        largest = ", ".join(f"{shown(name)} {count} bytes" for count, name in sizes[:3])
        detail = f"{size} bytes, {MAX_STORED} are stored; the largest claims: {largest or 'none'}"
        raise InvalidToken("claims too large", (who.issuer, who.subject), detail=detail)
    return kept


def _text(value: Any) -> str:
    return value if isinstance(value, str) and value.isprintable() else ""
