"""A sandbox server on a real socket, once per dialect."""

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack
from typing import Any

import httpx
import pytest

from mock_noetl.server import build, serve
from mock_noetl.state import Settings

Json = Any


class Sandbox:
    """A client of one running sandbox server."""

    def __init__(self, client: httpx.AsyncClient) -> None:
        self.client = client

    async def get(self, path: str) -> Json:
        return (await self.client.get(path)).raise_for_status().json()

    async def post(self, path: str, body: Json = None) -> Json:
        response = await self.client.post(path, json=body) if body is not None else await self.client.post(path)
        return response.raise_for_status().json()

    async def start(self, path: str, **workload: Json) -> str:
        return (await self.post("/api/execute", {"path": path, "workload": workload}))["execution_id"]

    async def until(self, path: str, done: Callable[[Json], bool], seconds: float = 5.0) -> Json:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            if done(body := await self.get(path)):
                return body
            await asyncio.sleep(0.02)
        raise AssertionError(f"{path} did not get there in {seconds} s: {body}")

    async def ended(self, execution_id: str) -> Json:
        path = f"/api/executions/{execution_id}"
        return await self.until(path, lambda body: body["status"] != "RUNNING")


@pytest.fixture
async def sandboxes() -> AsyncIterator[Callable[..., Any]]:
    async with AsyncExitStack() as stack:

        async def start(dialect: str, settings: Settings | None = None) -> Sandbox:
            listener = await stack.enter_async_context(serve(build(dialect, settings)))
            client = httpx.AsyncClient(base_url=listener.url, trust_env=False)
            return Sandbox(await stack.enter_async_context(client))

        yield start


@pytest.fixture
async def python_sandbox(sandboxes: Callable[..., Any]) -> Sandbox:
    return await sandboxes("python")


@pytest.fixture
async def rust_sandbox(sandboxes: Callable[..., Any]) -> Sandbox:
    return await sandboxes("rust")


@pytest.fixture(params=["python", "rust"])
async def sandbox(request: pytest.FixtureRequest, sandboxes: Callable[..., Any]) -> Sandbox:
    return await sandboxes(request.param)
