"""The npm package @auth0/auth0-spa-js in Chromium: login, silent login, refresh tokens, logout, DPoP."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import jwt
import pytest

from mock_auth0.server import Server
from tests.integration.chromium import Page, chromium_page
from tests.integration.mock_auth0.applications import application
from tests.integration.mock_auth0.provider import running, settings_of

pytestmark = pytest.mark.slow
EMAIL = "user@example.com"
TENANT = """
users: [{email: user@example.com, password: password}]
clients:
  - {client_id: spa, name: An app, redirect_uris: ["http://localhost:*/callback"], logout_urls: ["http://localhost:*"]}
  - {client_id: bound, dpop: required, redirect_uris: ["http://localhost:*/callback"]}
apis: [{audience: "https://api.example", token_dialect: rfc9068_profile}]
"""


@asynccontextmanager
async def signed_in(folder: Path, **options: Any) -> AsyncIterator[tuple[Page, Server, str]]:
    """A page whose user has signed in by a click, with this configuration of the client."""
    async with (
        running(settings_of(folder, TENANT)) as server,
        application("spa.mjs") as origin,
        chromium_page(folder / "browser") as page,
    ):
        await page.open(origin, "window.ready")
        given = {"domain": server.url.rstrip("/"), "clientId": "spa", **options}
        await page.run(f"begin({json.dumps(given)}).then(() => auth0.loginWithRedirect())")
        await page.click(f'form:has(input[value="{EMAIL}"]) button')
        await page.until("window.ready && location.pathname === '/callback' && !location.search")
        assert await page.run("window.callback") == ""
        yield page, server, origin


async def test_a_user_signs_in_silently_again_and_out(tmp_path: Path) -> None:
    async with signed_in(tmp_path) as (page, server, origin):
        assert (await page.run("auth0.getUser()"))["email"] == EMAIL
        await page.open(origin, "window.ready")
        given = {"domain": server.url.rstrip("/"), "clientId": "spa"}
        await page.run(f"begin({json.dumps(given)})")
        # Tokens are in memory only, so this one comes from an iframe, by the session of the tenant.
        assert (await page.run("auth0.getUser()"))["email"] == EMAIL
        assert (await page.run("auth0.getTokenSilently({cacheMode: 'off'})")).count(".") == 4
        await page.run("auth0.logout({logoutParams: {returnTo: location.origin + '/bye'}})")
        await page.until("window.ready && location.pathname === '/bye'")
        await page.run(f"begin({json.dumps(given)})")
        assert await page.run("failed(() => auth0.getTokenSilently())") == "login_required"


async def test_a_user_signs_in_in_a_popup(tmp_path: Path) -> None:
    async with (
        running(settings_of(tmp_path, TENANT)) as server,
        application("spa.mjs") as origin,
        chromium_page(tmp_path / "browser") as page,
    ):
        await page.open(origin, "window.ready")
        given = {"domain": server.url.rstrip("/"), "clientId": "spa"}
        await page.run(f"begin({json.dumps(given)})")
        await page.run("(window.login = auth0.loginWithPopup().then(() => 'done', String), null)")
        async with page.popup(f"{server.url}authorize") as popup:
            await popup.click(f'form:has(input[value="{EMAIL}"]) button')
        assert await page.run("window.login") == "done"
        assert (await page.run("auth0.getUser()"))["email"] == EMAIL


async def test_refresh_tokens_are_rotated(tmp_path: Path) -> None:
    options = {"useRefreshTokens": True, "authorizationParams": {"audience": "https://api.example"}}
    async with signed_in(tmp_path, **options) as (page, _, _):
        tokens = [await page.run("auth0.getTokenSilently({cacheMode: 'off'})") for _ in range(3)]
        assert len(set(tokens)) == 3
        assert {jwt.get_unverified_header(token)["typ"] for token in tokens} == {"at+jwt"}


async def test_tokens_are_bound_by_dpop(tmp_path: Path) -> None:
    options = {"useDpop": True, "clientId": "bound", "useRefreshTokens": True}
    async with signed_in(tmp_path, **options) as (page, server, _):
        token = await page.run("auth0.getTokenSilently({cacheMode: 'off'})")
        address = json.dumps(f"{server.url}userinfo")
        script = f"auth0.createFetcher({{dpopNonceId: 'x'}}).fetchWithAuth({address}).then((answer) => answer.json())"
        assert (await page.run(script))["email"] == EMAIL
        bearer = f"fetch({address}, {{headers: {{authorization: 'Bearer {token}'}}}}).then((answer) => answer.status)"
        assert await page.run(bearer) == 401
