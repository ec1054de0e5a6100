"""The compact serialization of signed tokens (RFC 7515, 7.1), and of encrypted ones (RFC 7516, 7.1)."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from .keys import SigningKey, b64url

LOGOUT_EVENT = "http://schemas.openid.net/event/backchannel-logout"


_compact = json.JSONEncoder(separators=(",", ":"), check_circular=False).encode


def to_json(value: object) -> bytes:
    """Return a value as compact JSON in ASCII."""
    return _compact(value).encode("ascii")


def encode(header: Mapping[str, object], claims: Mapping[str, object], key: SigningKey) -> str:
    """Return a token."""
    message = f"{b64url(to_json(header))}.{b64url(to_json(claims))}"
    return f"{message}.{b64url(key.sign(message.encode('ascii')))}"


class SealedTokens:
    """Tokens that only their issuer can read: encrypted directly with one key, by AES-256-GCM.

    Args:
        issuer: the issuer, which stands in the header.
        key: 32 bytes.
    """

    def __init__(self, issuer: str, key: bytes) -> None:
        self._head = b64url(to_json({"alg": "dir", "enc": "A256GCM", "iss": issuer}))
        self._cipher = AESGCM(key)

    def seal(self, claims: Mapping[str, object], nonce: bytes) -> str:
        """Return a token; `nonce` has 12 bytes and is never used twice."""
        sealed = self._cipher.encrypt(nonce, to_json(claims), self._head.encode("ascii"))
        return f"{self._head}..{b64url(nonce)}.{b64url(sealed[:-16])}.{b64url(sealed[-16:])}"

    def open(self, token: str) -> dict[str, object]:
        """Return the claims of a token. Raises ValueError if it was not sealed here."""
        head, _, rest = token.partition("..")
        parts = rest.split(".")
        if head != self._head or len(parts) != 3:
            raise ValueError("not a token of this issuer")
        nonce, text, tag = (base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in parts)
        try:
            claims = json.loads(self._cipher.decrypt(nonce, text + tag, head.encode("ascii")))
        except InvalidTag:
            raise ValueError("not a token of this issuer") from None
        return dict(claims)
