"""Several reloads while requests are under way: what an older configuration uses stays, and no longer."""

from __future__ import annotations

import asyncio
import gc
import json
import time
import weakref
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from proxy.config.compile import Compiled, compile_config
from proxy.config.load import load
from proxy.http.credentials import key_of
from proxy.server.serving import Serving
from proxy.sessions.opening import open_store
from proxy.sessions.store import Identity, SessionStore, StoreError, new_session, new_token
from tests.integration.harness import PATIENCE, RULES, TENANT, Upstream, eventually, upstream_running
from tests.integration.transports import Line


@dataclass(slots=True)
class Running:
    """A gateway whose sessions are in folders."""

    serving: Serving
    folder: Path
    upstream: Upstream
    port: int = 0

    async def reload(self, sessions: str, more: str = "") -> SessionStore:
        """Change to it; returns the store that is then in use."""
        compiled = configuration(self.folder, self.upstream, sessions, more)
        assert await self.serving.reload(lambda: compiled)
        return self.serving.current.gateway.store

    async def token(self) -> str:
        """A session in the store in use."""
        token = new_token()
        key = key_of(token)
        assert key is not None
        identity = Identity(
            "http://localhost:1/", "anna", "anna@staff.test", "anna", "localhost", {"email_verified": True}
        )
        wanted = new_session(key, identity, now=time.time(), lifetime=600, ip="127.0.0.1", user_agent="tests")
        await self.serving.current.gateway.store.create(key, wanted, max_per_user=0)
        return token


def configuration(folder: Path, upstream: Upstream, sessions: str, more: str = "") -> Compiled:
    """One with its sessions in a folder of that name."""
    file, url = folder / "gateway.yaml", f"http://127.0.0.1:{upstream.port}"
    file.write_text(f"sessions: {{path: {sessions}}}\nupstreams: {{noetl: {{urls: ['{url}']}}}}\n{TENANT}{RULES}{more}")
    return compile_config(load(file, {}))


def is_open(store: SessionStore) -> bool:
    try:
        store.count()
    except StoreError:
        return False
    return True


@pytest.fixture
async def gateway(tmp_path: Path) -> AsyncIterator[Running]:
    async with upstream_running() as upstream:
        compiled = configuration(tmp_path, upstream, "a")
        running = Running(Serving(compiled, open_store(compiled)), tmp_path, upstream)
        _, running.port = await running.serving.listen("127.0.0.1", 0)
        try:
            yield running
        finally:
            running.serving.stop_listening()
            await running.serving.finish(0.5, keep_idle=False)
            await running.serving.close()


class SlowLogout:
    """A logout whose body has begun to come."""

    def __init__(self, token: str) -> None:
        self._body = json.dumps({"session_token": token}).encode()

    async def begin(self, gateway: Running) -> None:
        """Send the head and half of the body, and wait until the request is under way."""
        self._reader, self._writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        head = f"POST /api/auth/logout HTTP/1.1\r\nhost: a\r\ncontent-length: {len(self._body)}\r\n"
        self._writer.write(f"{head}content-type: application/json\r\nconnection: close\r\n\r\n".encode())
        self._writer.write(self._body[:9])
        server = gateway.serving.current
        await eventually(lambda: server.in_flight == 1)

    async def end(self) -> bytes:
        """Send the rest; returns the status line."""
        self._writer.write(self._body[9:])
        async with asyncio.timeout(PATIENCE):
            answer = await self._reader.read()
        self._writer.close()
        return answer.partition(b"\r\n")[0]


MORE = "headers: {security: false}\n"


async def test_a_store_stays_open_for_requests_older_than_the_last_configuration_with_it(gateway: Running) -> None:
    request = SlowLogout(await gateway.token())
    await request.begin(gateway)
    first = await gateway.reload("a", MORE)
    second = await gateway.reload("b")
    await eventually(lambda: gateway.serving.configurations == 2)
    assert (is_open(first), is_open(second)) == (True, True)
    assert await request.end() == b"HTTP/1.1 200 OK"
    await eventually(lambda: not is_open(first))
    assert is_open(second)


async def test_a_folder_that_comes_back_while_it_is_in_use_is_not_opened_twice(gateway: Running) -> None:
    request = SlowLogout(await gateway.token())
    await request.begin(gateway)
    first = gateway.serving.current.gateway.store
    await gateway.reload("b")
    assert await gateway.reload("a") is first
    assert await request.end() == b"HTTP/1.1 200 OK"
    await eventually(lambda: gateway.serving.configurations == 1)
    assert is_open(first)
    await gateway.reload("b")
    await eventually(lambda: not is_open(first))
    assert is_open(await gateway.reload("a"))


async def test_a_request_in_the_fast_path_keeps_its_store_open(gateway: Running) -> None:
    release = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="late")

    headers = {"authorization": f"Bearer {await gateway.token()}"}
    url, first = f"http://127.0.0.1:{gateway.port}/noetl/x", gateway.serving.current.gateway.store
    async with aiohttp.ClientSession(headers=headers, timeout=aiohttp.ClientTimeout(total=PATIENCE)) as client:
        async with client.get(url) as answer:
            assert answer.status == 200
        gateway.upstream.answer = slow
        asked = asyncio.create_task(client.get(url))
        await eventually(lambda: len(gateway.upstream.seen) == 2)
        assert gateway.serving.current.begun - gateway.serving.current.handed_over == 1
        await gateway.reload("a", MORE)
        await gateway.reload("b")
        await eventually(lambda: gateway.serving.configurations == 2)
        assert is_open(first)
        release.set()
        late = await asked
        assert await late.text() == "late"
        await eventually(lambda: not is_open(first))


async def test_an_idle_connection_keeps_nothing_of_the_configuration_that_served_it(gateway: Running) -> None:
    token, line = await gateway.token(), Line(gateway.port)
    for _ in range(3):
        request = f"GET /noetl/x HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {token}\r\n\r\n"
        assert (await line.ask(request.encode()))[0] == "HTTP/1.1 200 OK"
    old = weakref.ref(gateway.serving.current.gateway)
    await gateway.reload("a", "metrics: {enabled: false}\n")
    await eventually(lambda: gateway.serving.configurations == 1)
    gc.collect()
    assert old() is None
    line.close()
