"""Keys from a seed, and what a key ring publishes."""

from __future__ import annotations

import base64
import json
from typing import cast

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from mock_auth0.keys import KeyRing, KeyRingError, SigningKey, key_source


def test_a_seed_determines_a_key() -> None:
    first, second, third = (SigningKey.generate(key_source(seed, "")) for seed in ("a", "a", "b"))
    assert first.jwk == second.jwk
    assert first.kid != third.kid


def test_the_keys_of_two_tenants_of_a_seed_differ() -> None:
    assert SigningKey.generate(key_source("a", "")).kid != SigningKey.generate(key_source("a", "a.localhost")).kid


@pytest.mark.parametrize("bits", [1024, 2048])
def test_a_key_from_a_seed_has_its_size_and_signs(bits: int) -> None:
    key = SigningKey.generate(key_source("a", ""), bits)
    assert key.bits == bits
    key.public.verify(key.sign(b"message"), b"message", padding.PKCS1v15(), hashes.SHA256())


def test_private_numbers_are_not_shown() -> None:
    key = SigningKey.generate()
    assert str(key.private.private_numbers().d) not in repr(key)
    assert key.jwk.keys() == {"kty", "n", "e", "use", "alg", "kid", "x5t", "x5c"}


def test_the_certificate_of_a_key_has_its_public_half() -> None:
    key = SigningKey.generate()
    (text,) = cast(list[str], key.jwk["x5c"])
    certificate = x509.load_der_x509_certificate(base64.b64decode(text))
    assert certificate.public_key() == key.public
    digest = certificate.fingerprint(hashes.SHA1())
    assert key.jwk["x5t"] == base64.urlsafe_b64encode(digest).rstrip(b"=").decode()


def test_the_key_that_signs_can_be_removed_from_the_key_set() -> None:
    ring = KeyRing()
    ring.remove(ring.current.kid)
    assert json.loads(ring.jwks) == {"keys": []}


def test_an_announced_key_that_is_removed_does_not_sign() -> None:
    ring = KeyRing()
    announced = ring.announce()
    ring.remove(announced.kid)
    assert ring.rotate().kid != announced.kid


def test_an_unknown_key_is_reported_with_those_that_are_published() -> None:
    ring = KeyRing()
    with pytest.raises(KeyRingError, match=f"there is no key x; published: {ring.current.kid}"):
        ring.named("x")
