"""The pages in Chromium: what they show, in light and dark, on a phone; that nothing in them is blocked."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from pathlib import Path
from urllib.parse import urlencode

import httpx
import pytest

from mock_auth0.server import Server
from tests.integration.chromium import Page, chromium_page
from tests.integration.harness import gateway_running
from tests.integration.mock_auth0.applications import application
from tests.integration.mock_auth0.provider import running, settings_of
from tests.integration.mock_auth0.test_mock_auth0_broken_tokens import Pair

LONG = f"{'a-very-long-name-' * 4}@department.example.com"
TENANT = f"""
users:
  - {{email: user@example.com, password: password}}
  - {{email: "{LONG}", password: "{"long-password-" * 5}"}}
  - {{email: blocked@example.com, password: password, blocked: true}}
generate_users: 500
clients: [{{client_id: app, name: An App, consent: true, redirect_uris: ["http://localhost:*"]}}]
"""
LOGIN = {
    "client_id": "app",
    "redirect_uri": "http://localhost:3000/callback",
    "response_type": "id_token",
    "nonce": "n",
    "scope": "openid email",
}
STYLED = "getComputedStyle(document.querySelector('main')).borderRadius !== '0px'"


@pytest.fixture
async def server_of_pages(tmp_path: Path) -> AsyncIterator[Server]:
    async with running(settings_of(tmp_path, TENANT)) as server:
        yield server


@pytest.fixture
async def page(tmp_path: Path, server_of_pages: Server) -> AsyncIterator[Page]:
    async with chromium_page(tmp_path / "browser") as opened:
        yield opened


def addresses(url: str) -> dict[str, str]:
    return {
        "start": url,
        "login": f"{url}authorize?{urlencode(LOGIN)}",
        "activate": f"{url}activate?user_code={'X' * 90}",
        "error": f"{url}authorize?{urlencode(LOGIN | {'redirect_uri': 'http://elsewhere/' + 'x' * 90})}",
        "everywhere": f"{url}u/logout-everywhere",
        "signed out": f"{url}v2/logout",
    }


@pytest.mark.slow
@pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])
async def test_every_page_fits_a_phone_and_has_its_style(server_of_pages: Server, page: Page, dark: bool) -> None:
    await page.look(width=390, height=844, dark=dark)
    colours = set()
    for name, address in addresses(server_of_pages.url).items():
        await page.open(address, STYLED)
        assert await page.run("document.documentElement.scrollWidth") == 390, name
        colours.add(await page.run("getComputedStyle(document.body).backgroundColor"))
    assert len(colours) == 1
    assert ("rgb(15," in colours.pop()) == dark


@pytest.mark.slow
async def test_a_user_signs_in_by_a_click_after_a_wrong_password_and_consents(
    server_of_pages: Server, page: Page
) -> None:
    async with application("spa.mjs") as origin:
        asked = LOGIN | {"redirect_uri": f"{origin}/", "response_mode": "form_post"}
        await page.open(f"{server_of_pages.url}authorize?{urlencode(asked)}", STYLED)
        await page.run("document.querySelector('#username').value = 'user@example.com'")
        await page.run("document.querySelector('#password').value = 'guess'")
        await page.click(".primary")
        await page.until("document.querySelector('.alert')?.textContent === 'Wrong email or password.'")
        assert await page.run("document.querySelector('#username').value") == "user@example.com"
        await page.click('form:has(input[value="blocked@example.com"]) button')
        await page.until("document.querySelector('.alert')?.textContent === 'Your account has been blocked.'")
        await page.click('form:has(input[type="hidden"][value="user@example.com"]) button')
        await page.click('button[value="accept"]')
        await page.until(f"location.href === '{origin}/' && window.ready")


async def test_the_login_page_shows_users_with_their_passwords(server_of_pages: Server) -> None:
    async with httpx.AsyncClient(base_url=server_of_pages.url, trust_env=False) as client:
        text = (await client.get("/authorize", params=LOGIN)).text
    assert text.count('class="secret"') == 3 + 3
    assert "And 497 more, such as user00500@example.com" in text
    assert "email not verified" not in text


async def test_the_start_page_says_what_to_paste(server_of_pages: Server) -> None:
    url = server_of_pages.url
    async with httpx.AsyncClient(base_url=url, trust_env=False) as client:
        text = (await client.get("/")).text
        for name in ("style.css", "icon.svg", "copy.js"):
            assert f"/u/{name}" in text
            assert (await client.get(f"/u/{name}")).status_code == 200
    assert f"issuer: {url}" in text
    assert f'domain: "{url.rstrip("/")}"' in text
    assert f"curl -s {url}oauth/token" in text


async def test_no_page_has_a_script_or_a_style_of_its_own(server_of_pages: Server) -> None:
    async with httpx.AsyncClient(base_url=server_of_pages.url, trust_env=False) as client:
        for name, address in addresses(server_of_pages.url).items():
            answer = await client.get(address)
            policy = answer.headers["content-security-policy"]
            assert "unsafe" not in policy, name
            assert "default-src 'none'" in policy, name
            assert "<style" not in answer.text, name
            assert "<script>" not in answer.text, name


async def test_the_lines_for_the_gateway_are_a_configuration_that_accepts_logins(tmp_path: Path) -> None:
    async with running() as server, httpx.AsyncClient(base_url=server.url, trust_env=False) as client:
        (lines,) = re.findall(r"<pre><code>(auth:.*?)</code></pre>", (await client.get("/")).text, re.DOTALL)
        text = f'upstreams: {{noetl: {{urls: ["http://127.0.0.1:1"]}}}}\n{lines}\n'
        async with gateway_running(tmp_path, text) as gateway:
            status, answer = await Pair(server, gateway).login()
    assert (status, answer["user"]["email"]) == (200, "dev@example.com")
