"""Which tokens are accepted: exactly those that are plainly right."""

from __future__ import annotations

import base64
import hmac
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, padding, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from proxy.identity.documents import DocumentClient
from proxy.identity.jwks import KeySet, KeySetSettings, KeySetUnavailable
from proxy.identity.tokens import InvalidToken, TenantSettings, stored_part, verify
from proxy.sessions.store import Identity

ISSUER = "https://tenant.test/"
TENANT = TenantSettings("tenant.test", ISSUER, ("web", "api"), ("RS256",), 30.0)
RSA_KEY = rsa.generate_private_key(65537, 2048)
STRANGER = rsa.generate_private_key(65537, 2048)
EC_KEY = ec.generate_private_key(ec.SECP256R1())
ED_KEY = ed25519.Ed25519PrivateKey.generate()
RSA_PEM = RSA_KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo)

Check = Callable[..., Awaitable[Identity]]


def key_entries() -> list[dict[str, Any]]:
    rsa_entry = RSAAlgorithm.to_jwk(RSA_KEY.public_key(), as_dict=True)
    return [
        {**rsa_entry, "kid": "free"},
        {**rsa_entry, "kid": "bound", "alg": "RS256", "use": "sig"},
        {**rsa_entry, "kid": "ps", "alg": "PS256"},
        {**ECAlgorithm.to_jwk(EC_KEY.public_key(), as_dict=True), "kid": "ec"},
        {**OKPAlgorithm.to_jwk(ED_KEY.public_key(), as_dict=True), "kid": "ed"},
    ]


@pytest.fixture
async def keys() -> AsyncIterator[KeySet]:
    """The tenant's key set."""
    answer = json.dumps({"keys": key_entries()}).encode()
    async with httpx.AsyncClient(
        transport=httpx.MockTransport(lambda _: httpx.Response(200, content=answer))
    ) as client:
        yield KeySet("https://tenant.test/jwks", KeySetSettings(600, 30, 5, 3600, 32), DocumentClient(client))


@pytest.fixture
def check(keys: KeySet) -> Check:
    """Verifies a token against the tenant, changed as told."""

    async def check(token: str, **changes: Any) -> Identity:
        return await verify(token, replace(TENANT, **changes), keys)

    return check


def claims(**changes: Any) -> dict[str, Any]:
    """Good claims with changes; None takes one out."""
    now = int(time.time())
    good = {"iss": ISSUER, "sub": "auth0|1", "aud": "web", "exp": now + 600, "iat": now}
    return {name: value for name, value in {**good, **changes}.items() if value is not None}


def encoded(part: bytes) -> str:
    return base64.urlsafe_b64encode(part).rstrip(b"=").decode()


def token(payload: dict[str, Any] | bytes | None = None, *, key: rsa.RSAPrivateKey = RSA_KEY, **header: Any) -> str:
    """An RS256 signature over whatever is given; header fields that are None are left out."""
    fields = {"alg": "RS256", "typ": "JWT", "kid": "free", **header}
    head = json.dumps({name: value for name, value in fields.items() if value is not None}).encode()
    body = payload if isinstance(payload, bytes) else json.dumps(claims() if payload is None else payload).encode()
    message = f"{encoded(head)}.{encoded(body)}"
    return f"{message}.{encoded(key.sign(message.encode(), padding.PKCS1v15(), hashes.SHA256()))}"


async def refused(check: Check, text: str, why: str, **changes: Any) -> None:
    with pytest.raises(InvalidToken) as caught:
        await check(text, **changes)
    assert str(caught.value) == why


async def test_a_good_token_tells_who_it_speaks_of(check: Check) -> None:
    payload = claims(email="a@x.test", name="Anna", nickname="anna", **{"https://x.test/roles": ["dev"]})
    assert await check(token(payload)) == Identity(
        issuer=ISSUER,
        subject="auth0|1",
        email="a@x.test",
        display_name="Anna",
        tenant="tenant.test",
        claims={"email": "a@x.test", "name": "Anna", "nickname": "anna", "https://x.test/roles": ["dev"]},
    )


