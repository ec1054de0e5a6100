"""The npm clients of subscriptions: graphql-sse and graphql-ws in Node, and Apollo Client in Chromium."""

from __future__ import annotations

import asyncio
import json
import shutil
import subprocess
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest
from aiohttp import web

from tests.e2e.processes import ROOT, free_port
from tests.integration.gateway.live_server import Executions
from tests.integration.harness import Running, behind_gateway, eventually

CLIENTS = ROOT / "tests" / "integration" / "clients"
PATIENCE = 30.0
Report = dict[str, Any]
Next = Callable[[], Awaitable[Report]]
Open = Callable[[Running, str, str], Any]


def needed(name: str, package: str) -> str:
    """Return the path of a program."""
    found = shutil.which(name)
    assert found, f"{name} is not installed: apt-get install {package}"
    assert (ROOT / "node_modules" / "graphql-ws").is_dir(), "the npm packages are not installed: run make pages"
    return found


@asynccontextmanager
async def in_node(client: str, gateway: Running, scenario: str, token: str) -> AsyncIterator[Next]:
    """Run a scenario in Node; yield what returns its next report."""
    process = await asyncio.create_subprocess_exec(
        needed("node", "nodejs npm"), str(CLIENTS / "node.mjs"), client, scenario, f"{gateway.url}/graphql", token,
        stdin=subprocess.PIPE, stdout=subprocess.PIPE,
    )  # fmt: skip
    assert process.stdout is not None
    assert process.stdin is not None
    lines = process.stdout

    async def following() -> Report:
        async with asyncio.timeout(PATIENCE):
            found: Report = json.loads(await lines.readline())
            return found

    try:
        yield following
    finally:
        process.stdin.close()
        async with asyncio.timeout(PATIENCE):
            await process.wait()


@pytest.fixture(scope="module")
def bundle(tmp_path_factory: pytest.TempPathFactory) -> bytes:
    """The page's script with Apollo Client, in one file."""
    node, made = needed("node", "nodejs npm"), tmp_path_factory.mktemp("apollo") / "page.js"
    subprocess.run([node, str(CLIENTS / "bundle.mjs"), str(made)], check=True, timeout=60)
    return made.read_bytes()


@asynccontextmanager
async def in_chromium(
    script: bytes, port: int, folder: Path, gateway: Running, link: str, scenario: str, token: str
) -> AsyncIterator[Next]:
    """Run a scenario in a page of another origin; yield what returns its next report."""
    reports: asyncio.Queue[Report] = asyncio.Queue()

    async def serve(request: web.BaseRequest) -> web.Response:
        if request.path == "/report":
            await reports.put(json.loads(await request.text()))
            return web.Response()
        if request.path == "/page.js":
            return web.Response(body=script, content_type="text/javascript")
        page = '<!doctype html><link rel="icon" href="data:,"><script type="module" src="/page.js"></script>'
        return web.Response(text=page, content_type="text/html")

    runner = web.ServerRunner(web.Server(serve))
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", port).start()
    query = urlencode({"link": link, "scenario": scenario, "url": f"{gateway.url}/graphql", "token": token})
    browser = await asyncio.create_subprocess_exec(
        needed("chromium", "chromium"), "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage",
        f"--user-data-dir={folder}", "--remote-debugging-port=0", f"http://127.0.0.1:{port}/?{query}",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip

    async def following() -> Report:
        async with asyncio.timeout(PATIENCE):
            return await reports.get()

    try:
        yield following
    finally:
        browser.terminate()
        async with asyncio.timeout(PATIENCE):
            await browser.wait()
        await runner.cleanup()


async def complete(gateway: Running, server: Executions, token: str, scenario: Open) -> None:
    async with scenario(gateway, "complete", token) as following:
        assert await following() == {"event": "next", "data": "running"}
        server.complete(["a"], {})
        assert await following() == {"event": "next", "data": "completed"}
        assert await following() == {"event": "complete"}


async def wrong(gateway: Running, server: Executions, token: str, scenario: Open) -> None:
    async with scenario(gateway, "wrong", token) as following:
        found = await following()
        assert found["event"] == "error"
        # On a stream of several operations, the client reports the status of the response only.
        assert found["data"] in ({"errors": ["BAD_USER_INPUT", "BAD_USER_INPUT"]}, {"status": 400})


async def unauthenticated(gateway: Running, server: Executions, token: str, scenario: Open) -> None:
    async with scenario(gateway, "unauthenticated", "0" * 32) as following:
        found = await following()
        assert found["event"] == "error"
        closed = {"code": 4403, "reason": "Invalid or expired session"}
        by_apollo = {"message": "Socket closed with event 4403 Invalid or expired session"}
        assert found["data"] in ({"status": 401}, closed, by_apollo)


async def cancel(gateway: Running, server: Executions, token: str, scenario: Open) -> None:
    async with scenario(gateway, "cancel", token) as following:
        assert await following() == {"event": "next", "data": "running"}
        assert gateway.serving.process.operations.subscriptions == 1
        assert (await following())["event"] in ("cancelled", "complete")
        await eventually(lambda: gateway.serving.process.operations.subscriptions == 0)
        await eventually(lambda: gateway.serving.process.follower.followed == 0)


async def reconnect(gateway: Running, server: Executions, token: str, scenario: Open) -> None:
    async with scenario(gateway, "reconnect", token) as following:
        assert await following() == {"event": "next", "data": "running"}
        for connection in gateway.serving.listener.connections:
            connection.cut()  # type: ignore[attr-defined]
        assert await following() == {"event": "next", "data": "running"}
        server.complete(["a"], {})
        assert await following() == {"event": "next", "data": "completed"}
        assert await following() == {"event": "complete"}


SCENARIOS = pytest.mark.parametrize("scenario", [complete, wrong, unauthenticated, cancel, reconnect])


@SCENARIOS
@pytest.mark.parametrize("client", ["graphql-sse", "graphql-sse-single", "graphql-ws"])
@pytest.mark.slow
async def test_a_client_in_node(tmp_path: Path, client: str, scenario: Any) -> None:
    server = Executions()
    async with behind_gateway(tmp_path) as (gateway, upstream):
        upstream.answer = server.answer

        def opened(gateway: Running, name: str, token: str) -> Any:
            return in_node(client, gateway, name, token)

        await scenario(gateway, server, await gateway.session(), opened)


@SCENARIOS
@pytest.mark.parametrize("link", ["ws", "sse"])
@pytest.mark.slow
async def test_apollo_client_in_chromium(tmp_path: Path, bundle: bytes, link: str, scenario: Any) -> None:
    if shutil.which("chromium") is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    server, port = Executions(), free_port()
    async with behind_gateway(tmp_path, more=f"corsAllowedOrigins: ['http://127.0.0.1:{port}']\n") as (
        gateway,
        upstream,
    ):
        upstream.answer = server.answer

        def opened(gateway: Running, name: str, token: str) -> Any:
            return in_chromium(bundle, port, tmp_path / "browser", gateway, link, name, token)

        await scenario(gateway, server, await gateway.session(), opened)
