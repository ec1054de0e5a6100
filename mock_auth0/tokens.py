"""Creation and verification of tokens: RS256 JSON Web Tokens with the claims of Auth0."""

from __future__ import annotations

import hashlib
import random
from collections.abc import Mapping
from typing import Any

import jwt

from mock_server.randomness import handle

from .broken import Material, variant_named
from .directory import Api, Directory, User
from .jws import LOGOUT_EVENT, SealedTokens, encode, to_json
from .keys import KeyRing, b64url
from .state import Authorization, Clock

MAX_SIGNED = 2_000
"""The number of tokens that are kept to be issued again: more than are signed in a second."""

Claims = dict[str, object]
_ANY = Api("")


class SignedTokens:
    """Tokens by their content; the oldest is dropped when there are too many."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._tokens: dict[bytes, str] = {}

    def get(self, content: bytes) -> str | None:
        """Return the token of a content, or None."""
        return self._tokens.get(content)

    def put(self, content: bytes, token: str) -> None:
        """Keep a token."""
        if len(self._tokens) >= self._limit:
            del self._tokens[next(iter(self._tokens))]
        self._tokens[content] = token

    def clear(self) -> None:
        """Drop all tokens."""
        self._tokens.clear()


class Minter:
    """The issuer of tokens, with its keys.

    A signature takes half a millisecond, so a token is issued again while its content, with its times, is the same.
    """

    def __init__(self, issuer: str, ring: KeyRing, clock: Clock, source: random.Random) -> None:
        self.issuer = issuer
        self.ring = ring
        self._clock = clock
        self._source = source
        self._sealed = SealedTokens(issuer, source.randbytes(32))
        self._signed = SignedTokens(MAX_SIGNED)
        self._signed_by = ring.current

    @property
    def userinfo_audience(self) -> str:
        """The audience of access tokens for `/userinfo`."""
        return f"{self.issuer}userinfo"

    def id_token(
        self,
        directory: Directory,
        user: User,
        grant: Authorization,
        access_token: str | None = None,
        code: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> str:
        """Return an id_token for a grant.

        Args:
            directory: the lifetimes, and the claims that all tokens have.
            user: the user.
            grant: the grant.
            access_token: the token whose hash is added (OpenID Connect Core, 3.3.2.11), or None.
            code: the code whose hash is added, or None.
            changes: `claims` and `lifetime` that replace the usual ones; `broken`: the way to break the token.
        """
        return self.sign(self.id_token_claims(directory, user, grant, access_token, code, changes), changes=changes)

    def id_token_claims(
        self,
        directory: Directory,
        user: User,
        grant: Authorization,
        access_token: str | None = None,
        code: str | None = None,
        changes: Mapping[str, Any] | None = None,
    ) -> Claims:
        """Return the claims of an id_token; see `id_token`."""
        client = directory.clients.get(grant.client_id)
        lifetime = (client.entry.id_token_lifetime if client else None) or directory.lifetimes.id_token
        claims = self.profile(directory, user, grant.scope) | {"iss": self.issuer, "aud": grant.client_id}
        claims |= self._dates(directory, lifetime, changes)
        optional = {
            "sid": grant.sid,
            "nonce": grant.nonce,
            "auth_time": grant.auth_time,
            "at_hash": half_hash(access_token) if access_token else None,
            "c_hash": half_hash(code) if code else None,
        }
        claims |= {name: value for name, value in optional.items() if value is not None}
        return claims | _changed(changes)

    def profile(self, directory: Directory, user: User, scope: tuple[str, ...]) -> Claims:
        """Return the claims about a user for a scope, those of all users among them."""
        claims: Claims = {**directory.claims, **user.profile(scope)}
        if "profile" in scope:
            claims.setdefault("picture", f"{self.issuer}u/picture.svg?name={user.nickname[:2]}")
        return claims

    def access_token(
        self,
        directory: Directory,
        grant: Authorization,
        *,
        implicit: bool = False,
        changes: Mapping[str, Any] | None = None,
    ) -> str:
        """Return an access token for the audience of a grant and, if the grant has a user, for `/userinfo`.

        Without an audience it is for `/userinfo` only, and nobody else can read it, as that of a tenant of Auth0.
        """
        claims = self.access_token_claims(directory, grant, implicit=implicit, changes=changes)
        if grant.audience is None and directory.opaque_access_tokens and not (changes and "broken" in changes):
            return self._sealed.seal(claims, self._source.randbytes(12))
        return self.sign(claims, self.access_token_type(directory, grant), changes)

    def access_token_type(self, directory: Directory, grant: Authorization) -> str:
        """Return the `typ` of an access token for a grant."""
        return "at+jwt" if self._dialect(directory, grant).startswith("rfc9068") else "JWT"

    def access_token_claims(
        self,
        directory: Directory,
        grant: Authorization,
        *,
        implicit: bool = False,
        changes: Mapping[str, Any] | None = None,
    ) -> Claims:
        """Return the claims of an access token; see `access_token`."""
        audience: list[str] = [grant.audience] if grant.audience else []
        if "openid" in grant.scope or not audience:
            audience.append(self.userinfo_audience)
        dialect, user = self._dialect(directory, grant), directory.user(grant.subject)
        claims: Claims = {**directory.access_token_claims, **(user.access_token_claims if user else {})}
        claims |= {"iss": self.issuer, "sub": grant.subject, "aud": audience[0] if len(audience) == 1 else audience}
        claims |= self._dates(directory, self.access_lifetime(directory, grant, implicit=implicit), changes)
        if grant.scope:
            claims["scope"] = " ".join(grant.scope)
        if dialect.startswith("rfc9068"):
            claims |= {"client_id": grant.client_id, "jti": handle(self._source, 16)}
        else:
            claims |= {"azp": grant.client_id} | ({"gty": grant.gty} if grant.gty else {})
        if dialect.endswith("_authz"):
            claims["permissions"] = list(user.permissions if user else grant.scope)
        if grant.jkt is not None:
            claims["cnf"] = {"jkt": grant.jkt}
        return claims | _changed(changes)

    def access_lifetime(self, directory: Directory, grant: Authorization, *, implicit: bool = False) -> int:
        """Return the lifetime of an access token for a grant, in seconds."""
        api = (directory.apis or {}).get(grant.audience or "", _ANY)
        if implicit:
            return api.implicit_lifetime or directory.lifetimes.implicit_access_token
        return api.lifetime or directory.lifetimes.access_token

    def logout_token(self, directory: Directory, subject: str, client_id: str) -> str:
        """Return a logout token for all sessions of a user (OpenID Connect Back-Channel Logout 1.0, 2.4)."""
        return self.sign(self.logout_token_claims(directory, subject, client_id), typ="logout+jwt")

    def logout_token_claims(self, directory: Directory, subject: str, client_id: str) -> Claims:
        """Return the claims of a logout token; see `logout_token`."""
        return {
            "iss": self.issuer,
            "sub": subject,
            "aud": client_id,
            "jti": handle(self._source, 16),
            "events": {LOGOUT_EVENT: {}},
            **self._dates(directory, directory.lifetimes.logout_token, None),
        }

    def read_access_token(self, token: str) -> Claims:
        """Return the claims of an access token for `/userinfo`.

        Raises:
            jwt.InvalidTokenError: the token is forged, has expired, or has another audience.
            ValueError: the same, for a token without an audience.
        """
        if token.count(".") == 4:
            claims = self._sealed.open(token)
        else:
            claims = self._read(token, audience=self.userinfo_audience)
        if self._clock.now() >= _number(claims.get("exp")):
            raise jwt.ExpiredSignatureError("expired")
        return claims

    def read_id_token_hint(self, token: str) -> Claims:
        """Return the claims of an id_token of this tenant; it may have expired (OpenID Connect RP-Initiated Logout, 2).

        Raises:
            jwt.InvalidTokenError: this tenant has not issued the token.
        """
        return self._read(token, audience=None)

    def sign(self, claims: Claims, typ: str = "JWT", changes: Mapping[str, Any] | None = None) -> str:
        """Return a token with these claims, signed by the current key; `changes` may name a way to break it."""
        key = self.ring.current
        if changes and "broken" in changes:
            header = {"alg": "RS256", "typ": typ, "kid": key.kid}
            material = Material(header, claims, self.ring, int(self._clock.now()))
            return variant_named(str(changes["broken"])).make(material)
        if key is not self._signed_by:
            self._signed.clear()
            self._signed_by = key
        content = to_json((typ, claims))
        found = self._signed.get(content)
        if found is None:
            found = encode({"alg": "RS256", "typ": typ, "kid": key.kid}, claims, key)
            self._signed.put(content, found)
        return found

    def _dialect(self, directory: Directory, grant: Authorization) -> str:
        return (directory.apis or {}).get(grant.audience or "", _ANY).dialect

    def _read(self, token: str, audience: str | None) -> Claims:
        kid = jwt.get_unverified_header(token).get("kid")
        key = next((key for key in self.ring.published if key.kid == kid), self.ring.current)
        options = {"verify_aud": audience is not None, "verify_exp": False, "verify_iat": False, "verify_nbf": False}
        claims: Claims = jwt.decode(
            token,
            key.public,
            algorithms=["RS256"],
            issuer=self.issuer,
            audience=audience,
            options=options,  # type: ignore[arg-type]
        )
        return claims

    def _dates(self, directory: Directory, lifetime: int, changes: Mapping[str, Any] | None) -> Claims:
        now = int(self._clock.now())
        now -= now % directory.reuse_seconds
        given = changes.get("lifetime") if changes else None
        return {"iat": now, "exp": now + (given if isinstance(given, int) else lifetime)}


def half_hash(value: str) -> str:
    """Return the left half of the SHA-256 of a token, for `at_hash` and `c_hash`."""
    return b64url(hashlib.sha256(value.encode("ascii")).digest()[:16])


def _changed(changes: Mapping[str, Any] | None) -> Claims:
    given = changes.get("claims") if changes else None
    return dict(given) if isinstance(given, Mapping) else {}


def _number(value: object) -> float:
    return float(value) if isinstance(value, int | float) else 0.0