@pytest.mark.parametrize(
    ("given", "name"),
    [
        ({"name": "N", "nickname": "K", "email": "e@x.test"}, "N"),
        ({"nickname": "K", "email": "e@x.test"}, "K"),
        ({"name": "", "nickname": 5, "email": "e@x.test"}, "e@x.test"),
        ({"name": "bad\nname"}, "auth0|1"),
        ({}, "auth0|1"),
    ],
)
async def test_the_display_name_is_the_first_readable_one(check: Check, given: dict[str, Any], name: str) -> None:
    assert (await check(token(claims(**given)))).display_name == name


@pytest.mark.parametrize("email", [None, 5, ["a@x.test"], "a@x.test\r\nx-forged: 1", "a\x00@x.test", "a@x.test\ud800"])
async def test_an_email_that_is_no_plain_text_is_none(check: Check, email: Any) -> None:
    assert (await check(token(claims(email=email)))).email == ""


@pytest.mark.parametrize(
    "algorithm", ["RS384", "PS256", "HS256", "none", "None", "NONE", "rs256", "", None, 5, ["RS256"], {}]
)
async def test_an_algorithm_that_the_tenant_does_not_list_is_refused(check: Check, algorithm: Any) -> None:
    text = token(alg=algorithm)
    with pytest.raises(InvalidToken, match=r"^(algorithm not accepted|not a token)$"):
        await check(text)


async def test_a_token_without_a_signature_is_refused(check: Check) -> None:
    head, body, _ = token(alg="none").split(".")
    await refused(check, f"{head}.{body}.", "not a token", algorithms=("RS256", "none"))


async def test_the_public_key_is_no_shared_secret(check: Check) -> None:
    head = encoded(json.dumps({"alg": "HS256", "kid": "free"}).encode())
    body = encoded(json.dumps(claims()).encode())
    signature = encoded(hmac.digest(RSA_PEM, f"{head}.{body}".encode(), "sha256"))
    await refused(check, f"{head}.{body}.{signature}", "unknown key", algorithms=("RS256", "HS256"))


@pytest.mark.parametrize(
    ("algorithm", "key_id", "key"),
    [
        ("PS256", "free", RSA_KEY),
        ("PS256", "ps", RSA_KEY),
        ("RS512", "free", RSA_KEY),
        ("ES256", "ec", EC_KEY),
        ("EdDSA", "ed", ED_KEY),
    ],
)
async def test_every_kind_of_asymmetric_key_verifies_if_its_algorithm_is_listed(
    check: Check, algorithm: str, key_id: str, key: Any
) -> None:
    text = jwt.encode(claims(), key, algorithm=algorithm, headers={"kid": key_id})
    assert (await check(text, algorithms=(algorithm,))).subject == "auth0|1"


@pytest.mark.parametrize(
    ("algorithm", "key_id"), [("RS256", "ps"), ("RS256", "ec"), ("RS256", "ed"), ("RS512", "bound"), ("ES256", "free")]
)
async def test_a_key_verifies_only_what_it_is_made_for(check: Check, algorithm: str, key_id: str) -> None:
    await refused(check, token(alg=algorithm, kid=key_id), "unknown key", algorithms=("RS256", "RS512", "ES256"))


@pytest.mark.parametrize("key_id", [None, "", 5, ["free"], {}])
async def test_a_token_without_a_key_id_is_refused(check: Check, key_id: Any) -> None:
    with pytest.raises(InvalidToken, match=r"^(no key id|not a token)$"):
        await check(token(kid=key_id))


@pytest.mark.parametrize("key_id", ["unknown", "FREE", "free ", "../free", "free\x00"])
async def test_a_key_id_that_the_set_does_not_have_is_refused(check: Check, key_id: str) -> None:
    await refused(check, token(kid=key_id), "unknown key")


async def test_a_key_that_the_token_brings_along_is_not_looked_at(check: Check, keys: KeySet) -> None:
    own = RSAAlgorithm.to_jwk(STRANGER.public_key(), as_dict=True)
    text = token(key=STRANGER, jwk=own, jku="https://evil.test/jwks", x5u="https://evil.test/x", x5c=["AAAA"])
    await refused(check, text, "bad signature")
    assert keys.fetches == 1


