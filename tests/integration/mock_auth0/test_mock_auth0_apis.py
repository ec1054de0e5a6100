"""APIs with their dialects, scopes and lifetimes; permissions, claims, client assertions; what auth0-js calls."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import httpx
import jwt
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mock_auth0.server import Server
from tests.integration.mock_auth0.provider import CALLBACK, client_of, running, settings_of
from tests.integration.mock_auth0.test_mock_auth0_signing_in import in_fragment, in_query, sign_in
from tests.integration.mock_auth0.test_mock_auth0_token_endpoint import unverified

KEY = rsa.generate_private_key(65537, 2048)
PEM = KEY.public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
PLAIN, RFC, CLOSED = "https://plain.example", "https://rfc.example", "https://closed.example"
TENANT = f"""
users:
  - email: user@example.com
    password: password
    permissions: [read:reports]
    access_token_claims: {{"https://app.example/plan": gold}}
  - {{email: blocked@example.com, password: password, blocked: true}}
claims: {{org: acme}}
access_token_claims: {{org: acme}}
clients:
  - {{client_id: app, redirect_uris: ["{CALLBACK}"], id_token_lifetime: 60, refresh_token_rotation: false}}
  - {{client_id: plain, dpop: "off"}}
  - client_id: signing
    public_key: |
{"".join(f"      {line}{chr(10)}" for line in PEM.splitlines())}
apis:
  - {{audience: "{PLAIN}", token_dialect: access_token_authz, scopes: [read], lifetime: 120, implicit_lifetime: 30}}
  - {{audience: "{RFC}", token_dialect: rfc9068_profile_authz}}
  - {{audience: "{CLOSED}", offline_access: false}}
