"""The signing keys of a tenant: several at a time, published before they sign, rotated, removed, weak or ambiguous.

The keys exist in memory only. With a seed they are the same in every run, and anyone who knows the seed knows them.
"""

from __future__ import annotations

import base64
import hashlib
import json
import math
import random
from dataclasses import dataclass, field
from datetime import UTC, datetime

from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding, rsa
from cryptography.x509.oid import NameOID

from mock_server.randomness import random_source

BITS = 2048
WEAK_BITS = 1024
MAX_KEYS = 16
_EXPONENT = 65537
_SMALL_PRIMES = math.prod(n for n in range(3, 2000, 2) if all(n % d for d in range(3, math.isqrt(n) + 1, 2)))
_WITNESSES = (2, 3, 5, 7, 11, 13, 17, 19)


class KeyRingError(ValueError):
    """An operation on keys is impossible; the text says why."""


def b64url(raw: bytes) -> str:
    """Return data as base64url text without padding (RFC 7515, 2)."""
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode("ascii")


@dataclass(frozen=True, slots=True)
class SigningKey:
    """An RSA key with its public half as a JSON Web Key."""

    private: rsa.RSAPrivateKey = field(repr=False)
    kid: str
    jwk: dict[str, object]

    @classmethod
    def generate(cls, source: random.Random | None = None, bits: int = BITS, kid: str | None = None) -> SigningKey:
        """Return a new RSA key; its `kid` is the JWK thumbprint (RFC 7638), unless one is given.

        Args:
            source: with a seed, it determines the key; None: the system's random source.
            bits: the size.
            kid: the key id.
        """
        private = _generate(source, bits)
        numbers = private.public_key().public_numbers()
        required = {"e": _integer(numbers.e), "kty": "RSA", "n": _integer(numbers.n)}
        kid = kid or thumbprint(required)
        return cls(private, kid, {**required, "use": "sig", "alg": "RS256", "kid": kid, **_certificate(private)})

    @property
    def bits(self) -> int:
        """The size of the key."""
        return self.private.key_size

    @property
    def public(self) -> rsa.RSAPublicKey:
        """The public half."""
        return self.private.public_key()

    def sign(self, message: bytes) -> bytes:
        """Return the signature of a message, as RS256 (RFC 7518, 3.3)."""
        return self.private.sign(message, padding.PKCS1v15(), hashes.SHA256())

    def public_pem(self) -> bytes:
        """Return the public half as PEM."""
        encoding, form = serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo
        return self.public.public_bytes(encoding, form)


class KeyRing:
    """The keys of a tenant. One signs; all that are published stand in the key set, in their order.

    Args:
        source: the random source that new keys come from; None: the system's.
        first: the key that signs at first; None: a new one.
    """

    def __init__(self, source: random.Random | None = None, first: SigningKey | None = None) -> None:
        self._source = source
        self.first = first or SigningKey.generate(source)
        self._current = self.first
        self._published = [self._current]
        self._announced: SigningKey | None = None
        self._stranger: SigningKey | None = None
        self._weak: SigningKey | None = None
        self._jwks = b""
        self._publish()

    @property
    def current(self) -> SigningKey:
        """The key that signs."""
        return self._current

    @property
    def published(self) -> tuple[SigningKey, ...]:
        """The keys of the key set."""
        return tuple(self._published)

    @property
    def jwks(self) -> bytes:
        """The key set (RFC 7517, 5)."""
        return self._jwks

    @property
    def stranger(self) -> SigningKey:
        """A key that is never published."""
        if self._stranger is None:
            self._stranger = SigningKey.generate(self._source)
        return self._stranger

    @property
    def weak(self) -> SigningKey:
        """A key of 1024 bits; it is published by `publish_weak` only."""
        if self._weak is None:
            self._weak = SigningKey.generate(self._source, WEAK_BITS)
        return self._weak

    def named(self, kid: str) -> SigningKey:
        """Return a published key. Raises KeyRingError."""
        for key in self._published:
            if key.kid == kid:
                return key
        raise KeyRingError(f"there is no key {kid}; published: {', '.join(key.kid for key in self._published)}")

    def announce(self) -> SigningKey:
        """Publish a new key, which signs from the next rotation on. Raises KeyRingError if there are too many."""
        if self._announced is None:
            self._announced = self._add(SigningKey.generate(self._source))
        return self._announced

    def rotate(self) -> SigningKey:
        """Sign with the announced key, or with a new one; the previous key stays published. Raises KeyRingError."""
        self._current = self.announce()
        self._announced = None
        return self._current

    def remove(self, kid: str) -> None:
        """Remove the keys of this id from the key set; the one that signs may be removed too. Raises KeyRingError."""
        self.named(kid)
        self._published = [key for key in self._published if key.kid != kid]
        if self._announced is not None and self._announced.kid == kid:
            self._announced = None
        self._publish()

    def remove_old(self) -> int:
        """Remove the keys that neither sign nor are announced, and return their number."""
        kept = [key for key in self._published if key in (self._current, self._announced)]
        removed = len(self._published) - len(kept)
        self._published = kept
        self._publish()
        return removed

    def duplicate(self) -> SigningKey:
        """Publish another key under the id of the one that signs: the id is ambiguous then. Raises KeyRingError."""
        return self._add(SigningKey.generate(self._source, kid=self._current.kid))

    def publish_weak(self) -> SigningKey:
        """Publish the key of 1024 bits. Raises KeyRingError if there are too many."""
        return self.weak if self.weak in self._published else self._add(self.weak)

    def describe(self) -> list[dict[str, object]]:
        """Return the published keys with what they are for, as JSON data."""
        return [
            {
                "kid": key.kid,
                "bits": key.bits,
                "signs": key is self._current,
                "announced": key is self._announced,
            }
            for key in self._published
        ]

    def _add(self, key: SigningKey) -> SigningKey:
        if len(self._published) >= MAX_KEYS:
            raise KeyRingError(f"there are {MAX_KEYS} keys already; remove old ones")
        self._published.append(key)
        self._publish()
        return key

    def _publish(self) -> None:
        self._jwks = json.dumps({"keys": [key.jwk for key in self._published]}, separators=(",", ":")).encode()


