"""Requests that go straight to a NoETL server, past the gateway: to prepare it, and to see what has become of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import Any

import aiohttp

from tests.contract.playbooks import Playbook, Text

END_SECONDS = 30.0
_ENDED = ("COMPLETED", "FAILED", "CANCELLED")


@dataclass(frozen=True, slots=True)
class Server:
    """A NoETL server. `sandbox`: it is mock_noetl."""

    url: str
    sandbox: bool
    client: aiohttp.ClientSession

    async def send(self, method: str, path: str, body: Any = None) -> tuple[int, Any]:
        """Send a request; return the status and the JSON, or the text, of the response."""
        data = {} if body is None else {"json": body}
        async with self.client.request(method, self.url + path, **data) as response:
            try:
                return response.status, await response.json(content_type=None)
            except ValueError:
                return response.status, await response.text()

    async def get(self, path: str) -> Any:
        """Return the JSON of a response."""
        status, found = await self.send("GET", path)
        assert status == 200, f"GET {path}: {status} {found}"
        return found

    async def register(self, playbook: Playbook | Text) -> str:
        """Register a playbook, and return its catalog id."""
        body = {"content": playbook.yaml(sandbox=self.sandbox), "resource_type": "Playbook"}
        status, found = await self.send("POST", "/api/catalog/register", body)
        assert status == 200, f"{playbook.path} can't be registered: {status} {found}"
        return str(found["catalog_id"])

    async def start(self, path: str, workload: dict[str, Any] | None = None) -> str:
        """Start a playbook, and return the id of the execution."""
        status, found = await self.send("POST", "/api/execute", {"path": path, "workload": workload or {}})
        assert status == 200, f"{path} can't be started: {status} {found}"
        return str(found["execution_id"])

    async def detail(self, execution_id: str) -> dict[str, Any]:
        """Return the detail of an execution, with its newest events."""
        found: dict[str, Any] = await self.get(f"/api/executions/{execution_id}?page_size=500")
        return found

    async def status(self, execution_id: str) -> str:
        """Return the status that the server gives an execution, in capitals."""
        return str((await self.detail(execution_id))["status"])

    async def ended(self, execution_id: str) -> dict[str, Any]:
        """Return the detail of an execution, once its server says that it has ended."""
        deadline = time.monotonic() + END_SECONDS
        while True:
            found = await self.detail(execution_id)
            if found["status"] in _ENDED:
                return found
            assert time.monotonic() < deadline, f"{found['path']} has not ended after {END_SECONDS:g} s"
            await asyncio.sleep(0.05)

    async def versions(self, path: str) -> int:
        """Return the newest version of a playbook; 0 if it does not exist."""
        status, found = await self.send("POST", "/api/catalog/resource", {"path": path})
        return int(found["version"]) if status == 200 else 0

    async def runs(self, path: str) -> int:
        """Return how many executions of a playbook are among the newest."""
        listed = await self.get("/api/executions?page=1&page_size=200&limit=200&offset=0")
        return sum(item["path"] == path for item in listed)


@asynccontextmanager
async def connected(url: str) -> AsyncIterator[Server]:
    """A client of a server. Only the sandbox has an echo."""
    async with aiohttp.ClientSession(timeout=aiohttp.ClientTimeout(total=60)) as client:
        async with client.get(f"{url}/api/echo") as response:
            sandbox = response.status == 200
        yield Server(url, sandbox, client)
