"""Several tenants in one process, chosen by the host of a request, and issuers of other addresses."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import jwt
import pytest

from mock_auth0.server import Server
from tests.integration.mock_auth0.provider import client_of, running, settings_of
from tests.integration.mock_auth0.test_mock_auth0_token_endpoint import PASSWORD

TENANTS = """
users: [{email: user@example.com, password: password}]
clients: [{client_id: noetl-gateway}]
tenants:
  a.localhost: {users: [{email: anna@a.example, password: password}]}
  B.localhost: {issuer: "https://b.example", clients: []}
"""


@pytest.fixture
async def several(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(settings_of(tmp_path, TENANTS)) as server:
        yield server


@pytest.fixture
async def browser(several: Server) -> AsyncIterator[httpx.AsyncClient]:
    async with client_of(several) as client:
        yield client


async def issuer(browser: httpx.AsyncClient, host: str) -> str:
    answer = await browser.get("/.well-known/openid-configuration", headers={"Host": host})
    document = answer.json()
    assert document["token_endpoint"].startswith(document["issuer"])
    return str(document["issuer"])


async def test_the_host_of_a_request_chooses_the_tenant(several: Server, browser: httpx.AsyncClient) -> None:
    port = several.sandbox.listener.port
    assert await issuer(browser, f"a.localhost:{port}") == f"http://a.localhost:{port}/"
    assert await issuer(browser, "A.LOCALHOST") == f"http://a.localhost:{port}/"
    assert await issuer(browser, "b.localhost") == "https://b.example/"
    assert await issuer(browser, "elsewhere") == f"http://localhost:{port}/"


async def test_users_are_of_one_tenant_and_what_is_left_out_is_inherited(browser: httpx.AsyncClient) -> None:
    anna = PASSWORD | {"username": "anna@a.example"}
    assert (await browser.post("/oauth/token", data=anna, headers={"Host": "a.localhost"})).status_code == 200
    assert (await browser.post("/oauth/token", data=anna)).status_code == 403
    assert (await browser.post("/oauth/token", data=PASSWORD, headers={"Host": "a.localhost"})).status_code == 403
    assert (await browser.post("/oauth/token", data=PASSWORD, headers={"Host": "b.localhost"})).status_code == 401


async def test_each_tenant_has_its_own_keys_and_tokens(browser: httpx.AsyncClient) -> None:
    anna = PASSWORD | {"username": "anna@a.example"}
    given = (await browser.post("/oauth/token", data=anna, headers={"Host": "a.localhost"})).json()
    keys = jwt.PyJWKSet.from_dict((await browser.get("/.well-known/jwks.json")).json())
    assert jwt.get_unverified_header(given["id_token"])["kid"] not in {key.key_id for key in keys.keys}
    refresh = {"grant_type": "refresh_token", "client_id": "noetl-gateway", "refresh_token": given["refresh_token"]}
    assert (await browser.post("/oauth/token", data=refresh)).status_code == 403
    assert (await browser.post("/oauth/token", data=refresh, headers={"Host": "a.localhost"})).status_code == 200


async def test_the_start_page_names_the_other_tenants(several: Server, browser: httpx.AsyncClient) -> None:
    page = (await browser.get("/")).text
    assert f"http://a.localhost:{several.sandbox.listener.port}/" in page
    assert "https://b.example/" in page


async def test_a_given_issuer_stands_in_discovery_and_tokens() -> None:
    async with running(issuer="https://auth0.test/") as server, client_of(server) as browser:
        assert await issuer(browser, "auth0.test") == "https://auth0.test/"
        token = (await browser.post("/oauth/token", data=PASSWORD)).json()["id_token"]
        assert jwt.decode(token, options={"verify_signature": False})["iss"] == "https://auth0.test/"
        page = await browser.get("/authorize", params={"client_id": "noetl-gateway"})
        assert page.status_code == 400, "the issuer is used in addresses only"
