"""One request at two gateways, with the fast path and without, and all that can be seen of how each served it."""

from __future__ import annotations

import asyncio
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from aiohttp import web

from proxy.observe.access import AccessLine
from proxy.sessions.store import SessionStore
from tests.integration.harness import PATIENCE, KeptLog, Running, Upstream, behind_gateway, reset

MORE = """
corsAllowedOrigins: ["http://ours.test"]
sessions: {cookie: {enabled: true}}
graphql: {max_body_size: 8KiB, suggestions: false}
"""
TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
RUNNING, ENDED, BROKEN, ODD = "100", "200", "500", "600"
STATUS: dict[str, Any] = {
    "current_step": "transform", "completed_steps": ["start", "read"], "failed": False, "completed": False,
    "variables": {"a": [1, None], "é": "ü"}, "start_time": "2026-01-05T10:15:30Z", "end_time": None,
    "duration_seconds": 12.5,
}  # fmt: skip


async def noetl(request: web.BaseRequest) -> web.StreamResponse:
    """A NoETL server, as far as these requests need one."""
    path, method = request.path, request.method
    await request.read()
    execution_id = path.split("/")[3] if path.startswith("/api/executions/") else ""
    if execution_id == BROKEN:
        return web.Response(status=500, text="not JSON")
    if execution_id and execution_id not in (RUNNING, ENDED, ODD):
        return web.json_response({"detail": "Execution not found"}, status=404)
    if path.endswith("/status"):
        variables = {"variables": "\ud800"} if execution_id == ODD else {}
        return web.json_response({**STATUS, **variables, "completed": execution_id == ENDED})
    if path.endswith("/cancel"):
        return web.json_response({"status": "cancelled"})
    if execution_id:
        playbook = "team/flow" if execution_id != ENDED else "secret/flow"
        return web.json_response({"path": playbook, "status": "COMPLETED", "result": {"ok": 1}, "workload": {"b": 2}})
    if path == "/api/execute":
        return web.json_response({"execution_id": int(RUNNING), "status": "started"})
    if path == "/api/catalog/list":
        return web.json_response({"entries": [{"path": "b", "catalog_id": 1}, {"path": "a", "catalog_id": 2}]})
    if path == "/api/catalog/resource":
        wanted = await request.json()
        catalog_id = wanted.get("catalog_id", "1")
        path = wanted.get("path") or {"1": "b", "2": "a"}.get(catalog_id, "c")
        return web.json_response({"path": path, "catalog_id": catalog_id, "version": 3})
    return web.json_response({"method": method, "body": (await request.read()).decode()})


@dataclass(frozen=True)
class Ask:
    """A request. `fields` may use TOKEN; `fast`: the fast path serves it once a connection upstream is kept."""

    name: str
    method: str = "POST"
    target: str = "/graphql"
    body: str = ""
    fields: tuple[str, ...] = ("authorization: Bearer TOKEN", "content-type: application/json")
    fast: bool = True
    email: str = "anna@staff.test"

    def bytes(self, token: str) -> bytes:
        """As it is sent."""
        lines = [f"{self.method} {self.target} HTTP/1.1", "host: gateway.test", *self.fields]
        data = self.body.replace("TOKEN", token).encode()
        if not any(line.lower().startswith(("content-length", "transfer-encoding")) for line in lines):
            lines += [f"content-length: {len(data)}"] if data or self.method == "POST" else []
        return "\r\n".join([*lines, "", ""]).replace("TOKEN", token).encode() + data


@dataclass
class Seen:
    """What came back, , each without what differs by nature."""

    answers: list[tuple[str, list[str], bytes]] = field(default_factory=list)
    upstream: list[tuple[str, str, list[tuple[str, str]], bytes]] = field(default_factory=list)
    logged: list[tuple[Any, ...]] = field(default_factory=list)
    fast: list[bool] = field(default_factory=list)


class _Log(KeptLog):
    def __init__(self, seen: Seen) -> None:
        super().__init__()
        self._seen = seen

    def write(self, line: AccessLine) -> None:
        self._seen.logged.append(
            (line.method, line.path, line.route, line.status, line.user_id, line.ip, line.detail, len(line.request_id))
        )


