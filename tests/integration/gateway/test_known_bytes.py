"""Requests whose very bytes were read before: what is remembered is what they say, never whose they are or what is
allowed."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest
from aiohttp import web

from proxy.observe.access import AccessLine, AccessLog
from proxy.server.dispatcher import field_block
from tests.integration.harness import PATIENCE, KeptLog, Running, Upstream, behind_gateway, hello
from tests.integration.transports import Line


@asynccontextmanager
async def remembered(
    folder: Path, *, log: AccessLog | None = None
) -> AsyncIterator[tuple[Running, Upstream, Line, bytes, str]]:
    """A gateway that knows the bytes of a request, the connection that they came on, the bytes, and their token."""
    async with behind_gateway(folder, log=log) as (gateway, upstream):
        token = await gateway.session()
        data = asking("/noetl/things", token)
        line = Line(gateway.port)
        for _ in range(4):
            assert (await line.ask(data))[0] == "HTTP/1.1 200 OK"
        assert known(gateway) == 1
        upstream.seen.clear()
        yield gateway, upstream, line, data, token
        line.close()


def asking(target: str, token: str) -> bytes:
    return f"GET {target} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer {token}\r\n\r\n".encode()


def known(gateway: Running) -> int:
    """How many field blocks are known by their bytes."""
    return len(gateway.server.known_fields)


async def pieces(port: int, *parts: bytes, source: str = "127.0.0.1") -> bytes:
    """What comes back for bytes that arrive in these pieces, until the gateway closes or is quiet."""
    reader, writer = await asyncio.open_connection("127.0.0.1", port, local_addr=(source, 0))
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    came = b""
    for part in parts:
        writer.write(part)
        came += await until_quiet(reader)
    writer.close()
    with suppress(ConnectionError):
        await writer.wait_closed()
    return came


async def until_quiet(reader: asyncio.StreamReader) -> bytes:
    """What comes until nothing has for a moment; the next piece is then one of its own."""
    came = b""
    with suppress(TimeoutError):
        while True:
            async with asyncio.timeout(0.1):
                part = await reader.read(65536)
            came += part
            if not part:
                break
    return came


async def test_bytes_that_came_before_are_not_parsed_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*arguments: object) -> None:
        raise AssertionError("parsed again")

    async with remembered(tmp_path) as (gateway, upstream, line, data, _):
        monkeypatch.setattr(gateway.server, "begin_parsed", fail)
        assert (await line.ask(data))[0] == "HTTP/1.1 200 OK"
        assert len(upstream.seen) == 1


async def test_an_ended_session_is_401_though_its_bytes_are_known(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, line, data, token):
        await gateway.client.post(f"{gateway.url}/api/auth/logout", json={"session_token": token})
        assert (await line.ask(data))[0] == "HTTP/1.1 401 Unauthorized"
        assert upstream.seen == []


async def test_a_session_that_has_run_out_is_401_though_its_bytes_are_known(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    async with remembered(tmp_path) as (_, upstream, line, data, _):
        monkeypatch.setattr("proxy.identity.local.time.time", lambda: 4e9)
        assert (await line.ask(data))[0] == "HTTP/1.1 401 Unauthorized"
        assert upstream.seen == []


async def test_known_bytes_are_logged_with_the_client_address(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, _, data, _):
        for address in ("127.0.0.2", "127.0.0.3"):
            await pieces(gateway.port, data, source=address)
        assert [request.headers["x-forwarded-for"] for request in upstream.seen] == ["127.0.0.2", "127.0.0.3"]


async def test_each_request_has_an_id_of_its_own(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (_, upstream, line, data, _):
        for _ in range(3):
            await line.ask(data)
        assert len({request.headers["x-request-id"] for request in upstream.seen}) == 3
        assert len({request.headers["traceparent"] for request in upstream.seen}) == 3


async def test_known_bytes_within_a_body_are_body(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, _, data, token):
        bodies = []

        async def answer(request: web.BaseRequest) -> web.StreamResponse:
            bodies.append(await request.read())
            return web.json_response({})

        upstream.answer = answer
        head = asking("/noetl/things", token).replace(b"GET", b"POST", 1)[:-2] + b"content-length: %d\r\n\r\n"
        came = await pieces(gateway.port, head % (2 * len(data)), data, data)
        assert bodies == [2 * data]
        assert came.count(b"HTTP/1.1 ") == 1


async def test_known_bytes_within_the_body_of_a_request_that_was_answered_early_are_body(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, _, data, _):
        head = b"POST /noetl/things HTTP/1.1\r\nhost: gateway.test\r\ncontent-length: %d\r\n\r\n"
        came = await pieces(gateway.port, head % (3 * len(data)), data, data, data)
        assert came.startswith(b"HTTP/1.1 401")
        assert came.count(b"HTTP/1.1 ") == 1
        assert upstream.seen == []


async def test_known_bytes_after_a_half_of_a_head_are_part_of_it(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, _, data, _):
        await pieces(gateway.port, b"GET /noetl/other HTTP/1.1\r\nx-a: ", data)
        assert [request.path for request in upstream.seen] == ["/api/other"]


async def test_known_bytes_after_a_blank_line_are_a_request(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, _, data, _):
        came = await pieces(gateway.port, b"\r\n", data)
        assert came.startswith(b"HTTP/1.1 200")
        assert len(upstream.seen) == 1


async def test_known_bytes_twice_in_one_piece_are_two_requests(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, _, data, _):
        came = await pieces(gateway.port, data + data)
        assert came.count(b"HTTP/1.1 200") == 2
        assert len(upstream.seen) == 2


async def test_requests_that_differ_in_their_target_share_one_entry(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, line, _, token):
        for number in range(20):
            await line.ask(asking(f"/noetl/things/{number}", token))
        assert known(gateway) == 1
        assert [request.path for request in upstream.seen] == [f"/api/things/{number}" for number in range(20)]


async def test_a_large_field_block_is_not_kept(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, _, line, _, token):
        large = asking("/noetl/things", token)[:-2] + b"x-large: " + b"a" * 5000 + b"\r\n\r\n"
        assert (await line.ask(large))[0] == "HTTP/1.1 200 OK"
        assert known(gateway) == 1


async def test_a_request_in_two_pieces_is_served_beside_known_bytes(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, _, data, _):
        async with asyncio.timeout(PATIENCE):
            came = await pieces(gateway.port, data[:30], data[30:], data)
        assert came.count(b"HTTP/1.1 200") == 2
        assert len(upstream.seen) == 2


async def test_known_bytes_within_a_head_are_part_of_it_whatever_the_body_before_it_looks_like(tmp_path: Path) -> None:
    """The second piece begins within the first head's blank line; the body's is where that would be, if all were one
    message."""
    async with remembered(tmp_path) as (gateway, upstream, _, data, token):
        begun = b"GET /noetl/other HTTP/1.1\r\nx-a: "
        body = b"x" * (len(begun) - 4) + b"\r\n\r\n"
        length = b"content-length: %d\r\n\r\n" % len(body)
        head = asking("/noetl/first", token).replace(b"GET", b"POST", 1)[:-2] + length
        await pieces(gateway.port, head[:-3], head[-3:] + body + begun, data)
        assert [request.path for request in upstream.seen] == ["/api/first", "/api/other"]


class _Hooked(KeptLog):
    """An access log that calls something for each line."""

    hook: Callable[[], None] | None = None

    def write(self, line: AccessLine) -> None:
        if self.hook is not None:
            self.hook()


async def test_known_bytes_behind_an_answer_that_closes_are_no_request(tmp_path: Path) -> None:
    """They are read after the response, before aiohttp's loop has heard of its end."""
    log = _Hooked()
    async with remembered(tmp_path, log=log) as (gateway, upstream, line, data, token):
        connection = gateway.serving.listener.connections[-1]

        def arrive() -> None:
            asyncio.get_running_loop().call_soon(connection.data_received, data)

        log.hook = arrive
        closing = asking("/noetl/executions/1", token).replace(b"\r\n\r\n", b"\r\nconnection: close\r\n\r\n")
        assert (await line.ask(closing))[0] == "HTTP/1.1 403 Forbidden"
        assert [request.path for request in upstream.seen] == ["/api/executions/1"]


