"""Tokens that are minted without a server: issued again while equal, broken in each way, and by whom."""

from __future__ import annotations

import json
import random
from typing import Any

import jwt
import pytest

from mock_auth0.broken import BROKEN, UNUSUAL
from mock_auth0.directory import Directory, load
from mock_auth0.settings_file import DEFAULT_FILE
from mock_auth0.state import Authorization
from mock_auth0.tenant import Tenant
from mock_auth0.tokens import SignedTokens

ISSUER = "https://auth0.test/"


class FixedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.instant = 1_800_000_000.0

    def now(self) -> float:
        return self.instant


@pytest.fixture(scope="module")
def tenant() -> Tenant:
    return Tenant.seeded(load(DEFAULT_FILE), ISSUER, FixedClock(), random.Random(1), seed="tests")


def grant(nonce: str | None = None) -> Authorization:
    return Authorization("noetl-gateway", "auth0|b4c9a289323b21a01c3e940f", ("openid", "email"), nonce=nonce)


def id_token(tenant: Tenant, nonce: str | None = None) -> str:
    given = grant(nonce)
    return tenant.minter.id_token(tenant.directory, tenant.user_of(given), given)


def test_a_token_of_equal_content_in_the_same_second_is_the_same() -> None:
    clock = FixedClock()
    tenant = Tenant.seeded(load(DEFAULT_FILE), ISSUER, clock, random.Random(1), seed="tests")
    first = id_token(tenant)
    clock.instant += 0.9
    assert id_token(tenant) is first
    assert id_token(tenant, "nonce") != first
    clock.instant += 1
    assert id_token(tenant) != first


def test_a_token_is_not_issued_again_after_a_rotation(tenant: Tenant) -> None:
    first = id_token(tenant)
    tenant.ring.rotate()
    assert jwt.get_unverified_header(id_token(tenant))["kid"] == tenant.ring.current.kid
    assert id_token(tenant) != first


def test_the_number_of_kept_tokens_is_bounded() -> None:
    kept = SignedTokens(2)
    for content in (b"a", b"b", b"c"):
        kept.put(content, content.decode())
    assert [kept.get(content) for content in (b"a", b"b", b"c")] == [None, "b", "c"]


@pytest.mark.parametrize("name", [*BROKEN, *UNUSUAL])
def test_each_variant_differs_from_the_good_token(tenant: Tenant, name: str) -> None:
    fields: dict[str, Any] = {"broken": name, "issued_at": 1_800_000_000}
    assert tenant.mint(fields)["token"] != tenant.mint({"issued_at": 1_800_000_000})["token"]


@pytest.mark.parametrize("name", [*BROKEN, *UNUSUAL])
def test_each_variant_is_a_sentence_and_json(tenant: Tenant, name: str) -> None:
    minted = tenant.mint({"broken": name})
    assert minted["sentence"].endswith(".")
    assert json.loads(json.dumps(minted)) == minted
    assert minted["refused"] is (name in BROKEN)


@pytest.mark.parametrize("kind", ["id_token", "access_token", "logout_token"])
def test_each_kind_is_verified_by_the_key_set(tenant: Tenant, kind: str) -> None:
    token = tenant.mint({"kind": kind, "audience": "https://api.example", "issued_at": 1_700_000_000})["token"]
    keys = jwt.PyJWKSet.from_dict(json.loads(tenant.ring.jwks))
    header = jwt.get_unverified_header(token)
    options: Any = {"verify_aud": False, "verify_exp": False}
    claims = jwt.decode(token, keys[header["kid"]], algorithms=["RS256"], issuer=ISSUER, options=options)
    assert claims["iat"] == 1_700_000_000
    assert header["typ"] == ("logout+jwt" if kind == "logout_token" else "JWT")


def test_generated_users_are_found_by_address_and_by_subject() -> None:
    directory = Directory({}, {}, generated=10_000_000)
    for number in (1, 99_999, 100_000, 10_000_000):
        user = directory.by_email(f"user{number:05d}@example.com")
        assert user is not None
        assert directory.user(user.subject) == user
    assert directory.by_email("user10000001@example.com") is None
    assert directory.user("auth0|6e6f65746c00000000000000") is None
    assert directory.by_email("user000001@example.com") is None, "a number has one spelling"
