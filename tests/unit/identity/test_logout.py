"""Which logout tokens are accepted (OpenID Connect Back-Channel Logout 1.0, 2.4 and 2.6), and what they tell."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable
from dataclasses import replace
from typing import Any

import pytest

from proxy.identity.jwks import KeySet
from proxy.identity.logout import EVENT, MAX_AGE, read_logout_token
from proxy.identity.tokens import InvalidToken, verify
from proxy.sessions.store import Logout
from tests.unit.identity.test_tokens import ISSUER, STRANGER, TENANT, claims, keys, token

__all__ = ["keys"]
Read = Callable[..., Awaitable[Logout]]


@pytest.fixture
def read(keys: KeySet) -> Read:
    """Reads a logout token for the tenant, changed as told."""

    async def read(text: str, **changes: Any) -> Logout:
        return await read_logout_token(text, [(replace(TENANT, **changes), keys)])

    return read


def logout(*, header: dict[str, Any] | None = None, **changes: Any) -> str:
    """A good logout token of a user with changes; None takes a claim out."""
    good = {"jti": "1", "events": {EVENT: {}}}
    return token(claims(**{**good, **changes}), **(header or {}))


async def test_a_good_token_tells_whose_sessions_end(read: Read) -> None:
    told = await read(logout(sid="s1"))
    assert (told.issuer, told.subject, told.sid) == (ISSUER, "auth0|1", "s1")


@pytest.mark.parametrize("kind", [None, "JWT", "logout+jwt", "LOGOUT+JWT", "application/logout+jwt"])
async def test_a_type_of_logout_tokens_or_none_is_accepted(read: Read, kind: str | None) -> None:
    assert (await read(logout(header={"typ": kind}))).subject == "auth0|1"


@pytest.mark.parametrize(
    "changes", [{"sub": None, "sid": "s1"}, {"sid": None}, {"aud": ["other", "web"], "azp": "web"}]
)
async def test_sub_or_sid_is_enough_and_more_audiences_need_a_party(read: Read, changes: dict[str, Any]) -> None:
    assert (await read(logout(**changes))).issuer == ISSUER


@pytest.mark.parametrize(
    ("changes", "because"),
    [
        ({"iss": "https://other.test/"}, "wrong issuer"),
        ({"iss": ISSUER + "/"}, "wrong issuer"),
        ({"iss": None}, "wrong issuer"),
        ({"aud": "other"}, "wrong audience"),
        ({"aud": None}, "no aud"),
        ({"aud": ["web", "other"]}, "wrong authorized party"),
        ({"aud": ["web", "other"], "azp": "other"}, "wrong authorized party"),
        ({"iat": None}, "no iat"),
        ({"iat": 4_000_000_000}, "not valid yet"),
        ({"iat": int(time.time() - MAX_AGE) - 60}, "too old"),
        ({"iat": "now"}, "not acceptable"),
        ({"exp": None}, "no exp"),
        ({"exp": int(time.time()) - 60}, "expired"),
        ({"exp": 10**400}, "not acceptable"),
        ({"iat": -(10**400)}, "not acceptable"),
        ({"jti": None}, "no jti"),
        ({"jti": ""}, "no jti"),
        ({"jti": 7}, "no"),
        ({"events": None}, "no events"),
        ({"events": EVENT}, "not a logout token: no logout event"),
        ({"events": [EVENT]}, "not a logout token: no logout event"),
        ({"events": {}}, "not a logout token: no logout event"),
        ({"events": {EVENT: True}}, "not a logout token: no logout event"),
        ({"events": {EVENT + "/": {}}}, "not a logout token: no logout event"),
        ({"nonce": "n"}, "not a logout token: it has a nonce"),
        ({"nonce": ""}, "not a logout token: it has a nonce"),
        ({"sub": None}, "neither sub nor sid"),
        ({"sub": ""}, "no sub"),
        ({"sub": 1, "sid": "s1"}, "no"),
        ({"sid": ""}, "no sid"),
        ({"sid": ["s1"]}, "no sid"),
        ({"sid": "\ud800"}, "sid is not a text"),
        ({"header": {"typ": "at+jwt"}}, "not a logout token: another typ"),
        ({"header": {"typ": ["logout+jwt"]}}, "not"),
        ({"header": {"crit": ["x"]}}, ""),
        ({"header": {"kid": "nobody"}}, "unknown key"),
        ({"header": {"kid": None}}, "no key id"),
        ({"header": {"alg": "none"}}, "algorithm not accepted"),
        ({"header": {"alg": "HS256"}}, "algorithm not accepted"),
        ({"header": {"key": STRANGER}}, "bad signature"),
    ],
)
async def test_whatever_is_not_plainly_right_is_refused(read: Read, changes: dict[str, Any], because: str) -> None:
    with pytest.raises(InvalidToken, match=f"^{because}"):
        await read(logout(**changes))


@pytest.mark.parametrize("text", ["", "x", "a.b.c", "a.b.c.d", "\u00e9.b.c", "x" * 20_000])
async def test_what_is_no_token_is_refused(read: Read, text: str) -> None:
    with pytest.raises(InvalidToken):
        await read(text)


async def test_an_id_token_is_not_taken_for_a_logout_token(read: Read) -> None:
    with pytest.raises(InvalidToken, match="no jti"):
        await read(token(claims(sid="s1", nonce="n")))


@pytest.mark.parametrize("make", [logout, lambda: logout(nonce="n"), lambda: token(claims(), typ="logout+jwt")])
async def test_a_logout_token_signs_nobody_in(keys: KeySet, make: Callable[[], str]) -> None:
    with pytest.raises(InvalidToken, match="not a token to sign in with"):
        await verify(make(), TENANT, keys)


async def test_the_same_name_of_two_issuers_is_two_logouts(keys: KeySet) -> None:
    other = "https://other.test/"
    tenants = [(TENANT, keys), (replace(TENANT, issuer=other), keys)]
    first, second = [await read_logout_token(logout(iss=issuer), tenants) for issuer in (ISSUER, other)]
    assert (first.issuer, second.issuer, first.name == second.name) == (ISSUER, other, False)


async def test_of_two_tenants_of_one_issuer_the_one_with_the_audience_is_meant(keys: KeySet) -> None:
    tenants = [(replace(TENANT, audience=("first",)), keys), (replace(TENANT, audience=("second",)), keys)]
    assert (await read_logout_token(logout(aud="second"), tenants)).issuer == ISSUER


async def test_a_token_is_remembered_for_as_long_as_it_could_be_sent_again_and_no_longer(read: Read) -> None:
    now = int(time.time())
    assert (await read(logout(exp=now + 120))).until == now + 120 + TENANT.leeway + 1
    assert (await read(logout(exp=now + 10**9))).until == now + MAX_AGE + 1
