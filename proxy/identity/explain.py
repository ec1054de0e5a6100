"""Every check of a token with its verdict, for `noetl-edge token explain`. The checks are those of a login.

No text contains the token, or a part of it as it is encoded: claims are shown, in ASCII and shortened.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from functools import partial
from typing import Any, NamedTuple

from proxy.identity.jwks import KeySet, KeySetUnavailable
from proxy.identity.tokens import (
    LOGIN_CLAIMS,
    InvalidToken,
    TenantSettings,
    check_algorithm,
    check_extensions,
    check_login_kind,
    decode,
    find_key,
    identity_of,
    read_header,
    shown,
    stored_part,
    unverified_claims,
    verify,
)
from proxy.sessions.store import Identity, instant

_ALL = ("signature", "exp", "nbf", "iat", "aud", "iss", "sub", "jti")
_CLAIM_CHECKS = (("issuer", "iss"), ("audience", "aud"), ("expiry", "exp"), ("not before", "nbf"), ("issued at", "iat"))


class Checked(NamedTuple):
    """The verdict of one check: why it fails, or an empty text; and what it looked at."""

    name: str
    problem: str
    about: str = ""


class Explained(NamedTuple):
    """The checks of a token, in their order, and the user that it describes if a login accepts it."""

    checks: tuple[Checked, ...]
    identity: Identity | None

    @property
    def accepted(self) -> bool:
        """Whether a login with this token succeeds."""
        return self.identity is not None


async def explain_token(token: str, tenant: TenantSettings, keys: KeySet, used: frozenset[str]) -> Explained:
    """Return the verdict of every check that can be made; a token that can't be read fails the first one.

    `used` are the claims that a session stores.
    """
    try:
        header = read_header(token)
    except InvalidToken as error:
        return Explained((Checked("form", str(error), error.detail),), None)
    claims = unverified_claims(token)
    checks = [
        Checked("form", "", f"{len(token)} characters"),
        _check("algorithm", lambda: check_algorithm(header, tenant), shown(header.get("alg"))),
        _check("extensions", lambda: check_extensions(header)),
    ]
    key: Any = None
    try:
        key = await find_key(token, header, str(header.get("alg")), tenant, keys)
        checks.append(Checked("key", "", shown(header.get("kid"))))
        checks.append(_check("signature", lambda: _decode(token, key, header, tenant, "signature")))
    except InvalidToken as error:
        checks.append(Checked("key", str(error), error.detail))
    except KeySetUnavailable as error:
        checks.append(Checked("key", "the key set can't be had", str(error)))
    checks += _claim_checks(token, key, header, tenant, claims, used)
    identity = None
    try:
        identity = stored_part(await verify(token, tenant, keys), used)
    except InvalidToken as error:
        if not any(check.problem for check in checks):
            checks.append(Checked("login", str(error), error.detail))
    except KeySetUnavailable:
        pass  # the check of the key says so
    return Explained(tuple(checks), identity)


def _claim_checks(
    token: str,
    key: Any,
    header: dict[str, Any],
    tenant: TenantSettings,
    claims: dict[str, Any],
    used: frozenset[str],
) -> Iterator[Checked]:
    required = {"require": list(LOGIN_CLAIMS)}
    yield _check("claims", lambda: _decode(token, key, header, tenant, "", required), ", ".join(map(shown, claims)))
    for name, claim in _CLAIM_CHECKS:
        if claim in claims:
            about = _time(claims[claim]) if claim in ("exp", "nbf", "iat") else shown(claims[claim])
            yield _check(name, partial(_decode, token, key, header, tenant, claim), about)
    yield _check("kind", lambda: check_login_kind(header, claims), "a token to sign in with")
    if all(name in claims for name in LOGIN_CLAIMS):
        stored = ", ".join(shown(name) for name in claims if name in used) or "none"
        yield _check(
            "user",
            lambda: stored_part(identity_of(claims, tenant), used),
            f"sub {shown(claims['sub'])}, claims for roles and rules: {stored}",
        )


def _check(name: str, make: Callable[[], object], about: str = "") -> Checked:
    try:
        make()
    except InvalidToken as error:
        return Checked(name, str(error), error.detail or about)
    return Checked(name, "", about)


def _decode(
    token: str, key: Any, header: dict[str, Any], tenant: TenantSettings, only: str, more: Any = None
) -> dict[str, Any]:
    """Make one check of PyJWT alone, or none."""
    options = {f"verify_{name}": name == only for name in _ALL} | (more or {})
    return decode(token, key, str(header.get("alg")), tenant, options)


def _time(value: Any) -> str:
    try:
        return instant(float(value))
    except (TypeError, ValueError, OverflowError, OSError):
        return shown(value)