"""
PASSWORD = {
    "grant_type": "password",
    "client_id": "app",
    "username": "user@example.com",
    "password": "password",
    "scope": "openid read write offline_access",
}


@pytest.fixture
async def started(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(settings_of(tmp_path, TENANT)) as server:
        yield server


@pytest.fixture
async def browser(started: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(started) as client:
        yield client


async def given(browser: httpx.AsyncClient, audience: str) -> dict[str, Any]:
    answer = await browser.post("/oauth/token", data=PASSWORD | {"audience": audience})
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def test_an_api_has_scopes_a_lifetime_permissions_and_claims(browser: httpx.AsyncClient) -> None:
    tokens = await given(browser, PLAIN)
    claims = unverified(tokens["access_token"])
    assert (tokens["scope"], tokens["expires_in"]) == ("openid read offline_access", 120)
    assert (claims["scope"], claims["permissions"], claims["azp"]) == (tokens["scope"], ["read:reports"], "app")
    assert (claims["org"], claims["https://app.example/plan"]) == ("acme", "gold")
    assert jwt.get_unverified_header(tokens["access_token"])["typ"] == "JWT"
    identity = unverified(tokens["id_token"])
    assert (identity["org"], "permissions" in identity) == ("acme", False)
    assert int(str(identity["exp"])) - int(str(identity["iat"])) == 60


async def test_the_dialect_of_rfc_9068_has_its_type_and_claims(browser: httpx.AsyncClient) -> None:
    token = (await given(browser, RFC))["access_token"]
    claims = unverified(token)
    assert jwt.get_unverified_header(token)["typ"] == "at+jwt"
    assert claims["client_id"] == "app"
    assert {"jti", "permissions"} <= claims.keys()
    assert not {"azp", "gty"} & claims.keys()


async def test_an_api_without_offline_access_gives_no_refresh_token(browser: httpx.AsyncClient) -> None:
    assert "refresh_token" not in await given(browser, CLOSED)


async def test_an_unknown_api_is_refused(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/oauth/token", data=PASSWORD | {"audience": "https://unknown.example"})
    assert answer.json()["error_description"] == "Service not found: https://unknown.example"
    asked = {"client_id": "app", "redirect_uri": CALLBACK, "response_type": "token", "audience": "unknown"}
    assert in_fragment(await browser.get("/authorize", params=asked))["error"] == "access_denied"


async def test_tokens_of_the_implicit_flow_live_shorter(browser: httpx.AsyncClient) -> None:
    asked = {"client_id": "app", "redirect_uri": CALLBACK, "response_type": "token", "audience": PLAIN}
    back = in_fragment(await sign_in(browser, asked))
    claims = unverified(back["access_token"])
    assert (back["expires_in"], int(str(claims["exp"])) - int(str(claims["iat"]))) == ("30", 30)


async def test_without_rotation_a_refresh_token_stays_the_same(browser: httpx.AsyncClient) -> None:
    token = (await given(browser, PLAIN))["refresh_token"]
    form = {"grant_type": "refresh_token", "client_id": "app", "refresh_token": token}
    for _ in range(2):
        assert (await browser.post("/oauth/token", data=form)).json()["refresh_token"] == token


async def test_a_blocked_user_can_not_sign_in(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/oauth/token", data=PASSWORD | {"username": "blocked@example.com"})
    assert (answer.status_code, answer.json()["error_description"]) == (403, "user is blocked")


async def test_a_client_without_dpop_ignores_proofs(browser: httpx.AsyncClient) -> None:
    answer = await browser.post("/oauth/token", data=PASSWORD | {"client_id": "plain"}, headers={"DPoP": "x"})
    assert answer.json()["token_type"] == "Bearer"


def assertion(server: Server, key: Any = KEY, **changes: Any) -> dict[str, str]:
    now = int(server.sandbox.clock.now())
    claims = {
        "iss": "signing",
        "sub": "signing",
        "aud": server.url,
        "jti": "one",
        "iat": now,
        "exp": now + 60,
        **changes,
    }
    kept = {name: value for name, value in claims.items() if value is not None}
    return {
        "grant_type": "client_credentials",
        "audience": PLAIN,
        "client_assertion_type": "urn:ietf:params:oauth:client-assertion-type:jwt-bearer",
        "client_assertion": jwt.encode(kept, key, "RS256"),
    }


async def test_an_assertion_authenticates_a_client_once(started: Server, browser: httpx.AsyncClient) -> None:
    form = assertion(started)
    assert (await browser.post("/oauth/token", data=form)).status_code == 200
    assert (await browser.post("/oauth/token", data=form)).json()["error"] == "invalid_client"


@pytest.mark.parametrize(
    "changes",
    [
        {"key": rsa.generate_private_key(65537, 2048)}, {"aud": "https://elsewhere.example/"}, {"iss": "app"},
        {"sub": "app"}, {"exp": 1}, {"exp": None}, {"jti": None},
    ],
)  # fmt: skip
async def test_a_wrong_assertion_is_refused(
    started: Server, browser: httpx.AsyncClient, changes: dict[str, Any]
) -> None:
    answer = await browser.post("/oauth/token", data=assertion(started, **changes))
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_client")


@pytest.mark.parametrize(
    ("changes", "code"),
    [
        ({"email": "no address"}, "bad_request"),
        ({"password": "short"}, "invalid_password"),
        ({"email": "User@example.com"}, "invalid_signup"),
    ],
)
async def test_a_wrong_sign_up_is_refused(browser: httpx.AsyncClient, changes: dict[str, str], code: str) -> None:
    form = {"client_id": "app", "email": "new@example.com", "password": "long enough", "connection": "c"}
    answer = await browser.post("/dbconnections/signup", json={**form, "user_metadata": {"a": "b"}, **changes})
    assert (answer.status_code, answer.json()["code"]) == (400, code)


async def test_a_login_ticket_is_used_once_by_its_client(browser: httpx.AsyncClient) -> None:
    form = {"client_id": "app", "username": "user@example.com", "password": "password", "realm": "r"}
    ticket = (await browser.post("/co/authenticate", json=form)).json()["login_ticket"]
    asked = {"client_id": "app", "redirect_uri": CALLBACK, "response_type": "code", "login_ticket": ticket}
    asked |= {"code_challenge": "a" * 43, "code_challenge_method": "S256"}
    assert "code" in in_query(await browser.get("/authorize", params=asked))
    assert in_query(await browser.get("/authorize", params=asked))["error"] == "access_denied"


async def test_the_picture_of_a_user_has_two_letters(browser: httpx.AsyncClient) -> None:
    tokens = (await browser.post("/oauth/token", data=PASSWORD | {"scope": "openid profile"})).json()
    address = str(unverified(tokens["id_token"])["picture"])
    info = await browser.get("/userinfo", headers={"Authorization": f"Bearer {tokens['access_token']}"})
    assert info.json()["picture"] == address
    picture = await browser.get("/u/" + address.partition("/u/")[2])
    assert (picture.headers["content-type"], ">US<" in picture.text) == ("image/svg+xml", True)
    assert "<script" not in (await browser.get("/u/picture.svg", params={"name": "<script>"})).text