async def test_a_signature_of_another_key_is_refused(check: Check) -> None:
    await refused(check, token(key=STRANGER), "bad signature")


@pytest.mark.parametrize("part", [0, 1, 2])
async def test_a_token_changed_in_any_part_is_refused(check: Check, part: int) -> None:
    parts = token().split(".")
    parts[part] = ("B" if parts[part][8] == "A" else "A").join((parts[part][:8], parts[part][9:]))
    with pytest.raises(InvalidToken):
        await check(".".join(parts))


@pytest.mark.parametrize(
    "changes",
    [{"crit": ["exp"]}, {"crit": []}, {"crit": None, "b64": False}, {"crit": ["b64"], "b64": False}, {"crit": "x"}],
)
async def test_a_critical_header_is_refused(check: Check, changes: dict[str, Any]) -> None:
    with pytest.raises(InvalidToken, match=r"^(unknown critical header|not a token)$"):
        await check(token(**changes))


@pytest.mark.parametrize(
    ("audience", "party", "why"),
    [
        ("web", None, ""),
        ("api", None, ""),
        (["web"], None, ""),
        (["web"], "other", ""),
        (["web", "other"], "web", ""),
        (["other", "web"], "api", ""),
        ("other", None, "wrong audience"),
        ("Web", None, "wrong audience"),
        ("web ", None, "wrong audience"),
        (["other"], "web", "wrong audience"),
        ([], None, "no aud"),
        (["web", "other"], None, "wrong authorized party"),
        (["web", "other"], "other", "wrong authorized party"),
        (["web", "other"], ["web"], "wrong authorized party"),
        (["web", "api"], None, "wrong authorized party"),
        (None, None, "no aud"),
        (5, None, "wrong audience"),
        (["web", 5], "web", "wrong audience"),
        ({"web": 1}, None, "wrong audience"),
    ],
)
async def test_the_audience_must_be_the_tenants(check: Check, audience: Any, party: Any, why: str) -> None:
    text = token(claims(aud=audience, azp=party))
    if why:
        await refused(check, text, why)
    else:
        assert (await check(text)).subject == "auth0|1"


@pytest.mark.parametrize("kind", ["JWT", "at+jwt"])
async def test_an_access_token_in_place_of_an_id_token_is_refused_unless_its_api_is_configured(
    check: Check, kind: str
) -> None:
    audience = ["https://shop.test/api", f"{ISSUER}userinfo"]
    text = token(claims(aud=audience, azp="web", scope="openid read:orders"), typ=kind)
    await refused(check, text, "wrong audience")
    assert (await check(text, audience=("web", "https://shop.test/api"))).subject == "auth0|1"


@pytest.mark.parametrize(
    ("issuer", "why"),
    [
        (ISSUER + "/", "wrong issuer"),
        (ISSUER.upper(), "wrong issuer"),
        ("https://evil.test/", "wrong issuer"),
        ([ISSUER], "wrong issuer"),
        ("", "wrong issuer"),
        (None, "no iss"),
    ],
)
async def test_the_issuer_must_be_exactly_the_tenants(check: Check, issuer: Any, why: str) -> None:
    await refused(check, token(claims(iss=issuer)), why)


@pytest.mark.parametrize(
    ("claim", "seconds", "why"),
    [
        ("exp", 600, ""),
        ("exp", -20, ""),
        ("exp", -40, "expired"),
        ("exp", -(10**9), "expired"),
        ("nbf", -600, ""),
        ("nbf", 20, ""),
        ("nbf", 40, "not valid yet"),
        ("iat", -600, ""),
        ("iat", 20, ""),
        ("iat", 40, "not valid yet"),
    ],
)
async def test_times_hold_within_the_leeway(check: Check, claim: str, seconds: int, why: str) -> None:
    text = token(claims(**{claim: time.time() + seconds}))
    if why:
        await refused(check, text, why)
    else:
        assert (await check(text)).subject == "auth0|1"


