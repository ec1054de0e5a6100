"""Connections behind odd requests, on both transports: what follows an early response, upgrades, versions, leaving."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable
from contextlib import suppress
from pathlib import Path

import pytest

from proxy.observe.exposition import exposition
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import Session, StoreError
from tests.attack.recorder import Arrived
from tests.integration.harness import PATIENCE, STREAMING, TRANSPORTS, eventually
from tests.integration.raw import Behind, Got, Wire, behind_recorder

LENGTH = 120_000
QUICK = "limits: {header_timeout: 200ms, body_timeout: 5s}"
LIMITED = """
rate_limits: {api: {limit: 1/hour, burst: 1, key: ip}}
routes:
  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}', max_body_size: 1KiB}
  - {path: '/limited/{path:**}', upstream: noetl, rewrite: '/api/{path}', rate_limit: api}
  - {path: /graphql, handler: graphql}
  - {path: /health, handler: health}
  - {path: /me, handler: auth.me, methods: [GET]}
"""
JSON = "content-type: application/json"
EARLY: dict[str, tuple[int, str, str, list[str], bool]] = {
    "401": (401, "POST", "/noetl/x", [], False),
    "404": (404, "POST", "/nope", [], True),
    "405": (405, "POST", "/health", [], True),
    "413": (413, "POST", "/noetl/x", [], True),
    "415": (415, "POST", "/graphql", ["content-type: text/plain"], True),
    "401 of graphql": (401, "POST", "/graphql", [JSON], False),
    "an endpoint that ignores its body": (200, "GET", "/me", [], True),
}


async def sent_slowly(wire: Wire, body: bytes, pause: float, pieces: int = 12) -> None:
    """Send a body in pieces with pauses between them: the client is slow, nothing is waited for."""
    size = -(-len(body) // pieces)
    for start in range(0, len(body), size):
        with suppress(ConnectionError):
            await wire.send(body[start : start + size])
        await asyncio.sleep(pause)


async def early_then_health(behind: Behind, head: bytes, *, pause: float) -> tuple[Got, Got | bytes]:
    """Send a request whose response comes early, the rest of its body, and a request that follows it.

    Returns the response, and the following one, or what else came before the gateway closed.
    """
    wire = await behind.open()
    try:
        got = await wire.ask(head)
        await sent_slowly(wire, b"x" * LENGTH, pause)
        if got.closes:
            return got, await wire.rest()
        return got, await wire.ask(behind.request("/health", "connection: close", bearer=False))
    finally:
        wire.close()


@TRANSPORTS
@pytest.mark.parametrize("case", EARLY.values(), ids=EARLY)
@pytest.mark.parametrize("pause", [0.0, 0.05], ids=["at once", "longer than header_timeout"])
async def test_rest_of_a_body_follows_its_early_response(
    tmp_path: Path, fast: bool, case: tuple[int, str, str, list[str], bool], pause: float
) -> None:
    status, method, target, fields, bearer = case
    async with behind_recorder(tmp_path, fast=fast, server=QUICK, more=LIMITED) as behind:
        await behind.warm()
        head = behind.request(target, *fields, f"content-length: {LENGTH}", method=method, bearer=bearer)
        got, after = await early_then_health(behind, head, pause=pause)
        assert got.status == status
        assert after == b"" if isinstance(after, bytes) else (after.status, after.body) == (200, b"ok")


@TRANSPORTS
async def test_rest_of_a_body_follows_a_429(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast, server=QUICK, more=LIMITED) as behind:
        await behind.ask(behind.request("/limited/x"))
        head = behind.request("/limited/x", f"content-length: {LENGTH}", method="POST")
        got, after = await early_then_health(behind, head, pause=0.05)
        assert got.status == 429
        assert after == b"" if isinstance(after, bytes) else (after.status, after.body) == (200, b"ok")


@TRANSPORTS
async def test_rest_of_a_body_follows_an_early_response_of_the_upstream(tmp_path: Path, fast: bool) -> None:
    """The upstream answers at the head and reads no body."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError, asyncio.IncompleteReadError):
            while True:
                await reader.readuntil(b"\r\n\r\n")
                writer.write(b"HTTP/1.1 409 Conflict\r\ncontent-length: 2\r\nconnection: close\r\n\r\nno")
                await reader.read()
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    more = f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{port}']}}}}\n"
    async with behind_recorder(tmp_path, fast=fast, server=QUICK, more=more) as behind:
        wire = await behind.open()
        await wire.send(behind.request("/noetl/x", f"content-length: {LENGTH}", method="POST") + b"x" * 70_000)
        got = await wire.response()
        assert (got.status, got.body) == (409, b"no")
        await sent_slowly(wire, b"x" * (LENGTH - 70_000), 0.03)
        if got.closes:
            assert await wire.rest() == b""
        else:
            assert (await wire.ask(behind.request("/health", bearer=False))).status == 200
        wire.close()
    server.close()


