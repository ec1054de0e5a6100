"""What follows a request on its connection, on both transports: malformed bytes, other requests, the end of sending."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from structlog.testing import capture_logs

from tests.integration.harness import PATIENCE, TRANSPORTS, eventually, reset
from tests.integration.raw import Behind, Wire, behind_recorder

GARBAGE = b"\x16\x03\x01 garbage\r\n\r\n"
JSON = "content-type: application/json"
CHUNKED = "transfer-encoding: chunked"
SERVED: dict[str, tuple[int, str, str, bytes | None, bool]] = {
    "relay": (200, "GET", "/noetl/x", None, True),
    "relay with a body": (200, "POST", "/noetl/x", b'{"a": 1}', True),
    "me": (200, "GET", "/api/auth/me", None, True),
    "validate": (200, "POST", "/api/auth/validate", b"{}", True),
    "graphql": (200, "POST", "/graphql", b'{"query": "{ version }"}', True),
    "health": (200, "GET", "/health", None, False),
    "401": (401, "GET", "/api/auth/me", None, False),
    "404": (404, "GET", "/nope", None, False),
}
SERVED_CASES = pytest.mark.parametrize("case", SERVED.values(), ids=SERVED)
KNOWN = pytest.mark.parametrize("known", [False, True], ids=["new field block", "known field block"])


async def prepared(behind: Behind, case: tuple[int, str, str, bytes | None, bool], *, known: bool) -> bytes:
    """Return a request's bytes; its field block was seen before if it is to be known."""
    _, method, target, body, bearer = case
    data = behind.request(target, JSON, "x-known: 1" if known else "x-new: 1", method=method, body=body, bearer=bearer)
    await behind.warm()
    if known:
        for _ in range(2):
            await behind.ask(data)
    behind.lines.clear()
    behind.upstream.clear()
    return data


@TRANSPORTS
@SERVED_CASES
@KNOWN
async def test_request_with_garbage_behind_it_is_answered_then_the_garbage_is_400(
    tmp_path: Path, fast: bool, case: tuple[int, str, str, bytes | None, bool], known: bool
) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        data = await prepared(behind, case, known=known)
        wire = await behind.open()
        got = await wire.ask(data + GARBAGE)
        assert (got.status, got.closes) == (case[0], False)
        refused = await wire.response()
        assert (refused.status, refused.closes) == (400, True)
        assert await wire.rest() == b""
        wire.close()
        assert [(line.status, line.path) for line in behind.lines] == [(case[0], case[2])]
        assert behind.gateway.serving.limits.malformed == 1


@TRANSPORTS
@SERVED_CASES
@KNOWN
async def test_closing_request_with_garbage_behind_it_is_answered_and_nothing_else(
    tmp_path: Path, fast: bool, case: tuple[int, str, str, bytes | None, bool], known: bool
) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        data = await prepared(behind, case, known=known)
        wire = await behind.open()
        got = await wire.ask(data.replace(b"\r\n", b"\r\nconnection: close\r\n", 1) + GARBAGE)
        assert (got.status, got.closes) == (case[0], True)
        assert await wire.rest() == b""
        wire.close()
        assert [line.status for line in behind.lines] == [case[0]]