@pytest.mark.parametrize(("claim", "seconds"), [("exp", -2), ("nbf", 2), ("iat", 2)])
async def test_without_leeway_times_are_exact(check: Check, claim: str, seconds: int) -> None:
    with pytest.raises(InvalidToken, match=r"^(expired|not valid yet)$"):
        await check(token(claims(**{claim: int(time.time()) + seconds})), leeway=0.0)


async def test_a_token_that_never_expires_is_refused(check: Check) -> None:
    await refused(check, token(claims(exp=None)), "no exp")


@pytest.mark.parametrize("claim", ["exp", "nbf", "iat"])
@pytest.mark.parametrize("value", ["soon", [], {}, "NaN", "1e400", "-1e400"])
async def test_a_time_that_is_no_number_is_refused(check: Check, claim: str, value: Any) -> None:
    text = json.dumps(claims(**{claim: "HERE"})).replace(
        '"HERE"', value if value in ("NaN", "1e400", "-1e400") else json.dumps(value)
    )
    with pytest.raises(InvalidToken):
        await check(token(text.encode()))


@pytest.mark.parametrize(
    ("subject", "why"),
    [
        (None, "no sub"),
        ("", "no sub"),
        (5, "not acceptable"),
        (["a"], "not acceptable"),
        ("\ud800", "sub is not a text"),
    ],
)
async def test_the_subject_must_be_a_text(check: Check, subject: Any, why: str) -> None:
    await refused(check, token(claims(sub=subject)), why)


@pytest.mark.parametrize(
    ("stated", "verified"), [(True, True), (False, False), (None, False), ("true", False), (1, False)]
)
async def test_email_is_verified_only_if_the_token_says_exactly_that(check: Check, stated: Any, verified: bool) -> None:
    who = await check(token(claims(email="a@x.test", email_verified=stated)))
    assert (who.email, who.email_verified) == ("a@x.test", verified)


@pytest.mark.parametrize(
    ("configured", "stated", "accepted"),
    [
        ("https://a.test/", "https://a.test/", True),
        ("https://a.test/", "https://a.test", True),
        ("https://a.test", "https://a.test/", True),
        ("https://a.test/realms/r", "https://a.test/realms/r/", True),
        ("https://a.test", "https://a.test//", False),
        ("https://a.test/", "https://A.test/", False),
        ("https://a.test/", "http://a.test/", False),
        ("https://a.test/", ["https://a.test/"], False),
        ("https://a.test/", "", False),
    ],
)
async def test_issuer_is_compared_exactly_but_for_one_slash_at_its_end(
    check: Check, configured: str, stated: Any, accepted: bool
) -> None:
    text = token(claims(iss=stated))
    if accepted:
        assert (await check(text, issuer=configured)).issuer == stated
    else:
        with pytest.raises(InvalidToken, match=r"^wrong issuer$|^not acceptable$|^no iss$"):
            await check(text, issuer=configured)


@pytest.mark.parametrize(
    ("changes", "header", "detail"),
    [
        ({"aud": "other"}, {}, 'the token says iss "https://tenant.test/" and aud "other"; wanted are'),
        ({"iss": "https://b.test/"}, {}, 'the token says iss "https://b.test/" and aud "web"; wanted are'),
        (
            {"iss": "https://b.test/"},
            {"kid": "new"},
            'no key "new" in the key set; the token says iss "https://b.test/"',
        ),
        ({}, {"alg": "RS512"}, 'alg is "RS512"; algorithms: RS256'),
        ({"aud": None}, {}, "the token says iss"),
        ({"aud": "x\r\ny\u2028" + "z" * 500}, {}, 'aud "x\\r\\ny\\u2028zzz'),
    ],
)
async def test_rejection_says_what_was_sent_and_what_is_wanted_for_the_log_only(
    check: Check, changes: dict[str, Any], header: dict[str, Any], detail: str
) -> None:
    with pytest.raises(InvalidToken) as caught:
        await check(token(claims(**changes), **header))
    assert detail in caught.value.detail
    assert (caught.value.detail.isascii(), caught.value.detail.isprintable()) == (True, True)
    assert len(caught.value.detail) < 1000
    assert "tenant.test" not in str(caught.value)


