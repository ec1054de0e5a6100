"""Edits of the file of a running provider."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import pytest
import structlog

from mock_auth0.reload import Files, watch
from mock_auth0.server import Server
from tests.integration.mock_auth0.provider import client_of, running
from tests.integration.mock_auth0.test_mock_auth0_token_endpoint import PASSWORD, refresh

TEXT = "users: [{email: user@example.com, password: password}]\nclients: [{client_id: noetl-gateway}]\n"
MORE = TEXT.replace("}]\nclients", "}, {email: new@example.com, password: password}]\nclients")


@dataclass(slots=True)
class Edited:
    """A provider whose file is watched."""

    file: Path
    server: Server
    browser: httpx.AsyncClient
    attempts: asyncio.Semaphore
    log: list[Any]

    async def write(self, text: str) -> None:
        """Change the file, and wait until the change was noticed."""
        await asyncio.to_thread(self.file.write_text, text)
        async with asyncio.timeout(10):
            await self.attempts.acquire()

    async def login(self, email: str = "user@example.com") -> httpx.Response:
        """Sign in."""
        return await self.browser.post("/oauth/token", data=PASSWORD | {"username": email})


@pytest.fixture
async def edited(tmp_path: Path) -> AsyncIterator[Edited]:
    files = Files(tmp_path / "tenant.yaml")
    files.config.write_text(TEXT)
    noticed = asyncio.Semaphore(0)
    with structlog.testing.capture_logs() as log:
        since = files.stamp()
        async with running(files.load()) as server, client_of(server) as browser:
            watching = asyncio.create_task(watch(files, server.program, since, noticed.release))
            yield Edited(files.config, server, browser, noticed, log)
            watching.cancel()
            with suppress(asyncio.CancelledError):
                await watching


async def test_a_new_user_may_sign_in_and_sessions_stay(edited: Edited) -> None:
    token = (await edited.login()).json()["refresh_token"]
    assert (await edited.login("new@example.com")).status_code == 403
    await edited.write(MORE)
    assert (await edited.login("new@example.com")).status_code == 200
    assert (await refresh(edited.browser, token)).status_code == 200


async def test_a_mistake_is_logged_with_its_line_and_the_old_content_stays(edited: Edited) -> None:
    await edited.write(MORE.replace("client_id", "client-id"))
    assert (await edited.login()).status_code == 200
    assert (await edited.login("new@example.com")).status_code == 403
    (event,) = [event for event in edited.log if event["log_level"] == "error"]
    assert event["problem"].startswith(f"{edited.file}: line 2: clients[0].client-id: unknown key (known: ")
    await edited.write(MORE)
    assert (await edited.login("new@example.com")).status_code == 200


async def test_a_removed_user_can_not_refresh(edited: Edited) -> None:
    await edited.write(MORE)
    token = (await edited.login("new@example.com")).json()["refresh_token"]
    await edited.write(TEXT)
    assert (await refresh(edited.browser, token)).json()["error"] == "invalid_grant"


async def test_users_who_signed_up_stay(edited: Edited) -> None:
    form = {"client_id": "noetl-gateway", "email": "self@example.com", "password": "password", "connection": "c"}
    assert (await edited.browser.post("/dbconnections/signup", json=form)).status_code == 200
    await edited.write(MORE)
    assert (await edited.login("self@example.com")).status_code == 200


async def test_users_who_signed_up_stay_with_another_issuer(edited: Edited) -> None:
    form = {"client_id": "noetl-gateway", "email": "self@example.com", "password": "password", "connection": "c"}
    assert (await edited.browser.post("/dbconnections/signup", json=form)).status_code == 200
    await edited.write(f"issuer: https://auth0.test/\n{MORE}")
    document = (await edited.browser.get("/.well-known/openid-configuration")).json()
    assert document["issuer"] == "https://auth0.test/"
    assert (await edited.login("self@example.com")).status_code == 200


async def test_a_file_that_is_gone_changes_nothing(edited: Edited) -> None:
    edited.file.unlink()
    async with asyncio.timeout(10):
        await edited.attempts.acquire()
    assert (await edited.login()).status_code == 200