@TRANSPORTS
async def test_each_of_several_requests_in_front_of_garbage_is_answered(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        requests = [
            behind.request("/noetl/1", method="POST", body=b"abc"),
            b"\r\n" + behind.request("/api/auth/me"),
            behind.request("/noetl/2", JSON, "upgrade: h2c", "connection: upgrade", method="POST", body=b"{}"),
            behind.request("/health", bearer=False),
        ]
        wire = await behind.open()
        wire.writer.write(b"".join(requests) + GARBAGE)
        assert [(await wire.response()).status for _ in range(5)] == [200, 200, 200, 200, 400]
        assert await wire.rest() == b""
        wire.close()
        assert [line.path for line in behind.lines] == ["/noetl/1", "/api/auth/me", "/noetl/2", "/health"]


@TRANSPORTS
@pytest.mark.parametrize("size", [10, 300_000], ids=["small", "large"])
async def test_request_behind_the_rest_of_a_body_is_answered_in_front_of_garbage(
    tmp_path: Path, fast: bool, size: int
) -> None:
    """The rest of the body, a request and the garbage arrive together."""
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        wire = await behind.open()
        head = behind.request("/noetl/x", f"content-length: {size}", method="POST")
        await wire.send(head + b"a")
        await eventually(lambda: behind.gateway.server.in_flight == 1)
        wire.writer.write(b"a" * (size - 1) + behind.request("/health", bearer=False) + GARBAGE)
        assert [(await wire.response()).status for _ in range(3)] == [200, 200, 400]
        wire.close()
        assert [line.path for line in behind.lines] == ["/noetl/x", "/health"]
        assert [len(arrived.body) for arrived in behind.upstream.arrived] == [size]


@TRANSPORTS
@pytest.mark.parametrize("cut", [0, -1, -10, -23], ids=["whole", "last byte", "within the body", "within the head"])
async def test_body_of_a_request_for_a_websocket_is_never_a_request(tmp_path: Path, fast: bool, cut: int) -> None:
    """Where nobody serves WebSockets the upgrade is ignored; the body is the request's, and the connection closes."""
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        body = b"GET /noetl/y HTTP/1.1"
        data = behind.request("/noetl/x", "connection: upgrade", "upgrade: websocket", method="POST", body=body)
        wire = await behind.open()
        if cut:
            await wire.send(data[:cut])
            await asyncio.sleep(0.02)
        wire.writer.write((data[cut:] if cut else data) + behind.request("/noetl/z"))
        assert (await wire.response()).closes
        assert await wire.rest() == b""
        wire.close()
        assert [line.path for line in behind.lines] == ["/noetl/x"]


MALFORMED_BODIES: dict[str, tuple[str, str, bytes, bool]] = {
    "relay": ("POST", "/noetl/x", b"ZZ\r\n", True),
    "second chunk": ("POST", "/noetl/x", b"1\r\na\r\nZZ\r\n", True),
    "without a session": ("POST", "/noetl/x", b"ZZ\r\n", False),
    "login": ("POST", "/api/auth/login", b"ZZ\r\n", False),
    "graphql": ("POST", "/graphql", b"ZZ\r\n", True),
    "endpoint that ignores its body": ("GET", "/health", b"ZZ\r\n", False),
    "unknown path": ("POST", "/nope", b"ZZ\r\n", False),
}


@TRANSPORTS
@pytest.mark.parametrize("cut", [0, 1, 2, 3, 4])
@pytest.mark.parametrize("case", MALFORMED_BODIES.values(), ids=MALFORMED_BODIES)
async def test_malformed_first_chunk_is_400_with_an_access_line(
    tmp_path: Path,
    fast: bool,
    case: tuple[str, str, bytes, bool],
    cut: int,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """It arrives with the head, or with the last bytes of the head."""
    method, target, body, bearer = case
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        head = behind.request(target, JSON, CHUNKED, method=method, bearer=bearer)
        wire = await behind.open()
        if cut:
            await wire.send(head[:-cut])
            await eventually(lambda: behind.gateway.serving.limits.open >= 1)
            await asyncio.sleep(0.02)
        got = await wire.ask(head[len(head) - cut :] + body if cut else head + body)
        assert (got.status, got.closes) == (400, True)
        assert await wire.rest() == b""
        wire.close()
        await eventually(lambda: len(behind.lines) == 1)
        assert [(line.status, line.path) for line in behind.lines] == [(400, target)]
        assert behind.gateway.serving.limits.malformed == 1
        assert behind.upstream.arrived == []
    assert "Unhandled exception" not in caplog.text


@TRANSPORTS
async def test_garbage_behind_a_chunked_body_does_not_affect_its_request(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        wire = await behind.open()
        got = await wire.ask(behind.request("/noetl/x", CHUNKED, method="POST") + b"1\r\na\r\n0\r\n\r\n" + GARBAGE)
        assert (got.status, got.closes) == (200, True)
        assert await wire.rest() == b""
        wire.close()
        assert [line.status for line in behind.lines] == [200]
        assert [arrived.body for arrived in behind.upstream.arrived] == [b"a"]


@TRANSPORTS
async def test_request_behind_a_refused_body_is_not_served(tmp_path: Path, fast: bool) -> None:
    """The response says `connection: close` while the body is still coming; what follows the body is no request."""
    size = 2 * 1024**2
    more = "routes: [{path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}', max_body_size: 1KiB}]\n"
    async with behind_recorder(tmp_path, fast=fast, more=more) as behind:
        await behind.warm()
        wire = await behind.open()
        got = await wire.ask(behind.request("/noetl/x", f"content-length: {size}", method="POST"))
        assert (got.status, got.closes) == (413, True)
        with suppress(ConnectionError):
            await wire.send(b"a" * size + behind.request("/noetl/y"))
        assert await wire.rest() == b""
        wire.close()
        assert [line.path for line in behind.lines] == ["/noetl/x"]
        assert behind.upstream.arrived == []


@TRANSPORTS
async def test_more_than_is_held_behind_a_request_is_served_in_order(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        requests = [behind.request(f"/noetl/{number}", method="POST", body=b"a" * 9000) for number in range(100)]
        wire = await behind.open()
        wire.writer.write(b"".join(requests))
        assert [(await wire.response()).status for _ in requests] == [200] * len(requests)
        wire.close()
        assert [line.path for line in behind.lines] == [f"/noetl/{number}" for number in range(100)]


# The end of sending


@asynccontextmanager
async def slow_upstream() -> AsyncIterator[tuple[int, asyncio.Event, asyncio.Event]]:
    """An upstream that answers when the second event is set; the first is set when a request has arrived."""
    arrived, release = asyncio.Event(), asyncio.Event()

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with suppress(ConnectionError):
            while head := await reader.read(65536):
                if b" /api/warm " not in head:
                    arrived.set()
                    await release.wait()
                writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}")
        writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    try:
        yield server.sockets[0].getsockname()[1], arrived, release
    finally:
        server.close()


@TRANSPORTS
@pytest.mark.parametrize("known", [False, True])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_client_that_ends_sending_while_the_upstream_works_has_left(
    tmp_path: Path, fast: bool, known: bool, method: str
) -> None:
    async with slow_upstream() as (port, arrived, release):
        more = f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{port}']}}}}\n"
        async with behind_recorder(tmp_path, fast=fast, more=more) as behind:
            await behind.ask(behind.request("/noetl/warm", method=method, body=b"{}" if method == "POST" else None))
            wire = await behind.open()
            fields = [] if known else ["x-new: 1"]
            data = behind.request("/noetl/x", *fields, method=method, body=b"{}" if method == "POST" else None)
            await wire.send(data)
            async with asyncio.timeout(PATIENCE):
                await arrived.wait()
            wire.finish()
            assert await wire.rest() == b""
            await eventually(lambda: len(behind.lines) == 2)
            assert [(line.status, line.detail) for line in behind.lines[1:]] == [(499, "the client left")]
            release.set()
            wire.close()


SIGNED_IN = b"POST /noetl/x HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer TOKEN\r\n"
INCOMPLETE: dict[str, tuple[bytes, list[int]]] = {
    "nothing": (b"", []),
    "part of a head": (SIGNED_IN, []),
    "part of a body": (SIGNED_IN + b"content-length: 9\r\n\r\nab", [499]),
    "part of chunks": (SIGNED_IN + b"transfer-encoding: chunked\r\n\r\n2\r\n", [499]),
}


@TRANSPORTS
@pytest.mark.parametrize("case", INCOMPLETE.values(), ids=INCOMPLETE)
async def test_client_that_ends_sending_within_a_request_is_disconnected_at_once(
    tmp_path: Path, fast: bool, case: tuple[bytes, list[int]]
) -> None:
    data, statuses = case
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        wire: Wire = await behind.open()
        data = data.replace(b"TOKEN", behind.token.encode())
        wire.writer.write(data)
        wire.finish()
        assert await wire.rest() == b""
        wire.close()
        await asyncio.sleep(0.05)
        found = [line.status for line in behind.lines]
        assert found in ([], statuses)
        assert behind.upstream.arrived == []


@TRANSPORTS
async def test_event_stream_ends_if_its_client_ends_sending(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        head = b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
        behind.upstream.answer = head + b"9\r\ndata: 1\n\n\r\n"
        wire = await behind.open()
        await wire.send(behind.request("/noetl/events"))
        async with asyncio.timeout(PATIENCE):
            await wire.reader.readuntil(b"data: 1\n\n")
        wire.finish()
        assert b"data" not in await wire.rest()
        wire.close()
        await eventually(lambda: len(behind.lines) == 1)
        assert behind.lines[0].detail == "the client left"
        drain = behind.gateway.server.gateway.drain
        await eventually(lambda: drain.streams == 0)


@TRANSPORTS
async def test_upload_in_progress_is_completed_while_draining(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        serving = behind.gateway.serving
        wire = await behind.open()
        await wire.send(behind.request("/noetl/x", "content-length: 100000", method="POST") + b"a")
        await eventually(lambda: behind.gateway.server.in_flight == 1)
        serving.stop_listening()
        finishing = asyncio.create_task(serving.finish(PATIENCE, keep_idle=False))
        await asyncio.sleep(0.05)
        await wire.send(b"a" * 99_999)
        got = await wire.response()
        assert (got.status, got.closes) == (200, True)
        assert await wire.rest() == b""
        wire.close()
        await finishing
        assert [len(arrived.body) for arrived in behind.upstream.arrived] == [100_000]


@TRANSPORTS
@pytest.mark.parametrize("path", ["/api/auth/login", "/graphql", "/noetl/execute"])
@pytest.mark.parametrize("pause", [0.0, 0.02])
async def test_client_that_leaves_within_its_body_is_no_error(
    tmp_path: Path, fast: bool, path: str, pause: float
) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        with capture_logs() as logged:
            for _ in range(10):
                wire = await behind.open()
                wire.writer.write(behind.request(path, JSON, "content-length: 50", method="POST") + b"{")
                await asyncio.sleep(pause)
                reset(wire.writer)
            await eventually(lambda: len(behind.lines) == 10)
        assert {(line.status, line.detail) for line in behind.lines} == {(499, "the client left")}
        assert [line for line in logged if line["log_level"] == "error"] == []


@TRANSPORTS
async def test_time_upstream_of_an_operation_counts_though_its_client_leaves(tmp_path: Path, fast: bool) -> None:
    async with slow_upstream() as (port, arrived, release):
        more = f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{port}']}}}}\n"
        async with behind_recorder(tmp_path, fast=fast, more=more) as behind:
            body = b'{"query": "{ playbook(name: \\"a\\") { name } }"}'
            for _ in range(2):  # the fast path serves documents that it knows
                behind.lines.clear()
                arrived.clear()
                wire = await behind.open()
                await wire.send(behind.request("/graphql", JSON, method="POST", body=body))
                async with asyncio.timeout(PATIENCE):
                    await arrived.wait()
                await asyncio.sleep(0.05)
                wire.finish()
                await eventually(lambda: len(behind.lines) == 1)
                wire.close()
            release.set()
            assert behind.lines[0].status == 499
            assert behind.lines[0].upstream_ms >= 40


@TRANSPORTS
async def test_line_of_a_request_over_a_users_limit_names_the_user(tmp_path: Path, fast: bool) -> None:
    more = "rate_limits: {few: {limit: 1/hour, burst: 1, key: user}}\n"
    routes = "routes: [{path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}', rate_limit: few}]\n"
    async with behind_recorder(tmp_path, fast=fast, more=more + routes) as behind:
        for _ in range(3):
            await behind.ask(behind.request("/noetl/x"))
        assert [line.status for line in behind.lines] == [200, 429, 429]
        assert len({line.user_id for line in behind.lines}) == 1
        assert behind.lines[0].user_id is not None
