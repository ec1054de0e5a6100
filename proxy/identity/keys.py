"""The keys of a key set (RFC 7517): which of them can be used, and which one a token's header selects. Pure."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple

import jwt
from cryptography.hazmat.primitives.asymmetric.ec import EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey

_MIN_RSA_BITS = 2048
_KINDS = {"RS": "RSA", "PS": "RSA", "ES": "EC", "Ed": "OKP"}
_CURVES = {"ES256": "secp256r1", "ES384": "secp384r1", "ES512": "secp521r1"}


class KeyUse(NamedTuple):
    """What a key says about itself: its type (`kty`), its curve, the only algorithm that it may be used with (None:
    any of its type), and whether it says that it is for signatures."""

    kind: str
    curve: str
    algorithm: str | None
    for_signatures: bool

    def fits(self, algorithm: str) -> bool:
        """Return True if such a key may verify signatures of an algorithm (RFC 7518, 3.1; RFC 8037, 3.1)."""
        curve = _CURVES.get(algorithm, self.curve)
        return self.kind == _KINDS.get(algorithm[:2]) and self.curve == curve and self.algorithm in (None, algorithm)


class AmbiguousKey(Exception):
    """Several different keys of one id fit a token equally well."""


@dataclass(frozen=True, slots=True)
class KeysOfId:
    """The different keys that have one id (RFC 7517, 4.5), by what they say about themselves."""

    by_use: Mapping[KeyUse, tuple[Any, ...]]

    def select(self, algorithm: str) -> Any | None:
        """Return the key that fits an algorithm, or None. A key that names its algorithm, or its use, fits better.

        Raises:
            AmbiguousKey: several keys fit equally well.
        """
        fitting = [(use.algorithm is not None, use.for_signatures, use) for use in self.by_use if use.fits(algorithm)]
        if not fitting:
            return None
        best = max(rank[:2] for rank in fitting)
        keys = [key for *rank, use in fitting if tuple(rank) == best for key in self.by_use[use]]
        if len(keys) > 1:
            raise AmbiguousKey
        return keys[0]


def parse_key_set(data: bytes, max_keys: int) -> dict[str, KeysOfId]:
    """Return the usable keys of a set by key id, without members that are not usable keys or have no id.

    Raises:
        ValueError: the data is not a key set, is too large, or has no usable key.
    """
    document = json.loads(data)
    entries = document.get("keys") if isinstance(document, dict) else None
    if not isinstance(entries, list):
        raise ValueError("not a key set")
    if len(entries) > max_keys:
        raise ValueError(f"more than {max_keys} keys")
    found: dict[str, dict[KeyUse, tuple[Any, ...]]] = {}
    for entry in entries:
        name = entry.get("kid") if isinstance(entry, dict) else None
        usable = _usable(entry) if isinstance(name, str) else None
        if not isinstance(name, str) or usable is None:
            continue
        use, key = usable
        same = found.setdefault(name, {})
        known = same.get(use, ())
        if key not in known:
            same[use] = (*known, key)
    if not any(len(keys) == 1 for same in found.values() for keys in same.values()):
        raise ValueError("no usable key")
    return {name: KeysOfId(by_use) for name, by_use in found.items()}


def _usable(entry: Mapping[str, Any]) -> tuple[KeyUse, Any] | None:
    """Return the public key of a member, and what it says about itself; None if it can't verify signatures."""
    use, algorithm, operations = (entry.get(name) for name in ("use", "alg", "key_ops"))
    if entry.get("kty") not in _KINDS.values() or use not in (None, "sig") or "d" in entry:
        return None
    if operations is not None and (not isinstance(operations, list) or "verify" not in operations):
        return None
    if algorithm is not None and not isinstance(algorithm, str):
        return None
    try:
        key = jwt.PyJWK({name: value for name, value in entry.items() if value is not None}).key
    except (jwt.PyJWTError, ValueError, TypeError, KeyError):
        return None
    if isinstance(key, RSAPublicKey) and key.key_size < _MIN_RSA_BITS:
        return None
    curve = key.curve.name if isinstance(key, EllipticCurvePublicKey) else entry.get("crv", "")
    return KeyUse(str(entry["kty"]), curve, algorithm, use == "sig"), key