@TRANSPORTS
async def test_pieces_of_an_unknown_path_are_followed_by_health(tmp_path: Path, fast: bool) -> None:
    """`POST /nope` whole but in pieces with pauses, then `GET /health` on the same connection."""
    async with behind_recorder(tmp_path, fast=fast, server=QUICK) as behind:
        wire = await behind.open()
        await wire.send(behind.request("/nope", f"content-length: {LENGTH}", method="POST"))
        await sent_slowly(wire, b"x" * LENGTH, 0.05)
        with suppress(ConnectionError):
            await wire.send(behind.request("/health", "connection: close", bearer=False))
        first = await wire.response()
        assert first.status == 404
        rest = await wire.rest()
        assert rest == b"" if first.closes else rest.startswith(b"HTTP/1.1 200 OK\r\n")
        assert (b"431" in rest[:12], b"408" in rest[:12]) == (False, False)
        wire.close()


UPGRADES = {
    "h2c of Java's client": ["connection: Upgrade, HTTP2-Settings", "upgrade: h2c", "http2-settings: AAEAAEA"],
    "TLS": ["connection: upgrade", "upgrade: TLS/1.2"],
    "several": ["connection: upgrade", "upgrade: foo/1, bar"],
    "h2c without a connection option": ["upgrade: h2c"],
}  # fmt: skip
UPGRADED: dict[str, tuple[int, str, str, bytes | None]] = {
    "relay": (200, "GET", "/noetl/x", None),
    "relay with a body": (200, "POST", "/noetl/x", b"{}"),
    "execute": (200, "POST", "/noetl/execute", b'{"path": "team/flow"}'),
    "resource": (200, "POST", "/noetl/catalog/resource", b'{"path": "team/flow"}'),
    "rerun": (200, "POST", "/noetl/executions/7/rerun", b"{}"),
    "graphql": (200, "POST", "/graphql", b'{"query": "{ version }"}'),
    "validate": (200, "POST", "/api/auth/validate", b"{}"),
    "me": (200, "GET", "/api/auth/me", None),
    "health": (200, "GET", "/health", None),
    "nothing": (404, "GET", "/nope", None),
}


def noetl(arrived: Arrived) -> bytes | None:
    """What NoETL answers about an execution."""
    return b'{"path": "team/flow", "execution_id": "7", "status": "RUNNING", "workload": {}}'


