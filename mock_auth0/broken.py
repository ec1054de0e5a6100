"""Tokens that a verifier must refuse, and unusual ones that it must accept: a registry with a sentence each.

A way to break a token is a pure function of the header, the claims and the keys that a good token would have.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import padding

from mock_server.mistakes import suggest

from .jws import LOGOUT_EVENT, encode, to_json
from .keys import KeyRing, SigningKey, b64url

MAX_TOKEN = 16 * 1024
"""The size that verifiers commonly accept, and that `huge` exceeds."""
LEEWAY = 30
"""The difference between clocks that verifiers commonly accept, in seconds."""
ELSEWHERE = "https://attacker.example/keys.json"


@dataclass(frozen=True, slots=True)
class Material:
    """What a good token is made of.

    Args:
        header: the header.
        claims: the claims.
        ring: the keys.
        now: the time in whole seconds since 1970.
    """

    header: Mapping[str, Any]
    claims: Mapping[str, Any]
    ring: KeyRing
    now: int

    def good(self) -> str:
        """Return the good token."""
        return encode(self.header, self.claims, self.ring.current)

    def with_header(self, *, key: SigningKey | None = None, **changes: object) -> str:
        """Return the token with changes of the header; None removes a member."""
        return encode(_without_none({**self.header, **changes}), self.claims, key or self.ring.current)

    def with_claims(self, **changes: object) -> str:
        """Return the token with changes of the claims; None removes a claim."""
        return encode(self.header, _without_none({**self.claims, **changes}), self.ring.current)

    def signed_by(self, sign: Callable[[bytes], bytes], **changes: object) -> str:
        """Return the token with changes of the header, and another signature."""
        message = f"{b64url(to_json({**self.header, **changes}))}.{b64url(to_json(self.claims))}"
        return f"{message}.{b64url(sign(message.encode('ascii')))}"

    def with_payload(self, payload: bytes, *, header: bytes | None = None) -> str:
        """Return a correctly signed token with any bytes as its payload, or as its header."""
        head = to_json(self.header) if header is None else header
        message = f"{b64url(head)}.{b64url(payload)}"
        return f"{message}.{b64url(self.ring.current.sign(message.encode('ascii')))}"


class MintError(ValueError):
    """What is wanted is not a token; the text says what is wrong, and what is expected."""


Make = Callable[[Material], str]


@dataclass(frozen=True, slots=True)
class Variant:
    """A kind of token: a sentence about it, and the function that makes it."""

    sentence: str
    make: Make


def _without_none(members: Mapping[str, object]) -> dict[str, object]:
    return {name: value for name, value in members.items() if value is not None}


def _none(name: str, *, signature: bool = False) -> Make:
    def make(material: Material) -> str:
        token = material.signed_by(material.ring.current.sign, alg=name)
        return token if signature else f"{token.rpartition('.')[0]}."

    return make


def _shared_secret(secret: Callable[[SigningKey], bytes], digest: str = "sha256", alg: str = "HS256") -> Make:
    def make(material: Material) -> str:
        key = secret(material.ring.current)
        return material.signed_by(lambda message: hmac.digest(key, message, digest), alg=alg)

    return make


def _der(key: SigningKey) -> bytes:
    encoding, form = serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo
    return key.public.public_bytes(encoding, form)


def _brought(member: str, value: Callable[[SigningKey], object]) -> Make:
    def make(material: Material) -> str:
        key = material.ring.stranger
        header = {**material.header, "kid": "brought", member: value(key)}
        return encode(header, material.claims, key)

    return make


def _header(**changes: Any) -> Make:
    return lambda material: material.with_header(**changes)


def _claims(**changes: object) -> Make:
    return lambda material: material.with_claims(**changes)


def _at(name: str, seconds: int) -> Make:
    return lambda material: material.with_claims(**{name: material.now + seconds})


def _text(change: Callable[[str, str, str], str]) -> Make:
    return lambda material: change(*material.good().split("."))


def _changed_signature(head: str, body: str, signature: str) -> str:
    return f"{head}.{body}.{('B' if signature[0] == 'A' else 'A') + signature[1:]}"


def _other_subject(material: Material) -> str:
    head, _, signature = material.good().split(".")
    return f"{head}.{b64url(to_json({**material.claims, 'sub': 'auth0|someone-else'}))}.{signature}"


def _twice(material: Material) -> str:
    return material.with_payload(to_json(material.claims)[:-1] + b',"sub":"auth0|someone-else"}')


def _algorithm_twice(material: Material) -> str:
    header = to_json(material.header)[:-1] + b',"alg":"none"}'
    return f"{b64url(header)}.{b64url(to_json(material.claims))}."


def _pkcs_digest_only(material: Material) -> str:
    return material.signed_by(lambda message: hashlib.sha256(message).digest())


def _rs512(material: Material) -> str:
    def sign(message: bytes) -> bytes:
        return material.ring.current.private.sign(message, padding.PKCS1v15(), hashes.SHA512())

    return material.signed_by(sign)


def _json_serialization(head: str, body: str, signature: str) -> str:
    return json.dumps({"protected": head, "payload": body, "signature": signature})


def _access_token(material: Material) -> str:
    issuer = str(material.claims.get("iss", ""))
    gone = dict.fromkeys(("email", "email_verified", "name", "nickname", "nonce", "sid"))
    return material.with_claims(aud=f"{issuer}userinfo", azp=material.claims.get("aud"), scope="openid", **gone)


def _logout_token(material: Material) -> str:
    return encode(
        {**material.header, "typ": "logout+jwt"},
        {**material.claims, "events": {LOGOUT_EVENT: {}}},
        material.ring.current,
    )


BROKEN: Mapping[str, Variant] = {
    "alg-none": Variant("The algorithm is `none`, and there is no signature.", _none("none")),
    "alg-none-mixed-case": Variant("The algorithm is `nOnE`, and there is no signature.", _none("nOnE")),
    "alg-none-with-signature": Variant("The algorithm is `none`, with a signature.", _none("none", signature=True)),
    "alg-missing": Variant("The header has no algorithm.", _header(alg=None)),
    "alg-a-list": Variant("The algorithm is a list.", _header(alg=["RS256"])),
    "alg-lower-case": Variant("The algorithm is `rs256`.", _header(alg="rs256")),
    "alg-other": Variant("The header says ES256, and the signature is RS256.", _header(alg="ES256")),
    "alg-twice": Variant("The header has `alg` twice: RS256 and none; there is no signature.", _algorithm_twice),
    "hs256-public-key-pem": Variant(
        "HS256 with the public key, in PEM, as the secret.", _shared_secret(lambda key: key.public_pem())
    ),
    "hs256-public-key-der": Variant("HS256 with the public key, in DER, as the secret.", _shared_secret(_der)),
    "hs256-jwk": Variant(
        "HS256 with the entry of the key set as the secret.", _shared_secret(lambda key: to_json(key.jwk))
    ),
    "hs256-empty-secret": Variant("HS256 with an empty secret.", _shared_secret(lambda key: b"")),
    "hs512-public-key-pem": Variant(
        "HS512 with the public key, in PEM, as the secret.",
        _shared_secret(lambda key: key.public_pem(), "sha512", "HS512"),
    ),
    "rs256-hmac": Variant(
        "The header says RS256, and the signature is an HMAC with the public key.",
        _shared_secret(lambda key: key.public_pem(), alg="RS256"),
    ),
    "rs256-over-sha512": Variant("The header says RS256, and the signature is RS512.", _rs512),
    "rs256-digest-only": Variant("The signature is the bare digest.", _pkcs_digest_only),
    "kid-missing": Variant("The header has no key id.", _header(kid=None)),
    "kid-unknown": Variant("The key id is not in the key set.", _header(kid="no-such-key")),
    "kid-path": Variant("The key id is a path.", _header(kid="../../../../dev/null")),
    "kid-sql": Variant("The key id is SQL.", _header(kid="x' UNION SELECT 'AAAA' --")),
    "kid-a-number": Variant("The key id is a number.", _header(kid=1)),
    "kid-of-another-key": Variant(
        "The signature is of a key that is not published, under the id of one that is.",
        lambda material: material.with_header(key=material.ring.stranger),
    ),
    "unpublished-key": Variant(
        "The key is not published.",
        lambda material: material.with_header(key=material.ring.stranger, kid=material.ring.stranger.kid),
    ),
    "weak-key": Variant(
        "The key has 1024 bits; publish it to see that it is refused for its size.",
        lambda material: material.with_header(key=material.ring.weak, kid=material.ring.weak.kid),
    ),
    "jwk": Variant(
        "The header brings its own key as `jwk`.", _brought("jwk", lambda key: {**key.jwk, "kid": "brought"})
    ),
    "jku": Variant("The header names a key set elsewhere (`jku`).", _brought("jku", lambda key: ELSEWHERE)),
    "x5u": Variant("The header names a certificate elsewhere (`x5u`).", _brought("x5u", lambda key: ELSEWHERE)),
    "x5c": Variant("The header brings its own certificate (`x5c`).", _brought("x5c", lambda key: [b64url(_der(key))])),
    "crit": Variant("A header that must be understood is unknown.", _header(crit=["x"], x=1)),
    "crit-b64": Variant("The payload is said not to be Base64 (RFC 7797).", _header(crit=["b64"], b64=False)),
    "issuer-wrong": Variant("The issuer is another one.", _claims(iss="https://attacker.example/")),
    "issuer-missing": Variant("There is no issuer.", _claims(iss=None)),
    "issuer-prefix": Variant(
        "The issuer begins with the right one.",
        lambda material: material.with_claims(iss=f"{str(material.claims['iss']).rstrip('/')}.attacker.example/"),
    ),
    "issuer-a-list": Variant(
        "The issuer is a list.", lambda material: material.with_claims(iss=[material.claims["iss"]])
    ),
    "audience-wrong": Variant("The audience is another client.", _claims(aud="another-client")),
    "audience-missing": Variant("There is no audience.", _claims(aud=None)),
    "audience-empty": Variant("The audience is an empty list.", _claims(aud=[])),
    "audience-nested": Variant(
        "The audience is a list in a list.", lambda material: material.with_claims(aud=[[material.claims["aud"]]])
    ),
    "azp-wrong": Variant(
        "There are two audiences, and the authorized party is another client.",
        lambda material: material.with_claims(aud=[material.claims["aud"], "another-client"], azp="another-client"),
    ),
    "azp-missing": Variant(
        "There are two audiences, and no authorized party.",
        lambda material: material.with_claims(aud=[material.claims["aud"], "another-client"], azp=None),
    ),
    "expired": Variant("The token has expired an hour ago.", _at("exp", -3_600)),
    "exp-missing": Variant("The token never expires.", _claims(exp=None)),
    "exp-a-text": Variant("The time of expiry is not a number.", _claims(exp="soon")),
    "exp-infinite": Variant("The time of expiry is `Infinity`, which is not JSON.", _claims(exp=float("inf"))),
    "not-yet-valid": Variant("The token is valid in an hour (`nbf`).", _at("nbf", 3_600)),
    "issued-in-the-future": Variant("The token is issued in an hour (`iat`).", _at("iat", 3_600)),
    "sub-missing": Variant("There is no subject.", _claims(sub=None)),
    "sub-empty": Variant("The subject is empty.", _claims(sub="")),
    "sub-a-number": Variant("The subject is a number.", _claims(sub=1)),
    "sub-lone-surrogate": Variant("The subject has half a character (U+D800).", _claims(sub="auth0|\ud800")),
    "signature-changed": Variant("One character of the signature is changed.", _text(_changed_signature)),
    "signature-missing": Variant("There is no signature.", _text(lambda head, body, _: f"{head}.{body}.")),
    "signature-zero": Variant("The signature is zero.", lambda material: material.signed_by(lambda _: bytes(256))),
    "payload-changed": Variant("The subject is changed after signing.", _other_subject),
    "truncated": Variant("The last characters are missing.", _text(lambda h, b, s: f"{h}.{b}.{s[:-20]}")),
    "two-segments": Variant("There are two segments.", _text(lambda head, body, _: f"{head}.{body}")),
    "four-segments": Variant("There are four segments.", _text(lambda h, b, s: f"{h}.{b}.{s}.{s}")),
    "five-segments": Variant(
        "There are five segments, as in an encrypted token.", _text(lambda h, b, s: f"{h}.{b}.{s}.a.b")
    ),
    "padding": Variant("The segments have Base64 padding.", _text(lambda h, b, s: f"{h}.{b}.{s}==")),
    "line-end": Variant("There is a line end in it.", _text(lambda h, b, s: f"{h}.\n{b}.{s}")),
    "bearer": Variant("The word Bearer is before it.", _text(lambda h, b, s: f"Bearer {h}.{b}.{s}")),
    "json-serialization": Variant("It is in the JSON serialization (RFC 7515, 7.2).", _text(_json_serialization)),
    "payload-not-json": Variant("The payload is not JSON.", lambda material: material.with_payload(b"{")),
    "payload-a-list": Variant("The payload is a list.", lambda material: material.with_payload(b"[]")),
    "payload-nested": Variant(
        "The payload is nested 8,000 deep.", lambda material: material.with_payload(b"[" * 8_000)
    ),
    "header-not-json": Variant(
        "The header is not JSON.",
        lambda material: material.with_payload(to_json(material.claims), header=b"{"),
    ),
    "huge": Variant("The token is larger than 16 KiB.", _claims(filler="x" * MAX_TOKEN)),
    "access-token": Variant("It is an access token for `/userinfo`, not an ID token.", _access_token),
    "logout-token": Variant("It is a logout token.", _logout_token),
}
"""Tokens that a verifier of ID tokens must refuse."""

UNUSUAL: Mapping[str, Variant] = {
    "email-unverified": Variant(
        "The e-mail address is not verified: the user signs in, and the address counts for nothing.",
        _claims(email_verified=False),
    ),
    "email-verified-a-text": Variant(
        "`email_verified` is the text `true`, which is not true.", _claims(email_verified="true")
    ),
    "email-missing": Variant("There is no e-mail address.", _claims(email=None, email_verified=None)),
    "email-two-at-signs": Variant("The e-mail address has two `@`.", _claims(email="a@attacker.example@example.com")),
    "email-lone-surrogate": Variant("The e-mail address has half a character (U+D800).", _claims(email="a\ud800@b.c")),
    "name-missing": Variant("There are no names.", _claims(name=None, nickname=None)),
    "sub-twice": Variant("The payload has `sub` twice; the last one counts (RFC 7519, 4).", _twice),
    "two-audiences": Variant(
        "There are two audiences, and the authorized party is the client.",
        lambda material: material.with_claims(
            aud=[material.claims["aud"], "another-client"], azp=material.claims["aud"]
        ),
    ),
    "audience-a-list": Variant(
        "The audience is a list of one.", lambda material: material.with_claims(aud=[material.claims["aud"]])
    ),
    "jku-beside-own-key": Variant("The header names a key set elsewhere, which is ignored.", _header(jku=ELSEWHERE)),
    "type-missing": Variant("The header has no type.", _header(typ=None)),
    "clock-behind": Variant("The token was issued a few seconds in the future.", _at("iat", LEEWAY // 3)),
    "just-expired": Variant("The token has expired a few seconds ago, within the leeway.", _at("exp", -LEEWAY // 3)),
    "large": Variant("The token is nearly 16 KiB large.", _claims(filler="x" * 9_000)),
}
"""Unusual tokens that a verifier of ID tokens must accept, with caution about their claims."""


def variant_named(name: str) -> Variant:
    """Return a broken or unusual kind of token. Raises MintError."""
    found = BROKEN.get(name) or UNUSUAL.get(name)
    if found is None:
        raise MintError(f"broken: unknown: {name}{suggest(name, [*BROKEN, *UNUSUAL])}")
    return found
