"""The signing key of the sandbox tenant. It is generated at start-up and exists in memory only."""

from __future__ import annotations

import base64
import hashlib
import json
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import rsa


def b64url(raw: bytes) -> str:
    """Return data as base64url text without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key with its public half as a JSON Web Key."""

    private: rsa.RSAPrivateKey = field(repr=False)
    public: rsa.RSAPublicKey = field(repr=False)
    kid: str
    jwk: dict[str, str]

    @classmethod
    def generate(cls) -> SigningKey:
        """Return a new RSA-2048 key; its `kid` is the JWK thumbprint (RFC 7638)."""
        private = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public = private.public_key()
        numbers = public.public_numbers()
        required = {"e": _integer(numbers.e), "kty": "RSA", "n": _integer(numbers.n)}
        kid = thumbprint(required)
        return cls(private, public, kid, {**required, "use": "sig", "alg": "RS256", "kid": kid})


def thumbprint(required: dict[str, str]) -> str:
    """Return the SHA-256 thumbprint of the required members of a JWK (RFC 7638, 3)."""
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return b64url(hashlib.sha256(canonical.encode()).digest())


def _integer(value: int) -> str:
    return b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
