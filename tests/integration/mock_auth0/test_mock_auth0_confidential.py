"""A client with a secret: it may use a code without PKCE, because the secret proves who redeems it."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import parse_qs, urlsplit

import httpx
import pytest

from tests.integration.mock_auth0.provider import provider, settings_of

PEOPLE = """
users:
  - {email: a@example.com, password: secret, claims: {"https://app.example/roles": [admin]}}
clients:
  - {client_id: web, client_secret: shared, redirect_uris: ["https://app.example/back"]}
"""


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with provider(settings_of(tmp_path, PEOPLE)) as client:
        yield client


async def redeem(browser: httpx.AsyncClient, secret: str) -> httpx.Response:
    asked = {"client_id": "web", "redirect_uri": "https://app.example/back", "response_type": "code"}
    page = await browser.get("/authorize", params=asked)
    transaction = re.search(r'name="state" value="([^"]+)"', page.text)
    assert transaction
    form = {"state": transaction[1], "username": "a@example.com", "password": "secret"}
    back = await browser.post("/u/login", data=form)
    code = parse_qs(urlsplit(back.headers["location"]).query)["code"][0]
    proof = {"grant_type": "authorization_code", "code": code, "client_secret": secret}
    return await browser.post("/oauth/token", data=asked | proof)


async def test_the_secret_redeems_a_code_without_a_verifier(browser: httpx.AsyncClient) -> None:
    assert "id_token" in (await redeem(browser, "shared")).json()


async def test_a_code_is_not_redeemed_without_the_right_secret(browser: httpx.AsyncClient) -> None:
    assert (await redeem(browser, "guess")).status_code == 401


async def test_userinfo_shows_the_extra_claims_of_the_users_file(browser: httpx.AsyncClient) -> None:
    token = (await redeem(browser, "shared")).json()["access_token"]
    answer = await browser.get("/userinfo", headers={"Authorization": f"Bearer {token}"})
    assert answer.json()["https://app.example/roles"] == ["admin"]
