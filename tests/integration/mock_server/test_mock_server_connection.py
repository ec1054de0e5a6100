"""Connections of a sandbox: framing, pipelining, limits, streamed bodies, slow and broken clients."""

from __future__ import annotations

import asyncio
import gc
import hashlib
import json
import logging
import socket
from contextlib import suppress

import httpx
import psutil
import pytest

from mock_server.sandbox import Control, Sandbox

from .conftest import BODY, LARGE, Client, Echo, Start, running


def parsed(data: bytes) -> tuple[str, dict[str, str], bytes]:
    """Return the status line, the header fields and the rest of a response."""
    head, _, rest = data.partition(b"\r\n\r\n")
    line, *lines = head.decode().split("\r\n")
    return line, dict(text.split(": ", 1) for text in lines), rest


async def test_response_has_date_server_type_and_length(start: Start) -> None:
    client = await start()
    line, headers, body = parsed(await client.raw(path="/x"))
    assert line == "HTTP/1.1 200 OK"
    assert set(headers) == {"date", "server", "content-length", "content-type", "connection"}
    assert headers["server"] == "echo/1"
    assert int(headers["content-length"]) == len(body)
    assert json.loads(body) == BODY


async def test_head_and_204_have_no_body(start: Start) -> None:
    client = await start()
    _, headers, body = parsed(await client.raw(b"HEAD /x HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n"))
    assert int(headers["content-length"]) > 10
    assert body == b""
    line, headers, body = parsed(await client.raw(path="/nothing"))
    assert line == "HTTP/1.1 204 No Content"
    assert "content-length" not in headers
    assert body == b""


async def test_pipelined_requests_are_answered_in_order_also_behind_a_slow_one(start: Start) -> None:
    client = await start()
    program = client.sandbox.program
    assert isinstance(program, Echo)
    requests = b"".join(f"GET /{path} HTTP/1.1\r\nhost: x\r\n\r\n".encode() for path in ["wait", "echo?a=1", "parts"])
    asyncio.get_running_loop().call_later(0.05, program.release.set)
    data = await client.raw(requests + b"GET /echo?a=2 HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n")
    places = [data.index(text) for text in (b'"waited"', b'"a":"1"', b"part 2", b'"a":"2"')]
    assert places == sorted(places)
    assert data.count(b"HTTP/1.1 200 OK") == 4


async def test_many_pipelined_requests_are_all_answered(start: Start) -> None:
    client = await start()
    program = client.sandbox.program
    assert isinstance(program, Echo)
    asyncio.get_running_loop().call_later(0.05, program.release.set)
    first = b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\n"
    data = await client.raw(
        first + b"GET /n HTTP/1.1\r\nhost: x\r\n\r\n" * 500 + b"GET /n HTTP/1.1\r\nconnection: close\r\n\r\n"
    )
    assert data.count(b"HTTP/1.1 200 OK") == 502


async def test_chunked_request_streamed_response_and_http_1_0(start: Start) -> None:
    client = await start()
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    _, _, body = parsed(await client.raw(head + b"3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"))
    assert json.loads(body)["body"] == "abcde"
    _, headers, body = parsed(await client.raw(path="/parts"))
    assert headers["transfer-encoding"] == "chunked"
    assert body == b"7\r\npart 0\n\r\n7\r\npart 1\n\r\n7\r\npart 2\n\r\n0\r\n\r\n"
    _, headers, body = parsed(await client.raw(b"GET /parts HTTP/1.0\r\n\r\n"))
    assert "transfer-encoding" not in headers
    assert body == b"part 0\npart 1\npart 2\n"


async def test_body_that_a_program_reads_itself_may_be_larger_than_memory_allows(start: Start) -> None:
    client = await start()
    part = bytes(range(256)) * 4096

    async def parts() -> object:
        for _ in range(24):
            yield part

    response = await client.http.post("/sum", content=parts())  # type: ignore[arg-type]
    expected = hashlib.sha256(part * 24).hexdigest()
    assert response.json() == {"length": 24 * len(part), "sha256": expected}


