# ruff: noqa: E501 - data in lines
"""Tokens, against a tenant's key set that is there already.

Input: a way (one byte), then what that way needs. Edits of a good token's text; a header and claims that are signed by
the right key; the same signed in a wrong way; or a text as it is. Only InvalidToken is raised, nothing is fetched, and
what is accepted has a good signature and exactly the claims that must be there.
"""

from __future__ import annotations

import asyncio
import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable, Iterator
from functools import cache
from typing import Any

import httpx
import jwt
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import padding

from proxy.identity.documents import DocumentClient
from proxy.identity.jwks import KeySet, KeySetSettings, KeySetUnavailable
from proxy.identity.tokens import InvalidToken, TenantSettings, verify
from proxy.sessions.store import Identity
from tests.attack.test_tokens import forgeries
from tests.unit.identity.test_tokens import (
    EC_KEY,
    ED_KEY,
    ISSUER,
    RSA_KEY,
    RSA_PEM,
    STRANGER,
    claims,
    encoded,
    key_entries,
)

MAX_SIZE = 2048
WORDS = (
    '"alg"', '"RS256"', '"none"', '"HS256"', '"ES256"', '"PS256"', '"EdDSA"', '"kid"', '"free"', '"ec"', '"ed"', '"ps"', '"crit"', '"b64"', "false", "true", "null", '"iss"', '"https://tenant.test/"',
    '"sub"', '"aud"', '"web"', '["web", "other"]', '"azp"', '"exp"', "99999999999", "1e400", "NaN", '"nbf"', '"iat"', '"email"', '"jwk"', "\\ud800", "=", ".", "\n",
)  # fmt: skip
TENANT = TenantSettings("tenant.test", ISSUER, ("web", "api"), ("RS256", "PS256", "ES256", "EdDSA"), 30.0)
FAR = 32503680000
HEADER = b'{"alg": "RS256", "kid": "free"}'
EDITS, RIGHT, WRONG, TEXT = range(4)


class Tenant:
    """The key set, and good tokens of each algorithm."""

    def __init__(self) -> None:
        def fetch(request: httpx.Request) -> httpx.Response:
            assert self.keys.fetches == 1, f"fetched {request.url}"
            return httpx.Response(200, json={"keys": key_entries()})

        self.runner = asyncio.Runner()
        client = httpx.AsyncClient(transport=httpx.MockTransport(fetch))
        self.keys = KeySet("https://tenant.test/jwks", KeySetSettings(1e9, 1e9, 5, 3600, 32), DocumentClient(client))
        assert self.runner.run(self.keys.find("free")) is not None
        good = claims(exp=FAR, iat=1, email="anna@x.test", email_verified=True)
        self.good = (
            jwt.encode(good, RSA_KEY, "RS256", {"kid": "free"}), jwt.encode(good, RSA_KEY, "PS256", {"kid": "ps"}),
            jwt.encode(good, EC_KEY, "ES256", {"kid": "ec"}), jwt.encode(good, ED_KEY, "EdDSA", {"kid": "ed"}),
        )  # fmt: skip

    def accepts(self, token: str) -> Identity | None:
        """Whose token it is; None if it is refused."""
        try:
            return self.runner.run(verify(token, TENANT, self.keys))
        except InvalidToken as error:
            text = str(error)
        except KeySetUnavailable as error:
            raise AssertionError("the set is there") from error
        assert text.isprintable(), text
        assert len(text) < 100
        return None


@cache
def tenant() -> Tenant:
    """The tenant; it is made once."""
    return Tenant()


def run(data: bytes) -> None:
    """Raise AssertionError where a token is accepted that must not be, or refused in another way."""
    if data:
        _WAYS[data[0] % 4](data[1:])


def _edits(data: bytes) -> None:
    """Three bytes each: what to do, where, and with which byte."""
    if not data:
        return
    good = tenant().good[data[0] % 4]
    text = good
    for at in range(1, len(data) - 2, 3):
        text = edited(text, *data[at : at + 3])
    identity = tenant().accepts(text)
    if text == good:
        assert identity is not None, "the good token is refused"
    elif identity is not None:
        assert parts(text) == parts(good), f"accepted: {text}"