@TRANSPORTS
@pytest.mark.parametrize("upgrade", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("case", UPGRADED.values(), ids=UPGRADED)
async def test_upgrade_to_anything_but_websocket_is_ignored(
    tmp_path: Path, fast: bool, upgrade: list[str], case: tuple[int, str, str, bytes | None]
) -> None:
    status, method, target, body = case
    async with behind_recorder(tmp_path, fast=fast) as behind:
        behind.upstream.says = noetl
        await behind.warm()
        wire = await behind.open()
        got = await wire.ask(behind.request(target, *upgrade, JSON, method=method, body=body))
        assert got.status == status
        if got.closes:
            assert await wire.rest() == b""
        else:
            assert (await wire.ask(behind.request("/health", bearer=False))).body == b"ok"
            assert (await wire.ask(behind.request(target, *upgrade, JSON, method=method, body=body))).status == status
        wire.close()
        names = {name for arrived in behind.upstream.arrived for name, _ in arrived.fields}
        assert names & {"upgrade", "connection", "http2-settings"} == set()
        assert behind.upstream.violations == []


WEBSOCKET = """
routes:
  - {path: '/ws/{path:**}', upstream: noetl, rewrite: '/api/{path}', websocket: true}
"""
HANDSHAKE = ["connection: upgrade", "upgrade: websocket", "sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ=="]


@TRANSPORTS
async def test_upgrade_in_http_1_0_is_ignored(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast, more=WEBSOCKET) as behind:
        await behind.warm("/ws/warm")
        request = behind.request("/ws/x", *HANDSHAKE, "sec-websocket-version: 13").replace(b"HTTP/1.1", b"HTTP/1.0")
        got = await behind.ask(request)
        assert (got.status, got.body) == (200, b"ok")
        (arrived,) = behind.upstream.arrived
        assert arrived.values("upgrade") == []


@TRANSPORTS
async def test_websocket_of_another_version_is_426_with_the_version_needed(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast, more=WEBSOCKET) as behind:
        await behind.warm("/ws/warm")
        got = await behind.ask(behind.request("/ws/x", *HANDSHAKE, "sec-websocket-version: 12"))
        assert (got.status, got.values("sec-websocket-version")) == (426, [b"13"])
        assert behind.upstream.arrived == []


class BreakableStore(MemoryStore):
    """A session store that can be broken."""

    broken = False

    async def get(self, key: bytes) -> Session | None:
        if self.broken:
            raise StoreError("broken by the test")
        return await super().get(key)

    def peek(self, key: bytes) -> Session | None:
        if self.broken:
            raise StoreError("broken by the test")
        return super().peek(key)


@TRANSPORTS
async def test_store_failure_closes_a_websocket_with_1011(
    tmp_path: Path, fast: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.relay.event_streams._POLL_SECONDS", 0.05)
    store = BreakableStore()
    async with behind_recorder(tmp_path, fast=fast, more=WEBSOCKET, store=store) as behind:
        behind.upstream.answer = (
            b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x02hi"
        )
        wire = await behind.open()
        await wire.send(behind.request("/ws/x", *HANDSHAKE, "sec-websocket-version: 13"))
        head = await wire.reader.readuntil(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 101 ")
        assert await wire.reader.readexactly(4) == b"\x81\x02hi"
        store.broken = True
        assert await wire.rest() == b"\x88\x02\x03\xf3"
        wire.close()
        await eventually(lambda: bool(behind.lines))
        assert [line.status for line in behind.lines] == [101]


@TRANSPORTS
async def test_store_failure_is_503_outside_of_tunnels(tmp_path: Path, fast: bool) -> None:
    store = BreakableStore()
    async with behind_recorder(tmp_path, fast=fast, store=store) as behind:
        await behind.warm()
        store.broken = True
        for target in ("/noetl/x", "/api/auth/me"):
            assert (await behind.ask(behind.request(target))).status == 503
        assert behind.upstream.arrived == []


Leave = Callable[[Behind, Wire], Awaitable[None]]
LEFT: dict[str, tuple[str, str, bytes | None]] = {
    "relay": ("GET", "/noetl/x", None),
    "relay with a body": ("POST", "/noetl/x", b"{}"),
    "execute": ("POST", "/noetl/execute", b'{"path": "team/flow"}'),
    "graphql": ("POST", "/graphql", b'{"query": "{ execution(id: 7) { status } }"}'),
}


@TRANSPORTS
@pytest.mark.parametrize("case", LEFT.values(), ids=LEFT)
@pytest.mark.parametrize("turns", [0, 1, 2, 3])
async def test_client_that_leaves_just_before_its_response_is_499(
    tmp_path: Path,
    fast: bool,
    case: tuple[str, str, bytes | None],
    turns: int,
    capsys: pytest.CaptureFixture[str],
) -> None:
    """The upstream's response and the end of the client's connection arrive within a few turns of the event loop."""
    method, target, body = case
    left = asyncio.Event()
    async with behind_recorder(tmp_path, fast=fast) as behind:
        behind.upstream.says = noetl
        await behind.warm()
        for _ in range(2):
            await behind.ask(behind.request(target, JSON, method=method, body=body))
        behind.lines.clear()
        wire = await behind.open()

        def leave(arrived: Arrived) -> bytes | None:
            connection = wire.writer.get_extra_info("socket")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\x00\x00\x00\x00\x00\x00\x00")
            _later(turns, wire.abort)
            left.set()
            return noetl(arrived)

        behind.upstream.says = leave
        await wire.send(behind.request(target, JSON, method=method, body=body))
        async with asyncio.timeout(PATIENCE):
            await left.wait()
        await eventually(lambda: len(behind.lines) == 1)
        assert behind.lines[0].status in (200, 499)
        if turns == 0:
            assert behind.lines[0].detail in ("", "the client left")
        assert (await behind.ask(behind.request("/health"))).status == 200
        assert [line.status for line in behind.lines if line.status >= 500] == []
        counters = exposition(behind.gateway.serving.process.measures.all(behind.gateway.server.gateway))
        assert b'status="5' not in counters
    assert "request.failed" not in "".join(capsys.readouterr())


def _later(turns: int, work: Callable[[], None]) -> None:
    loop = asyncio.get_running_loop()
    if turns:
        loop.call_soon(_later, turns - 1, work)
    else:
        work()


@pytest.mark.parametrize("case", LEFT.values(), ids=LEFT)
@TRANSPORTS
async def test_client_that_leaves_while_the_upstream_works_is_499(
    tmp_path: Path, fast: bool, case: tuple[str, str, bytes | None], capsys: pytest.CaptureFixture[str]
) -> None:
    method, target, body = case
    arrived_there, release = asyncio.Event(), asyncio.Event()

    async def hold(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while head := await reader.read(65536):
                if b" /api/warm " not in head:
                    arrived_there.set()
                    await release.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(hold, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    more = f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{port}']}}}}\n"
    async with behind_recorder(tmp_path, fast=fast, more=more) as behind:
        await behind.warm()
        wire = await behind.open()
        await wire.send(behind.request(target, JSON, method=method, body=body))
        async with asyncio.timeout(PATIENCE):
            await arrived_there.wait()
        wire.abort()
        await eventually(lambda: len(behind.lines) == 1)
        release.set()
        pool = behind.gateway.server.gateway.upstreams["noetl"].pool
        await eventually(lambda: pool.busy == 0)
        assert [(line.status, line.detail) for line in behind.lines] == [(499, "the client left")]
    server.close()
    assert "request.failed" not in "".join(capsys.readouterr())


async def test_client_that_leaves_before_a_response_of_our_own_is_499(tmp_path: Path) -> None:
    """The store answers a logout after the client has left."""

    class SlowStore(MemoryStore):
        async def end(self, key: bytes) -> bool:
            wire.abort()
            await eventually(lambda: behind.gateway.serving.limits.open == before)
            return await super().end(key)

    async with behind_recorder(tmp_path, fast=STREAMING, store=SlowStore()) as behind:
        before = behind.gateway.serving.limits.open
        wire = await behind.open()
        await wire.send(behind.request("/api/auth/logout", JSON, method="POST", body=b"{}"))
        await eventually(lambda: len(behind.lines) == 1)
        assert behind.lines[0].status == 499


PIPELINED: dict[str, tuple[int, str, str, bytes | None, bool]] = {
    "me": (200, "GET", "/api/auth/me", None, True),
    "401": (401, "GET", "/api/auth/me", None, False),
    "relay": (200, "GET", "/noetl/x", None, True),
    "validate": (200, "POST", "/api/auth/validate", b"{}", True),
    "health": (200, "GET", "/health", None, False),
}


@TRANSPORTS
@pytest.mark.parametrize("case", PIPELINED.values(), ids=PIPELINED)
async def test_many_pipelined_requests_are_answered_in_order(
    tmp_path: Path, fast: bool, case: tuple[int, str, str, bytes | None, bool]
) -> None:
    """More of them than the stack has room for."""
    status, method, target, body, bearer = case
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        requests = [
            behind.request(f"{target}?{number}", JSON, method=method, body=body, bearer=bearer) for number in range(400)
        ]
        for request in requests[:2]:
            assert (await behind.ask(request)).status == status
        behind.lines.clear()
        wire = await behind.open()
        wire.writer.write(b"".join(requests))
        assert [(await wire.response()).status for _ in requests] == [status] * len(requests)
        wire.close()
        assert [line.path for line in behind.lines] == [f"{target}?{number}" for number in range(400)]


@TRANSPORTS
@pytest.mark.parametrize("begun", [b"5\r\nabcde\r\n", b"5\r\nabcde", b"5\r\nabcde\r", b"5\r\nab", b""])
@pytest.mark.parametrize("path", ["/noetl/x", "/api/auth/login", "/graphql"])
async def test_body_that_turns_out_malformed_is_refused_at_once(
    tmp_path: Path, fast: bool, path: str, begun: bytes
) -> None:
    """The size of a later chunk is no number. The answer is 400, once, and the connection ends."""
    async with behind_recorder(tmp_path, fast=fast) as behind:
        wire = await behind.open()
        fields = ("transfer-encoding: chunked", "content-type: application/json")
        await wire.send(behind.request(path, *fields, method="POST") + begun)
        await eventually(lambda: behind.gateway.server.in_flight == 1)
        await asyncio.sleep(0.02)
        await wire.send(b"5\r\nabcde\r\n".removeprefix(begun) + b"ZZ\r\n")
        got = await wire.response()
        assert (got.status, got.closes) == (400, True)
        assert await wire.rest() == b""
        wire.close()


@TRANSPORTS
async def test_tunnel_to_another_protocol_is_a_bad_gateway(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast, more=WEBSOCKET) as behind:
        behind.upstream.answer = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: h2c\r\n\r\nhi"
        assert (await behind.ask(behind.request("/ws/x", *HANDSHAKE, "sec-websocket-version: 13"))).status == 502