def thumbprint(required: dict[str, str]) -> str:
    """Return the SHA-256 thumbprint of the required members of a JWK (RFC 7638, 3)."""
    canonical = json.dumps(required, sort_keys=True, separators=(",", ":"))
    return b64url(hashlib.sha256(canonical.encode()).digest())


def key_source(seed: int | str | None, tenant: str) -> random.Random | None:
    """Return what the keys of a tenant come from, so that they do not depend on other uses of the seed."""
    return None if seed is None else random_source(f"keys {seed} {tenant}")


def _generate(source: random.Random | None, bits: int) -> rsa.RSAPrivateKey:
    if source is None or isinstance(source, random.SystemRandom):
        return rsa.generate_private_key(public_exponent=_EXPONENT, key_size=bits)
    p, q = _prime(source, bits // 2), _prime(source, bits // 2)
    d = pow(_EXPONENT, -1, math.lcm(p - 1, q - 1))
    public = rsa.RSAPublicNumbers(_EXPONENT, p * q)
    return rsa.RSAPrivateNumbers(p, q, d, d % (p - 1), d % (q - 1), pow(q, -1, p), public).private_key()


def _prime(source: random.Random, bits: int) -> int:
    """Return a prime with its two highest bits set, so that the product of two has the size of both."""
    while True:
        candidate = source.getrandbits(bits) | 0b11 << (bits - 2) | 1
        if candidate % _EXPONENT != 1 and _is_prime(candidate):
            return candidate


def _is_prime(candidate: int) -> bool:
    """Return the result of the test of Miller and Rabin, whose error is negligible for a random number of this size."""
    if math.gcd(candidate, _SMALL_PRIMES) != 1:
        return False
    twos = (candidate - 1 & -(candidate - 1)).bit_length() - 1
    return all(_passes(candidate, base, twos) for base in _WITNESSES)


def _passes(candidate: int, base: int, twos: int) -> bool:
    power = pow(base, candidate - 1 >> twos, candidate)
    if power in (1, candidate - 1):
        return True
    for _ in range(twos - 1):
        power = power * power % candidate
        if power == candidate - 1:
            return True
    return False


def _certificate(private: rsa.RSAPrivateKey) -> dict[str, object]:
    """Return the members of a JWK with a certificate (RFC 7517, 4.7), which Auth0 has and some clients read.

    It depends on nothing but the key; no client verifies it.
    """
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mock_auth0")])
    builder = x509.CertificateBuilder(
        issuer_name=name,
        subject_name=name,
        public_key=private.public_key(),
        serial_number=1,
        not_valid_before=datetime(2020, 1, 1, tzinfo=UTC),
        not_valid_after=datetime(2049, 1, 1, tzinfo=UTC),
    )
    der = builder.sign(private, hashes.SHA256()).public_bytes(serialization.Encoding.DER)
    digest = hashlib.sha1(der, usedforsecurity=False).digest()
    return {"x5t": b64url(digest), "x5c": [base64.b64encode(der).decode("ascii")]}


def _integer(value: int) -> str:
    return b64url(value.to_bytes((value.bit_length() + 7) // 8, "big"))