def edited(text: str, what: int, where: int, byte: int) -> str:
    """A text with one place changed: set, put in, taken out, doubled, swapped, or cut; later places by a larger `what`."""
    at = (where + 256 * (what // 6)) % (len(text) + 1)
    char = chr(byte)
    return (
        text[:at] + char + text[at + 1 :], text[:at] + char + text[at:], text[:at] + text[at + 1 :],
        text[:at] + text[at : at + byte] + text[at:], text[at : at + byte] + text[:at] + text[at + byte :], text[:at],
    )[what % 6]  # fmt: skip


def parts(token: str) -> list[bytes]:
    """What its three parts stand for; unused bits at the end of each part change nothing."""
    return [base64.urlsafe_b64decode(part + "=" * (-len(part) % 4)) for part in token.split(".")]


def _right(data: bytes) -> None:
    """The header and, after a line end, the claims; signed by the key that RS256 is checked with."""
    header, _, body = data.partition(b"\n")
    identity = tenant().accepts(signed(header, body, _rs256))
    if identity is None:
        return
    head, told, now = json.loads(header), json.loads(body), time.time()
    assert (head["alg"], head["kid"] in ("free", "bound"), "crit" in head) == ("RS256", True, False), head
    assert told["iss"] == identity.issuer
    assert identity.issuer in (ISSUER, ISSUER.rstrip("/"))
    assert told["sub"] == identity.subject
    assert identity.subject
    audience = told["aud"] if isinstance(told["aud"], list) else [told["aud"]]
    assert {"web", "api"} & set(audience), audience
    assert len(audience) < 2 or told.get("azp") in ("web", "api"), told
    assert int(told["exp"]) > now - 31, told["exp"]
    assert int(told.get("nbf", 0)) <= now + 31, told["nbf"]
    assert identity.email in ("", told.get("email"))
    assert identity.email.count("@") < 2


def _wrong(data: bytes) -> None:
    """How it is signed, then as above: never accepted."""
    if data:
        header, _, body = data[1:].partition(b"\n")
        assert tenant().accepts(signed(header, body, _WRONG_SIGNATURES[data[0] % len(_WRONG_SIGNATURES)])) is None


def _text(data: bytes) -> None:
    """Any text: never accepted."""
    text = data.decode("latin-1")
    assert text not in tenant().good
    assert tenant().accepts(text) is None
    assert tenant().accepts(data.decode("utf-8", "surrogateescape")) is None


def signed(header: bytes, body: bytes, sign: Callable[[bytes], bytes]) -> str:
    """A token of these parts."""
    message = f"{encoded(header)}.{encoded(body)}"
    return f"{message}.{encoded(sign(message.encode()))}"


def _rs256(message: bytes) -> bytes:
    return RSA_KEY.sign(message, padding.PKCS1v15(), hashes.SHA256())


_WRONG_SIGNATURES: tuple[Callable[[bytes], bytes], ...] = (
    lambda m: STRANGER.sign(m, padding.PKCS1v15(), hashes.SHA256()),
    lambda m: hmac.digest(RSA_PEM, m, hashlib.sha256),
    lambda m: b"",
    lambda m: b"\x00" * 64,
    lambda m: RSA_KEY.sign(m, padding.PKCS1v15(), hashes.SHA512()),
    lambda m: RSA_KEY.sign(m + b" ", padding.PKCS1v15(), hashes.SHA256()),
    lambda m: hashlib.sha256(m).digest(),
)
_WAYS = {EDITS: _edits, RIGHT: _right, WRONG: _wrong, TEXT: _text}


def seeds() -> Iterator[bytes]:
    """Good tokens with small changes, headers and claims on the edge, and every forgery of the attack tests."""
    for number in range(4):
        yield bytes([EDITS, number])
        for edit in (b"\x00\x05A", b"\x02\xff\x00", b"\x05\xf0\x00", b"\x01\x00.", b"\x0b\x40\x00", b"\x06\x10="):
            yield bytes([EDITS, number]) + edit
    for changes in _claims():
        body = json.dumps(claims(**{"exp": FAR, "iat": 1, **changes})).encode()
        yield bytes([RIGHT]) + HEADER + b"\n" + body
    for header in (b'{"alg": "RS256", "kid": "free", "crit": ["exp"]}', b'{"alg": "none", "kid": "free"}', b'{"alg": "HS256", "kid": "free"}', b"[]", b'{"alg": "RS256", "kid": "free", "alg": "none"}'):  # fmt: skip
        body = json.dumps(claims(exp=FAR)).encode()
        yield bytes([RIGHT]) + header + b"\n" + body
        for number in range(len(_WRONG_SIGNATURES)):
            yield bytes([WRONG, number]) + header + b"\n" + body
    for _, text in forgeries():
        if len(text) < MAX_SIZE:
            yield bytes([TEXT]) + text.encode("utf-8", "surrogateescape")


def _claims() -> Iterator[dict[str, Any]]:
    yield {}
    for name, values in {
        "exp": (1, 1.5, "99999999999", None, True, 1e300, -1), "nbf": (FAR, 1, "x", [1], 1e300), "iat": (FAR, "x", 1e300), "iss": ("https://tenant.test", "https://other.test/", [ISSUER], 5),
        "aud": (["web"], ["web", "other"], [], "other", {"web": 1}, [5], None), "sub": ("", 5, None, "\ud800", ["a"]), "email": ("a@b@c", "a\n@x", 5, "\ud800"), "azp": ("web", "other", ["web"]),
        "name": ("\x00", ["x"], "a" * 500), "email_verified": (True, "true"), "jti": (5, "x"),
    }.items():  # fmt: skip
        for value in values:
            yield {name: value}
    yield {"aud": ["web", "other"], "azp": "web"}