async def test_expect_100_continue_is_answered_before_the_body(start: Start) -> None:
    client = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port)
    writer.write(b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 2\r\nexpect: 100-continue\r\n\r\n")
    assert await reader.readuntil(b"\r\n\r\n") == b"HTTP/1.1 100 Continue\r\n\r\n"
    writer.write(b"hi")
    head = await reader.readuntil(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 200")
    writer.close()


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (b"NOT HTTP\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nbad header\r\n\r\n", 400),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 80_000, 431),
        (b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 11000000\r\n\r\n" + b"a" * 11_000_000, 413),
        (b"GET /fail HTTP/1.1\r\nconnection: close\r\n\r\n", 500),
    ],
)
async def test_refused_request_has_its_status_and_ends_the_connection(start: Start, data: bytes, status: int) -> None:
    client = await start()
    found = await client.raw(data)
    assert found.startswith(f"HTTP/1.1 {status} ".encode())
    assert b"a mistake" not in found
    assert (await client.http.get("/x")).status_code == 200


CHUNK = b"100000\r\n" + b"a" * 0x100000 + b"\r\n"


@pytest.mark.parametrize("framing", [b"transfer-encoding: chunked", b"content-length: 11000000"])
async def test_body_over_the_limit_is_413_before_its_end(start: Start, framing: bytes) -> None:
    client = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port)
    writer.write(b"POST /echo HTTP/1.1\r\nhost: x\r\n" + framing + b"\r\n\r\n")
    if b"chunked" in framing:
        writer.write(CHUNK * 11)
    async with asyncio.timeout(5):
        data = await reader.read()
    line, headers, _ = parsed(data)
    assert (line, headers["connection"]) == ("HTTP/1.1 413 Request Entity Too Large", "close")
    assert data.count(b"HTTP/1.1 ") == 1
    writer.close()


async def test_body_that_is_too_long_is_not_asked_for(start: Start) -> None:
    client = await start()
    head = b"POST /echo HTTP/1.1\r\nhost: x\r\ncontent-length: 11000000\r\nexpect: 100-continue\r\n\r\n"
    assert (await client.raw(head)).startswith(b"HTTP/1.1 413 ")


async def test_streamed_body_may_be_over_the_limit(start: Start) -> None:
    client = await start()
    head = b"POST /sum HTTP/1.1\r\nhost: x\r\nconnection: close\r\ntransfer-encoding: chunked\r\n\r\n"
    assert json.loads(parsed(await client.raw(head + CHUNK * 11 + b"0\r\n\r\n"))[2])["length"] == 11 * 0x100000


@pytest.mark.parametrize(
    ("refused", "status"),
    [
        (b"POST /echo HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n" + CHUNK * 11 + b"0\r\n\r\n", b"413"),
        (b"NOT HTTP\r\n\r\n", b"400"),
        (b"GET / HTTP/1.1\r\nx: " + b"a" * 400_000, b"431"),
    ],
)
async def test_refusal_comes_behind_the_responses_before_it(start: Start, refused: bytes, status: bytes) -> None:
    client = await start()
    program = client.sandbox.program
    assert isinstance(program, Echo)
    asyncio.get_running_loop().call_later(0.1, program.release.set)
    before = b"GET /wait HTTP/1.1\r\nhost: x\r\n\r\nGET /echo?a=1 HTTP/1.1\r\nhost: x\r\n\r\n"
    data = await client.raw(before + refused + b"GET /echo?a=2 HTTP/1.1\r\nhost: x\r\n\r\n")
    places = [data.index(text) for text in (b'"waited"', b'"a":"1"', b"HTTP/1.1 " + status)]
    assert places == sorted(places)
    assert data.count(b"HTTP/1.1 ") == 3


async def test_malformed_chunk_of_a_streamed_body_is_400(start: Start) -> None:
    client = await start()
    data = await client.raw(b"POST /sum HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\nno size\r\n")
    assert data.startswith(b"HTTP/1.1 400 ")
    assert (data.count(b"HTTP/1.1 "), data.endswith(b"TIMEOUT")) == (1, False)


async def test_request_behind_a_large_response_is_answered_once_it_is_read(start: Start) -> None:
    client = await start()
    data = await client.raw(
        b"GET /large HTTP/1.1\r\nhost: x\r\n\r\nGET /echo?a=1 HTTP/1.1\r\nconnection: close\r\n\r\n", timeout=5
    )
    assert data.endswith(b"}")
    assert len(data) > LARGE


async def test_client_that_leaves_does_not_disturb_others(start: Start) -> None:
    client = await start()
    for data in (b"GET /wait HTTP/1.1\r\n\r\n", b"POST /sum HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc", b"GET"):
        _, writer = await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port)
        writer.write(data)
        await writer.drain()
        await asyncio.sleep(0.02)
        writer.transport.abort()
    assert (await client.http.get("/x")).json() == BODY


