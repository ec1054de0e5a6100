"""Which key of a set verifies a token: the one that fits its header, and none if several fit equally well."""

from __future__ import annotations

import json
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.identity.keys import AmbiguousKey, parse_key_set

ONE, TWO, THREE = (rsa.generate_private_key(65537, 2048).public_key() for _ in range(3))
P256, P384 = (ec.generate_private_key(curve()).public_key() for curve in (ec.SECP256R1, ec.SECP384R1))
ED = ed25519.Ed25519PrivateKey.generate().public_key()
AMBIGUOUS = "ambiguous"


def jwk(key: Any, **members: Any) -> dict[str, Any]:
    """Return a public key as a member of a key set, with the id `k`."""
    kinds: Any = {rsa.RSAPublicKey: RSAAlgorithm, ec.EllipticCurvePublicKey: ECAlgorithm}
    algorithm = next((made for kind, made in kinds.items() if isinstance(key, kind)), OKPAlgorithm)
    return {**algorithm.to_jwk(key, as_dict=True), "kid": "k", **members}


def selected(entries: list[Any], algorithm: str = "RS256", name: str = "k") -> Any:
    """Return the selected key, None, or AMBIGUOUS."""
    found = parse_key_set(json.dumps({"keys": entries}).encode(), 32).get(name)
    try:
        return None if found is None else found.select(algorithm)
    except AmbiguousKey:
        return AMBIGUOUS


KINDS: dict[str, tuple[list[Any], str, Any]] = {
    "one": ([jwk(ONE)], "RS256", ONE),
    "members that are no objects": ([None, 5, "x", [], jwk(ONE)], "RS256", ONE),
    "a symmetric key": ([{"kty": "oct", "k": "AAAA", "kid": "k"}, jwk(ONE)], "RS256", ONE),
    "a key of an unknown type": ([{"kty": "XYZ", "kid": "k"}, jwk(ONE)], "RS256", ONE),
    "the same key twice": ([jwk(ONE), jwk(ONE)], "RS256", ONE),
    "the same key twice, spelled differently": ([jwk(ONE), jwk(ONE, x5t="AA", use=None)], "RS256", ONE),
    "use null": ([jwk(ONE, use=None)], "RS256", ONE),
    "alg null": ([jwk(ONE, alg=None)], "RS256", ONE),
    "key_ops null": ([jwk(ONE, key_ops=None)], "RS256", ONE),
    "one for signatures, one for encryption": ([jwk(TWO, use="enc"), jwk(ONE, use="sig")], "RS256", ONE),
    "one for signatures, one without a use": ([jwk(TWO), jwk(ONE, use="sig")], "RS256", ONE),
    "another alg": ([jwk(TWO, alg="RS512"), jwk(ONE, alg="RS256")], "RS256", ONE),
    "an alg for encryption": ([jwk(TWO, alg="RSA-OAEP"), jwk(ONE)], "RS256", ONE),
    "one names the alg, one names none": ([jwk(TWO), jwk(ONE, alg="RS256")], "RS256", ONE),
    "one names another alg, one names none": ([jwk(TWO, alg="RS512"), jwk(ONE)], "RS256", ONE),
    "another kty": ([jwk(P256), jwk(ONE), jwk(ED)], "RS256", ONE),
    "another kty, for the other": ([jwk(P256), jwk(ONE), jwk(ED)], "ES256", P256),
    "another kty, for the third": ([jwk(P256), jwk(ONE), jwk(ED)], "EdDSA", ED),
    "another curve": ([jwk(P384), jwk(P256)], "ES256", P256),
    "two keys": ([jwk(ONE, use="sig"), jwk(TWO, use="sig"), jwk(THREE, kid="other")], "RS256", AMBIGUOUS),
    "two of one alg, and one without": ([jwk(ONE, alg="RS256"), jwk(TWO, alg="RS256"), jwk(THREE)], "RS256", AMBIGUOUS),
    "two keys, and another algorithm": ([jwk(ONE), jwk(TWO), jwk(P256)], "ES256", P256),
    "no key of the type": ([jwk(P256)], "RS256", None),
}  # fmt: skip


@pytest.mark.parametrize(("entries", "algorithm", "expected"), KINDS.values(), ids=KINDS)
@pytest.mark.parametrize("backwards", [False, True], ids=["in order", "backwards"])
def test_key_that_fits_the_header_is_selected(
    entries: list[Any], algorithm: str, expected: Any, backwards: bool
) -> None:
    assert selected(entries[::-1] if backwards else entries, algorithm) == expected


def test_ambiguous_id_does_not_affect_other_ids() -> None:
    entries = [jwk(ONE), jwk(TWO), jwk(THREE, kid="other")]
    assert (selected(entries), selected(entries, name="other")) == (AMBIGUOUS, THREE)


@pytest.mark.parametrize(
    "entries",
    [
        [],
        [None],
        [jwk(ONE, kid=None)],
        [jwk(ONE, kid=5)],
        [jwk(ONE, use="enc")],
        [jwk(ONE), jwk(TWO)],
        [jwk(ONE, alg=5)],
    ],
    ids=["none", "no object", "no id", "id a number", "encryption", "only ambiguous", "alg a number"],
)  # fmt: skip
def test_set_without_a_usable_key_is_rejected(entries: list[Any]) -> None:
    with pytest.raises(ValueError, match="no usable key"):
        parse_key_set(json.dumps({"keys": entries}).encode(), 32)


@pytest.mark.parametrize("text", ["[]", "null", "{}", '{"keys": {}}', '{"keys": null}'])
def test_document_that_is_no_key_set_is_rejected(text: str) -> None:
    with pytest.raises(ValueError, match="not a key set"):
        parse_key_set(text.encode(), 32)
