"""A gateway with the shipped gateway.yaml in front of a NoETL server, with a session for each of its four users."""

from __future__ import annotations

import json
import tempfile
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from yarl import URL

from tests.e2e.processes import ROOT, free_port
from tests.integration.harness import KeptLog, Running, gateway_running

USERS = {"admin": "admin", "developer": "dev", "analyst": "user", "viewer": "viewer"}
"""The roles of the shipped file, and the names of their users."""
PROXY = """
mutation ($m: String!, $e: String!, $b: JSON) {
  proxyRequest(input: {method: $m, endpoint: $e, body: $b}) { status data }
}
"""
Found = tuple[int, Any]
"""The status and the JSON of a response."""


@dataclass(frozen=True, slots=True)
class Client:
    """A signed-in user of a gateway."""

    running: Running
    token: str

    @property
    def _headers(self) -> dict[str, str]:
        return {"authorization": f"Bearer {self.token}"}

    async def sent(self, method: str, path: str, body: Any = None) -> tuple[int, bytes]:
        """Send a request below `/noetl`; `path` is that below `/api` of the server. Return status and body."""
        data = {} if body is None else {"json": body}
        url = URL(f"{self.running.url}/noetl{path}", encoded=True)
        async with self.running.client.request(method, url, headers=self._headers, **data) as response:
            return response.status, await response.read()

    async def relay(self, method: str, path: str, body: Any = None) -> Found:
        """Send the same; the body of the response is JSON, or None stands for it."""
        status, data = await self.sent(method, path, body)
        try:
            return status, json.loads(data) if data else None
        except ValueError:
            return status, None

    async def proxied(self, method: str, path: str, body: Any = None) -> Found:
        """Send the same request by `proxyRequest`; the status is that of the error if there is one."""
        answer = await self.graphql(PROXY, m=method, e=f"/api{path}", b=body)
        if answer.get("errors"):
            return answer["errors"][0]["extensions"]["status"], None
        found = answer["data"]["proxyRequest"]
        return found["status"], found["data"]

    async def graphql(self, query: str, **variables: Any) -> dict[str, Any]:
        """Run a document, and return the whole response."""
        sent = {"query": query, "variables": variables}
        async with self.running.client.post(
            f"{self.running.url}/graphql", json=sent, headers=self._headers
        ) as response:
            found: dict[str, Any] = await response.json()
            return found

    async def data(self, query: str, **variables: Any) -> Any:
        """Run a document that has no errors, and return its one root field."""
        answer = await self.graphql(query, **variables)
        assert "errors" not in answer, answer
        (value,) = answer["data"].values()
        return value


@asynccontextmanager
async def shipped_gateway(upstream: str, *, fast: bool, bridge: bool = True) -> AsyncIterator[dict[str, Client]]:
    """Clients of a gateway in front of `upstream`, by role; `fast`: with the fast path, `bridge`: with the bridge."""
    with tempfile.TemporaryDirectory(prefix="noetl-edge-contract-") as name:
        folder, port = Path(name), free_port()
        environ = {
            "GATEWAY_PUBLIC_URL": f"http://127.0.0.1:{port}",
            "NOETL_BASE_URL": upstream,
            "AUTH0_DOMAIN": "localhost",
            "AUTH0_ISSUER": "http://localhost:1/",
            "NOETL_EDGE_SESSIONS": str(folder / "sessions"),
            "NOETL_EDGE_AUDIT": str(folder / "audit.log"),
        }
        text = (ROOT / "gateway.yaml").read_text("utf-8")
        if not bridge:
            text = text.replace("upstreams:\n  noetl:\n", "upstreams:\n  noetl:\n    bridge: false\n")
            assert "bridge: false" in text
        async with gateway_running(folder, text, fast=fast, log=KeptLog(), environ=environ, at=port) as running:
            tokens = {role: await running.session(f"{name}@example.com") for role, name in USERS.items()}
            yield {role: Client(running, token) for role, token in tokens.items()}
