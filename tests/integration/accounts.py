"""A gateway with `provider: playbook`, before a NoETL server whose answers a test decides."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from proxy.sessions.store import SessionStore
from tests.integration.harness import RULES, Running, Upstream, gateway_running, upstream_running
from tests.unit.identity.test_tokens import claims, key_entries, token

ISSUER = "http://localhost:1/"
PLAYBOOKS = {
    "api_integration/auth0/auth0_login": "login",
    "api_integration/auth0/auth0_validate_session": "validate",
    "api_integration/auth0/check_playbook_access": "check_access",
}
ENDPOINTS = {
    "/api/auth/login": "login",
    "/api/auth/session/validate": "validate",
    "/api/auth/check-playbook-access": "check_access",
}
SESSION = "c0ffee" * 5 + "00"
USER = {"user_id": "7", "email": "anna@staff.test", "display_name": "Anna", "roles": "{admin,user}"}
LOGIN = {
    "status": "authenticated",
    "session_token": SESSION,
    "user": USER,
    "expires_at": "2099-01-01T00:00:00",
    "message": "Authentication successful",
}
VALID = {"valid": True, "user": USER, "expires_at": "2099-01-01T00:00:00"}


@dataclass
class Noetl:
    """The server. `in_process`: it signs users in itself; else playbooks do, which send `callbacks`.

    `answers` has the data of each call; `callbacks` the bodies that a playbook posts, without the id of the request,
    with the seconds before each; None: one with the answer, at once. `calls` are the calls with what they carried,
    `cancelled` the bodies of cancellations, `delivered` what the callbacks were answered.
    """

    in_process: bool = False
    status: int = 200
    answers: dict[str, Any] = field(default_factory=lambda: {
        "login": LOGIN, "validate": VALID, "check_access": {"allowed": True, "message": "Access granted"},
    })  # fmt: skip
    callbacks: list[tuple[float, Any]] | None = None
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)
    cancelled: list[dict[str, Any]] = field(default_factory=list)
    delivered: list[tuple[int, dict[str, Any]]] = field(default_factory=list)
    gateway_url: str = ""
    tasks: set[asyncio.Task[None]] = field(default_factory=set)

    def carried(self, call: str) -> list[dict[str, Any]]:
        """What the calls of a kind carried."""
        return [body for name, body in self.calls if name == call]

    async def answer(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer as a NoETL server does."""
        if request.path == "/jwks":
            return web.json_response({"keys": key_entries()})
        if request.path in ENDPOINTS:
            return await self._in_process(request)
        if request.path == "/api/execute":
            return await self._execute(await request.json())
        if request.path.endswith("/cancel"):
            self.cancelled.append(await request.json())
            return web.json_response({"status": "cancelled"})
        return web.json_response({"hello": "world"})

    async def _in_process(self, request: web.BaseRequest) -> web.StreamResponse:
        if not self.in_process:
            return web.json_response({"detail": "Not Found"}, status=404)
        call = ENDPOINTS[request.path]
        self.calls.append((call, await request.json()))
        data = self.answers[call]
        body = {"status": "ok", **data} if call == "validate" else {"status": "success", "data": data}
        return web.json_response(body if self.status == 200 else {"error": SESSION}, status=self.status)

    async def _execute(self, body: dict[str, Any]) -> web.StreamResponse:
        call = PLAYBOOKS.get(body["path"])
        if call is None:
            return web.json_response({"detail": "no such playbook"}, status=404)
        self.calls.append((call, body["workload"]))
        planned = self.callbacks
        if planned is None:
            planned = [(0.0, {"status": "success", "data": self.answers[call]})]
        self._keep(asyncio.create_task(self._call_back(body["workload"]["request_id"], planned)))
        return web.json_response({"execution_id": "549325390032929117", "status": "started"})

    def _keep(self, task: asyncio.Task[None]) -> None:
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)

    async def _call_back(self, request_id: str, planned: list[tuple[float, Any]]) -> None:
        for seconds, body in planned:
            await asyncio.sleep(seconds)
            await self.post(body if isinstance(body, bytes) else {"request_id": request_id, **body})

    async def post(self, body: Any) -> None:
        """Post a callback, on a connection of its own."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        headers = {"content-type": "application/json"}
        url = f"{self.gateway_url}/api/internal/callback"
        async with aiohttp.ClientSession() as client, client.post(url, data=data, headers=headers) as response:
            self.delivered.append((response.status, await response.json()))


def id_token(**changes: Any) -> str:
    """A token of the tenant's."""
    return token(claims(**{"iss": ISSUER, "email": "anna@staff.test", "email_verified": True, **changes}))


@asynccontextmanager
async def accounts(
    folder: Path,
    noetl: Noetl,
    *,
    auth: str = "timeout: 3s",
    sessions: str = "",
    tenant: str = "",
    more: str = "",
    fast: bool = True,
    store: SessionStore | None = None,
) -> AsyncIterator[tuple[Running, Upstream]]:
    """A gateway before this server; `auth` and `sessions` go into those blocks."""
    async with upstream_running() as upstream:
        upstream.answer = noetl.answer
        keys = f"http://localhost:{upstream.port}/jwks"
        one = f"{{domain: localhost, issuer: '{ISSUER}', audience: [web], jwks_url: '{keys}', {tenant}}}"
        text = (
            f"auth: {{provider: playbook, tenants: [{one}], playbooks: {{{auth}}}}}\nsessions: {{{sessions}}}\n"
            f"server: {{public_url: 'https://edge.test'}}\n"
            f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}\n{RULES}{more}"
        )
        async with gateway_running(folder, text, fast=fast, store=store) as gateway:
            noetl.gateway_url = gateway.url
            yield gateway, upstream
            for task in list(noetl.tasks):
                task.cancel()


async def sign_in(gateway: Running, given: str = "", **more: Any) -> tuple[int, dict[str, Any]]:
    """The status and the body of a login's response."""
    body = {"auth0_token": given or id_token(), **more}
    async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body) as response:
        return response.status, await response.json()


async def ask(gateway: Running, method: str, path: str, body: Any = None, session: str = SESSION) -> tuple[int, Any]:
    """The status and the body of a response."""
    headers = {"authorization": f"Bearer {session}"} if session else {}
    async with gateway.client.request(method, gateway.url + path, json=body, headers=headers) as response:
        return response.status, await response.json()
