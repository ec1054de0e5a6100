"""Minting of any token, good or broken, from JSON data to JSON data; for the command line and the control plane."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from mock_server.mistakes import suggest

from .broken import BROKEN, Material, MintError, variant_named
from .directory import Directory, User
from .jws import encode
from .keys import KeyRing, KeyRingError
from .state import Authorization, Clock
from .tokens import Claims, Minter

KINDS = ("id_token", "access_token", "logout_token")
DEFAULT_SCOPE = "openid profile email"
MAX_SECONDS = 10**12
FIELDS: Mapping[str, str] = {
    "user": "the e-mail address of the user; default: the first one",
    "client_id": "the client; default: the first one",
    "kind": f"{', '.join(KINDS)}; default: id_token",
    "audience": "the API of an access token",
    "scope": f"the scopes; default: {DEFAULT_SCOPE}",
    "nonce": "the nonce of an ID token",
    "lifetime": "the lifetime in seconds, which may be negative",
    "issued_at": "the time of issue, in seconds since 1970; default: now",
    "claims": "an object of claims that are added or replaced; null removes a claim",
    "header": "an object of header members that are added or replaced; null removes one",
    "kid": "the published key that signs; default: the current one",
    "broken": "a name of the lists of broken and of unusual tokens",
}
"""What `mint` understands."""


def mint(directory: Directory, minter: Minter, clock: Clock, fields: Mapping[str, Any]) -> dict[str, Any]:
    """Return a token with its header, its claims and, for a broken one, the sentence about it.

    Args:
        directory: the users, clients and lifetimes.
        minter: the issuer.
        clock: the time.
        fields: as in `FIELDS`.

    Raises:
        MintError: a field is unknown or wrong.
    """
    unknown = sorted(fields.keys() - FIELDS.keys())
    if unknown:
        raise MintError(f"{unknown[0]}: unknown field{suggest(unknown[0], FIELDS)}")
    now = _integer(fields, "issued_at", int(clock.now()))
    header, claims = _content(directory, minter, fields, now)
    material = Material(header, claims, minter.ring, int(clock.now()))
    name = fields.get("broken")
    if name is None:
        return {"token": _sign(minter.ring, fields, header, claims), "header": header, "claims": claims}
    variant = variant_named(str(name))
    return {
        "token": variant.make(material),
        "header": header,
        "claims": claims,
        "broken": str(name),
        "sentence": variant.sentence,
        "refused": str(name) in BROKEN,
    }


def _content(
    directory: Directory, minter: Minter, fields: Mapping[str, Any], now: int
) -> tuple[dict[str, Any], dict[str, Any]]:
    kind = _text(fields, "kind", "id_token")
    if kind not in KINDS:
        raise MintError(f"kind: unknown: {kind}{suggest(kind, KINDS)}")
    user, client_id = _user(directory, fields), _client(directory, fields)
    grant = Authorization(
        client_id=client_id,
        subject=user.subject,
        scope=tuple(_text(fields, "scope", DEFAULT_SCOPE).split()),
        audience=fields.get("audience") and _text(fields, "audience", ""),
        nonce=fields.get("nonce") and _text(fields, "nonce", ""),
    )
    typ = "JWT"
    claims: Claims
    if kind == "id_token":
        claims = minter.id_token_claims(directory, user, grant)
    elif kind == "access_token":
        claims, typ = minter.access_token_claims(directory, grant), minter.access_token_type(directory, grant)
    else:
        claims, typ = minter.logout_token_claims(directory, user.subject, client_id), "logout+jwt"
    lifetime = _integer(fields, "lifetime", int(str(claims["exp"])) - int(str(claims["iat"])))
    claims |= {"iat": now, "exp": now + lifetime}
    header = {"alg": "RS256", "typ": typ, "kid": minter.ring.current.kid}
    return _replaced(header, fields, "header"), _replaced(claims, fields, "claims")


def _sign(ring: KeyRing, fields: Mapping[str, Any], header: dict[str, Any], claims: dict[str, Any]) -> str:
    if fields.get("kid") is None:
        return encode(header, claims, ring.current)
    try:
        key = ring.named(_text(fields, "kid", ""))
    except KeyRingError as error:
        raise MintError(f"kid: {error}") from None
    header["kid"] = key.kid
    return encode(header, claims, key)


def _user(directory: Directory, fields: Mapping[str, Any]) -> User:
    first = next(iter(directory.shown_users(1)), None)
    email = _text(fields, "user", first.email if first else "")
    user = directory.by_email(email)
    if user is None:
        raise MintError(f"user: there is no user {email}")
    return user


def _client(directory: Directory, fields: Mapping[str, Any]) -> str:
    client_id = _text(fields, "client_id", next(iter(directory.clients), ""))
    if client_id not in directory.clients:
        raise MintError(f"client_id: there is no client {client_id}; known: {', '.join(directory.clients)}")
    return client_id


def _replaced(members: dict[str, Any], fields: Mapping[str, Any], name: str) -> dict[str, Any]:
    changes = fields.get(name, {})
    if not isinstance(changes, Mapping):
        raise MintError(f"{name}: must be an object")
    return {key: value for key, value in {**members, **changes}.items() if value is not None}


def _text(fields: Mapping[str, Any], name: str, default: str) -> str:
    value = fields.get(name, default)
    if not isinstance(value, str):
        raise MintError(f"{name}: must be a text")
    return value


def _integer(fields: Mapping[str, Any], name: str, default: int) -> int:
    value = fields.get(name, default)
    if not isinstance(value, int) or isinstance(value, bool) or abs(value) > MAX_SECONDS:
        raise MintError(f"{name}: must be a whole number of seconds")
    return value
