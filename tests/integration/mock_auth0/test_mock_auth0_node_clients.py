"""The npm packages openid-client and oauth4webapi in Node, with all flows that they have."""

from __future__ import annotations

import asyncio
import json
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import httpx
import pytest

from mock_auth0.server import Server
from tests.integration.mock_auth0.applications import CLIENTS, node
from tests.integration.mock_auth0.provider import client_of, running, settings_of
from tests.integration.mock_auth0.test_mock_auth0_signing_in import submit, transaction_in

pytestmark = pytest.mark.slow
PATIENCE = 30.0
EMAIL = "user@example.com"
TENANT = """
users: [{{email: user@example.com, password: password}}]
lifetimes: {{device_interval: 1}}
clients:
  - {{client_id: public, redirect_uris: ["http://localhost:3000/callback"], logout_urls: ["http://localhost:*"]}}
  - {{client_id: web, client_secret: secret, redirect_uris: ["http://localhost:3000/callback"]}}
{more}"""


class Dialogue:
    """A script in Node, and a browser that does what the script asks for."""

    def __init__(self, process: asyncio.subprocess.Process, server: Server, browser: httpx.AsyncClient) -> None:
        self._process = process
        self.server, self.browser = server, browser

    async def said(self, step: str) -> dict[str, Any]:
        """Return the next line, which must be of a step."""
        assert self._process.stdout is not None
        async with asyncio.timeout(PATIENCE):
            line = await self._process.stdout.readline()
        found: dict[str, Any] = json.loads(line or b'{"step": "ended"}')
        assert found["step"] == step
        return found

    async def answer(self, **values: str) -> None:
        """Send a line."""
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps(values).encode() + b"\n")
        await self._process.stdin.drain()

    async def sign_in(self, step: str) -> None:
        """Sign in at the address of a step, and answer where the browser is sent to."""
        parts = urlsplit((await self.said(step))["address"])
        page = await self.browser.get(f"{parts.path}?{parts.query}")
        back = page if page.status_code == 302 else await submit(self.browser, page)
        await self.answer(location=back.headers["location"])


@asynccontextmanager
async def running_script(folder: Path, script: str) -> AsyncIterator[Dialogue]:
    """A script in Node, for a provider."""
    async with running(settings_of(folder, TENANT.format(more=""))) as server, client_of(server) as browser:
        process = await asyncio.create_subprocess_exec(
            node(), str(CLIENTS / script), server.url, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        try:
            yield Dialogue(process, server, browser)
            async with asyncio.timeout(PATIENCE):
                assert await process.wait() == 0
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()


async def test_openid_client_has_all_its_flows(tmp_path: Path) -> None:
    async with running_script(tmp_path, "openid-client.mjs") as script:
        await script.sign_in("authorize")
        assert (await script.said("code"))["email"] == EMAIL
        assert (await script.said("refresh"))["rotated"] is True
        assert (await script.said("userinfo"))["email"] == EMAIL
        assert (await script.said("revoked"))["error"] == "invalid_grant"
        parts = urlsplit((await script.said("activate"))["address"])
        page = await script.browser.get(f"{parts.path}?{parts.query}")
        form = {"state": transaction_in(page), "action": "accept"}
        assert "Device connected" in (await script.browser.post("/u/consent", data=form)).text
        await script.answer()
        assert (await script.said("device"))["email"] == EMAIL
        assert await script.said("dpop") == {"step": "dpop", "type": "dpop", "email": EMAIL}
        await add_client(script, tmp_path, (await script.said("key"))["pem"])
        assert (await script.said("private_key_jwt"))["type"] == "bearer"
        await script.sign_in("hybrid")
        assert (await script.said("mixed"))["email"] == EMAIL
        parts = urlsplit((await script.said("logout"))["address"])
        answer = await script.browser.get(f"{parts.path}?{parts.query}")
        assert answer.headers["location"] == "http://localhost:3000/callback"


async def add_client(script: Dialogue, folder: Path, pem: str) -> None:
    """Register a client with a key, as an edit of the file does."""
    indented = "\n".join(f"      {line}" for line in pem.splitlines())
    text = TENANT.format(more=f"  - client_id: signing\n    public_key: |\n{indented}\n")
    script.server.program.use(settings_of(folder, text))
    await script.answer()


async def test_oauth4webapi_signs_in_with_dpop(tmp_path: Path) -> None:
    async with running_script(tmp_path, "oauth4webapi.mjs") as script:
        await script.sign_in("authorize")
        assert await script.said("code") == {"step": "code", "email": EMAIL, "type": "dpop"}
        assert (await script.said("userinfo"))["email"] == EMAIL
        assert (await script.said("refresh"))["type"] == "dpop"