async def test_a_known_request_that_the_fast_path_gives_up_is_sent_once_more_and_answered(tmp_path: Path) -> None:
    async with remembered(tmp_path) as (gateway, upstream, line, data, _):
        upstream_of = gateway.server.gateway.upstreams["noetl"]

        async def hang_up(request: web.BaseRequest) -> web.StreamResponse:
            upstream.answer = hello
            assert request.transport is not None
            request.transport.abort()
            return web.Response()

        upstream.answer = hang_up
        first, _, body = await line.ask(data)
        assert (first, len(upstream.seen), upstream_of.pool.busy) == ("HTTP/1.1 200 OK", 2, 0)
        assert body == b'{"hello": "world"}'
        for _ in range(3):
            assert (await line.ask(data))[0] == "HTTP/1.1 200 OK"
        assert len(upstream.seen) == 5


async def test_a_request_behind_a_blank_line_does_not_make_its_first_line_a_field(tmp_path: Path) -> None:
    async with behind_gateway(tmp_path) as (gateway, upstream):
        data = asking("/noetl/things", await gateway.session())
        assert b" 200 " in await pieces(gateway.port, b"\r\n" + data, b"\r\n" + data)
        assert known(gateway) == 0
        upstream.seen.clear()
        assert b" 400 " in await pieces(gateway.port, b"GET /noetl/things HTTP/1.1\r\n" + data)
        assert upstream.seen == []


@pytest.mark.parametrize(
    ("data", "fields", "block"),
    [
        (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", 1, b"host: a"),
        (b"GET / HTTP/1.1\r\nhost: a\r\nb: c\r\n\r\nbody\r\n\r\n", 2, b"host: a\r\nb: c"),
        (b"\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", 1, b""),
        (b"\r\n\r\nGET / HTTP/1.1\r\nhost: a\r\n\r\n", 1, b""),
        (b"GET / HTTP/1.1\nhost: a\r\nb: c\r\n\r\n", 2, b""),
        (b"GET / HTTP/1.1\r\n\r\n", 0, b""),
    ],
)
def test_a_field_block_is_the_lines_of_the_fields(data: bytes, fields: int, block: bytes) -> None:
    assert field_block(data, fields) == block