def token_of_length(length: int) -> str:
    """A good token of exactly so many characters; base64 knows three lengths of four, the header helps out."""
    for pad in ("", "x", "xx"):
        short = len(token(claims(x=""), pad=pad))
        size = (length - short) * 3 // 4
        for number in range(size - 4, size + 4):
            text = token(claims(x="x" * number), pad=pad)
            if len(text) == length:
                return text
    raise AssertionError(f"no token of length {length}")


async def test_a_token_of_16_kibibytes_is_accepted(check: Check) -> None:
    assert (await check(token_of_length(16 * 1024))).subject == "auth0|1"


async def test_a_token_of_one_character_more_is_refused(check: Check) -> None:
    await refused(check, token_of_length(16 * 1024 + 1), "too large")


@pytest.mark.parametrize(
    "text",
    [
        "", ".", "..", "a", "a.b", "a.b.c", "a.b.c.d", "a.b.c.d.e", " ", "é.é.é", "a..c", "e30.e30.e30",
        "bnVsbA.e30.e30", "W10.e30.e30", "ey\n.e30.e30", "%65.e30.e30", "e30=.e30.e30",
        "0123456789abcdef0123456789abcdef",
    ],
)  # fmt: skip
async def test_what_is_no_token_is_refused(check: Check, text: str) -> None:
    with pytest.raises(InvalidToken, match=r"^(not a token|algorithm not accepted)$"):
        await check(text)


@pytest.mark.parametrize("around", [" {}", "{} ", "{}\n", "Bearer {}", "{}=", '"{}"', "\ufeff{}"])
async def test_anything_around_a_good_token_is_refused(check: Check, around: str) -> None:
    await refused(check, around.format(token()), "not a token")


@pytest.mark.parametrize("body", [b"", b"null", b"[]", b'"text"', b"5", b"{", b"\xff", b"[" * 8000])
async def test_a_signed_payload_that_is_no_object_is_refused(check: Check, body: bytes) -> None:
    with pytest.raises(InvalidToken):
        await check(token(body))


async def test_a_header_nested_without_end_is_refused(check: Check) -> None:
    head = encoded(b'{"alg":' + b"[" * 11000)
    await refused(check, f"{head}.e30.e30", "not a token")


async def test_without_a_key_set_the_answer_is_that_it_is_unavailable() -> None:
    async with httpx.AsyncClient(transport=httpx.MockTransport(lambda _: httpx.Response(500))) as client:
        keys = KeySet("https://tenant.test/jwks", KeySetSettings(600, 30, 5, 3600, 32), DocumentClient(client))
        with pytest.raises(KeySetUnavailable):
            await verify(token(), TENANT, keys)


async def test_a_token_that_is_refused_by_its_header_causes_no_fetch(check: Check, keys: KeySet) -> None:
    for text in ("a.b.c", token(alg="none"), token(kid=""), token(crit=["x"])):
        with pytest.raises(InvalidToken):
            await check(text)
    assert keys.fetches == 0


@pytest.mark.parametrize(
    ("changes", "accepted"),
    [
        ({}, True),
        ({"used": "x" * 3000}, True),
        ({"used": "x" * 4096}, False),
        ({"used": ["é" * 400] * 2}, False),
        ({"other": "x" * 8000}, True),
        ({"email": "a" * 5000 + "@x.test"}, False),
        ({"sub": "s" * 5000}, False),
        ({"name": "n" * 5000}, True),
    ],
)
async def test_session_stores_at_most_4_kib_of_a_token(check: Check, changes: dict[str, Any], accepted: bool) -> None:
    who = await check(token(claims(**changes)))
    if accepted:
        assert set(stored_part(who, frozenset({"used"})).claims) <= {"used"}
        return
    with pytest.raises(InvalidToken, match=r"^claims too large$") as raised:
        stored_part(who, frozenset({"used"}))
    assert raised.value.account == (ISSUER, who.subject)
    assert len(raised.value.detail) < 300