@pytest.mark.parametrize("path", ["/sum", "/parts", "/large"])
async def test_client_that_leaves_within_a_body_leaves_no_line_in_the_log(
    start: Start, path: str, caplog: pytest.LogCaptureFixture
) -> None:
    client = await start()
    _, writer = await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port)
    writer.write(f"POST {path} HTTP/1.1\r\ncontent-length: {3 if path == '/large' else 9}\r\n\r\nabc".encode())
    await writer.drain()
    await asyncio.sleep(0.05)
    writer.transport.abort()
    assert (await client.http.get("/x")).json() == BODY
    await asyncio.sleep(0.05)
    gc.collect()  # a future whose exception nobody has seen is a line in the log
    assert [record for record in caplog.records if record.levelno > logging.DEBUG and record.name != "httpx"] == []


async def test_client_that_ends_its_side_within_a_body_gets_400(start: Start) -> None:
    client = await start()
    reader, writer = await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port)
    writer.write(b"POST /sum HTTP/1.1\r\ncontent-length: 9\r\n\r\nabc")
    writer.write_eof()
    assert (await reader.read()).startswith(b"HTTP/1.1 400 ")
    writer.close()


async def test_more_connections_than_allowed_are_closed(start: Start) -> None:
    client = await start()
    service = client.sandbox.listener.service
    service.limits = type(service.limits)(connections=2)
    idle = [await asyncio.open_connection("127.0.0.1", client.sandbox.listener.port) for _ in range(2)]
    await asyncio.sleep(0.1)
    assert len(service.open) == 2
    assert await client.raw(path="/x") in (b"", b"RESET")
    for _, writer in idle:
        writer.close()


async def test_without_rules_and_control_plane_the_program_is_called_directly(start: Start) -> None:
    client = await start(Control())
    assert client.sandbox.listener.service.handler == client.sandbox.program.respond
    assert (await client.http.get("/__admin/status")).json() == BODY


async def test_stop_lets_a_response_on_its_way_finish(start: Start) -> None:
    client = await start()
    program = client.sandbox.program
    assert isinstance(program, Echo)
    waiting = asyncio.create_task(Client.raw(client, path="/wait"))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(client.sandbox.stop())
    await asyncio.sleep(0.05)
    program.release.set()
    assert b'{"waited":true}' in await waiting
    await stopping


async def test_no_request_is_answered_before_the_program_is_prepared() -> None:
    program = Echo()
    sandbox = program.sandbox = Sandbox(program)
    seen: list[int] = []

    async def prepare() -> None:
        early = asyncio.create_task(Client.raw(Client(sandbox, httpx.AsyncClient()), path="/x"))
        await asyncio.sleep(0.1)
        seen.append(program.count)
        waiting.append(early)

    waiting: list[asyncio.Task[bytes]] = []
    await sandbox.start(prepare=prepare)
    assert (await waiting[0]).startswith(b"HTTP/1.1 200")
    assert (seen, program.count) == ([0], 1)
    await sandbox.stop()


async def test_memory_of_a_request_is_free_once_its_connection_is_closed(start: Start) -> None:
    client = await start(Control())
    before = psutil.Process().memory_info().rss
    body = b"POST /x HTTP/1.1\r\nconnection: close\r\ncontent-length: 2000000\r\n\r\n" + b"a" * 2_000_000
    for _ in range(40):
        assert (await client.raw(body)).startswith(b"HTTP/1.1 200")
    gc.collect()
    assert psutil.Process().memory_info().rss - before < 40_000_000


@pytest.mark.parametrize("turns", range(8))
@pytest.mark.parametrize("end", ["stop", "restart"])
async def test_connections_that_were_just_accepted_end_with_the_listener(end: str, turns: int) -> None:
    async with running() as sandbox:
        clients = [socket.create_connection(("127.0.0.1", sandbox.listener.port), timeout=0.5) for _ in range(3)]
        for _ in range(turns):
            await asyncio.sleep(0)
        await (sandbox.listener.stop() if end == "stop" else sandbox.listener.restart(0.01))
        gc.collect()  # a socket that nobody closed is a warning, which fails the test
        await asyncio.sleep(0.05)
        for client in clients:
            with client, suppress(ConnectionResetError):
                assert client.recv(1) == b""
        assert not sandbox.listener.service.open
