"""The npm package auth0-js in Chromium, against https: implicit login, silent login, passwords, sign-up, logout."""

from __future__ import annotations

import asyncio
import base64
import hashlib
import json
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from mock_auth0.tls import NAMES, own_authority
from tests.integration.chromium import Page, chromium_page
from tests.integration.mock_auth0.applications import application
from tests.integration.mock_auth0.provider import running, settings_of

pytestmark = pytest.mark.slow
EMAIL = "user@example.com"
REALM = "Username-Password-Authentication"
TENANT = """
users: [{email: user@example.com, password: password}]
clients: [{client_id: app, redirect_uris: ["https://localhost:*/callback"], logout_urls: ["https://localhost:*"]}]
"""


async def trusted(authority: Path, port: int) -> str:
    """Return the option by which Chromium trusts the certificate of a server, after it was verified here."""
    context = ssl.create_default_context(cafile=str(authority))
    _, writer = await asyncio.open_connection("localhost", port, ssl=context)
    der = writer.get_extra_info("ssl_object").getpeercert(binary_form=True)
    writer.close()
    key = x509.load_der_x509_certificate(der).public_key()
    digest = hashlib.sha256(key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)).digest()
    return f"--ignore-certificate-errors-spki-list={base64.b64encode(digest).decode()}"


@asynccontextmanager
async def opened(folder: Path) -> AsyncIterator[Page]:
    """A page with a client for a tenant behind https.

    The page has https too, so that it is of the same site, and the iframe has its cookies also in browsers that block
    those of other sites.
    """
    file = folder / "ca.pem"
    tls = own_authority(file, NAMES)
    async with (
        running(settings_of(folder, TENANT), tls=tls) as server,
        application("legacy.mjs", tls) as origin,
        chromium_page(folder / "browser", await trusted(file, server.sandbox.listener.port)) as page,
    ):
        await page.open(origin, "window.ready")
        given = {"domain": server.url.removeprefix("https://").rstrip("/"), "clientID": "app"}
        given |= {"responseType": "token id_token", "scope": "openid profile email"}
        await page.run(f"begin({json.dumps(given)})")
        yield page


async def called(page: Page, path: str, method: str, *parameters: Any) -> dict[str, Any]:
    """Call a method with a callback; return what it was called with."""
    given = "".join(f", {json.dumps(parameter)}" for parameter in parameters)
    found: dict[str, Any] = await page.run(f"call({path}, {json.dumps(method)}{given})")
    return found


async def test_a_user_signs_in_is_remembered_and_signs_out(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        await page.run("webAuth.authorize()")
        await page.click(f'form:has(input[value="{EMAIL}"]) button')
        await page.until("window.ready && location.pathname === '/callback'")
        callback = await page.run("window.callback")
        assert callback["result"]["idTokenPayload"]["email"] == EMAIL, callback
        info = await called(page, "webAuth.client", "userInfo", callback["result"]["accessToken"])
        assert info["result"]["email"] == EMAIL
        silent = await called(page, "webAuth", "checkSession", {})
        assert silent.get("result", {}).get("idTokenPayload", {}).get("email") == EMAIL, silent
        await page.run("webAuth.logout({returnTo: location.origin + '/bye', clientID: 'app'})")
        await page.until("window.ready && location.pathname === '/bye'")
        await page.run("begin(JSON.parse(sessionStorage.getItem('options')))")
        assert (await called(page, "webAuth", "checkSession", {}))["error"]["code"] == "login_required"


async def test_a_user_signs_up_and_signs_in_on_a_page_of_the_application(tmp_path: Path) -> None:
    async with opened(tmp_path) as page:
        account = {"email": "new@example.com", "password": "long enough", "connection": REALM}
        added = await called(page, "webAuth", "signup", account)
        assert added["result"]["email"] == "new@example.com", added
        assert (await called(page, "webAuth", "signup", account))["error"]["code"] == "invalid_signup"
        changed = await called(page, "webAuth", "changePassword", {"email": EMAIL, "connection": REALM})
        assert changed["error"] is None
        login = {"realm": REALM, "username": "new@example.com", "password": "long enough"}
        tokens = await called(page, "webAuth.client", "login", login)
        assert tokens["result"]["tokenType"] == "Bearer"
        wrong = await called(page, "webAuth", "login", {**login, "password": "wrong"})
        assert wrong["error"]["code"] == "access_denied"
        await page.run(f"webAuth.login({json.dumps(login)}, () => {{}})")
        await page.until("window.ready && location.pathname === '/callback'")
        assert (await page.run("window.callback"))["result"]["idTokenPayload"]["email"] == "new@example.com"
