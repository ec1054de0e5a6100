"""Creation and verification of tokens: RS256 JSON Web Tokens with the claims of Auth0."""

from __future__ import annotations

import hashlib
import secrets
import time
from dataclasses import dataclass

import jwt

from .keys import SigningKey, b64url
from .state import Authorization
from .users import User

ID_TOKEN_SECONDS = 36_000
ACCESS_TOKEN_SECONDS = 86_400
IMPLICIT_ACCESS_TOKEN_SECONDS = 7_200
LOGOUT_TOKEN_SECONDS = 120
LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


@dataclass(frozen=True, slots=True)
class Minter:
    """The issuer of tokens, with its key."""

    issuer: str
    key: SigningKey

    @property
    def userinfo_audience(self) -> str:
        """The audience of access tokens for `/userinfo`."""
        return f"{self.issuer}userinfo"

    def id_token(self, user: User, grant: Authorization, access_token: str | None = None) -> str:
        """Return an id_token for a grant; `access_token` adds its hash (OpenID Connect Core, 3.2.2.9)."""
        claims = user.profile(grant.scope) | self._dates(ID_TOKEN_SECONDS)
        claims |= {"iss": self.issuer, "aud": grant.client_id}
        optional = {
            "nonce": grant.nonce,
            "sid": grant.sid,
            "auth_time": grant.auth_time,
            "at_hash": half_hash(access_token) if access_token else None,
        }
        claims |= {name: value for name, value in optional.items() if value is not None}
        return self._sign(claims)

    def access_token(self, grant: Authorization, lifetime: int = ACCESS_TOKEN_SECONDS) -> str:
        """Return an access token for the audience of a grant and, if the grant has a user, for `/userinfo`."""
        audience: list[str] = [grant.audience] if grant.audience else []
        if "openid" in grant.scope or not audience:
            audience.append(self.userinfo_audience)
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": grant.subject,
            "aud": audience[0] if len(audience) == 1 else audience,
            "azp": grant.client_id,
            "scope": " ".join(grant.scope),
            **self._dates(lifetime),
        }
        if grant.gty:
            claims["gty"] = grant.gty
        return self._sign(claims)

    def logout_token(self, subject: str, client_id: str) -> str:
        """Return a logout token for all sessions of a user (OpenID Connect Back-Channel Logout 1.0, 2.4)."""
        claims: dict[str, object] = {
            "iss": self.issuer,
            "sub": subject,
            "aud": client_id,
            "jti": secrets.token_urlsafe(16),
            "events": {LOGOUT_EVENT: {}},
            **self._dates(LOGOUT_TOKEN_SECONDS),
        }
        return self._sign(claims, typ="logout+jwt")

    def read_access_token(self, token: str) -> dict[str, object]:
        """Return the claims of an access token for `/userinfo`.

        Raises:
            jwt.InvalidTokenError: the token is forged, has expired, or has another audience.
        """
        return self._read(token, audience=self.userinfo_audience)

    def read_id_token_hint(self, token: str) -> dict[str, object]:
        """Return the claims of an id_token of this tenant; it may have expired (OpenID Connect RP-Initiated Logout, 2).

        Raises:
            jwt.InvalidTokenError: this tenant has not issued the token.
        """
        return self._read(token, audience=None)

    def _read(self, token: str, audience: str | None) -> dict[str, object]:
        claims: dict[str, object] = jwt.decode(
            token,
            self.key.public,
            algorithms=["RS256"],
            issuer=self.issuer,
            audience=audience,
            options={"verify_aud": audience is not None, "verify_exp": audience is not None},
        )
        return claims

    def _sign(self, claims: dict[str, object], typ: str = "JWT") -> str:
        headers = {"kid": self.key.kid, "typ": typ}
        return jwt.encode(claims, self.key.private, algorithm="RS256", headers=headers)

    @staticmethod
    def _dates(lifetime: int) -> dict[str, object]:
        now = int(time.time())
        return {"iat": now, "exp": now + lifetime}


def half_hash(value: str) -> str:
    """Return the left half of the SHA-256 of a token, for `at_hash`."""
    return b64url(hashlib.sha256(value.encode("ascii")).digest()[:16])