@asynccontextmanager
async def one_transport(
    folder: Path, *, fast: bool, more: str = MORE, store: SessionStore | None = None
) -> AsyncIterator[tuple[Running, Upstream, Seen]]:
    """A gateway with the fast path or without."""
    seen = Seen()
    async with behind_gateway(folder, more=more, fast=fast, log=_Log(seen), store=store) as (gateway, upstream):
        upstream.answer = noetl
        yield gateway, upstream, seen


async def served(
    folder: Path, ask: Ask, *, fast: bool, times: int = 4, more: str = MORE, store: SessionStore | None = None
) -> Seen:
    """Ask some times on one connection, as far as it is kept: first parsed, in the end known by its bytes."""
    async with one_transport(folder, fast=fast, more=more, store=store) as (gateway, upstream, seen):
        token = await gateway.session(ask.email)
        warm = Ask("warm", "GET", "/noetl/warm", fields=("authorization: Bearer TOKEN",))
        line = CountedLine(gateway, seen.fast)
        await line.ask(warm.bytes(await gateway.session()))
        seen.fast.clear()
        for _ in range(times):
            upstream.seen.clear()
            first, fields, body = await line.ask(ask.bytes(token), head_only=ask.method == "HEAD")
            seen.answers.append((first, sorted(filter(_is_stable, fields)), _stable(body)))
            seen.upstream += [await _sent(request) for request in upstream.seen]
        line.close()
        return seen


class Line:
    """A client's connection; a new one where the gateway has closed the last."""

    def __init__(self, port: int) -> None:
        self._port = port
        self._writer: asyncio.StreamWriter | None = None

    async def ask(self, request: bytes, *, head_only: bool = False) -> tuple[str, list[str], bytes]:
        """An answer's first line, its fields, and its body."""
        if self._writer is None:
            self._reader, self._writer = await asyncio.open_connection("127.0.0.1", self._port)
        self._writer.write(request)
        async with asyncio.timeout(PATIENCE):
            first, *fields = (await self._reader.readuntil(b"\r\n\r\n")).decode("latin-1").strip().split("\r\n")
            length = next((int(f.partition(":")[2]) for f in fields if f.lower().startswith("content-length")), 0)
            body = b"" if head_only else await self._reader.readexactly(length)
            if any(field.lower() == "connection: close" for field in fields):
                assert await self._reader.read() == b""
                self.close()
        return first, fields, body

    def close(self) -> None:
        """Hang up."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def reset(self) -> None:
        """Reset the connection."""
        assert self._writer is not None
        reset(self._writer)
        self._writer = None


class CountedLine(Line):
    """A client's connection that notes for each request whether the fast path served it."""

    def __init__(self, gateway: Running, fast: list[bool]) -> None:
        super().__init__(gateway.port)
        self._gateway = gateway
        self._fast = fast

    async def ask(self, request: bytes, *, head_only: bool = False) -> tuple[str, list[str], bytes]:
        """As in `Line`."""
        before = self._gateway.served_fast
        answer = await super().ask(request, head_only=head_only)
        self._fast.append(self._gateway.served_fast > before)
        return answer


def _is_stable(line: str) -> bool:
    return not line.lower().startswith(("date:", "x-request-id:"))


def _stable(body: bytes) -> bytes:
    try:
        document = json.loads(body)
    except ValueError:
        return body
    if isinstance(document, dict) and "request_id" in document:
        return str(document["error"]).encode()
    return re.sub(rb'"expires_at":"[^"]*"', b"", body)


def fields_given(fields: list[tuple[str, str]]) -> bool:
    """Whether the trace is the client's; one that was made differs each time."""
    return any(name == "traceparent" and value == TRACE for name, value in fields)


async def _sent(request: web.BaseRequest) -> tuple[str, str, list[tuple[str, str]], bytes]:
    fields = [(name.lower(), value) for name, value in request.headers.items()]
    differing = {"host", "x-request-id"}
    if not fields_given(fields):
        differing.add("traceparent")
    kept = sorted((name, "" if name in differing else value) for name, value in fields)
    return request.method, request.path_qs, kept, await request.read()
