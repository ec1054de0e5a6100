"""Limits on connections and request heads, and what is answered to heads that can't be served."""

from __future__ import annotations

import asyncio
import json
from inspect import signature

import pytest
from aiohttp import web
from aiohttp.base_protocol import BaseProtocol
from aiohttp.http_parser import HttpRequestParser
from aiohttp.web_protocol import RequestHandler

from proxy.server.aiohttp_release import UnknownAiohttp, check_aiohttp
from proxy.server.parsed_message import whole_body
from tests.integration.harness import PATIENCE, Running, Upstream, eventually

HEAD = b"GET /health HTTP/1.1\r\nhost: localhost\r\n"


def status_of(answer: bytes) -> int:
    return int(answer.split(b" ", 2)[1])


@pytest.mark.gateway(server="limits: {header_timeout: 50ms}")
async def test_half_a_head_is_answered_408_at_the_deadline(gateway: Running) -> None:
    answer = await gateway.raw(HEAD)
    assert status_of(answer) == 408
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"] == "Request too slow"


async def test_a_head_in_two_parts_within_the_deadline_is_served(gateway: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(HEAD)
    await eventually(lambda: gateway.serving.limits.open == 1)
    writer.write(b"connection: close\r\n\r\n")
    async with asyncio.timeout(PATIENCE):
        answer = await reader.read()
    writer.close()
    assert status_of(answer) == 200


@pytest.mark.gateway(server="limits: {header_timeout: 50ms}")
async def test_a_second_half_head_on_a_kept_connection_has_the_deadline_too(gateway: Running) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(HEAD + b"\r\n")
    async with asyncio.timeout(PATIENCE):
        first = await reader.readuntil(b"\r\n\r\n")
        writer.write(HEAD)
        rest = await reader.read()
    writer.close()
    assert status_of(first) == 200
    assert b"HTTP/1.1 408" in rest


@pytest.mark.gateway(server="limits: {idle_timeout: 50ms}")
async def test_an_idle_connection_is_closed_without_an_answer(gateway: Running) -> None:
    assert await gateway.raw(b"") == b""


@pytest.mark.gateway(server="limits: {max_connections: 1}")
async def test_a_connection_beyond_max_connections_is_answered_503(gateway: Running) -> None:
    _, first = await asyncio.open_connection("127.0.0.1", gateway.port)
    await eventually(lambda: gateway.serving.limits.open == 1)
    answer = await gateway.raw(b"")
    first.close()
    await eventually(lambda: gateway.serving.limits.open == 0)
    served = await gateway.raw(HEAD + b"connection: close\r\n\r\n")
    assert (status_of(answer), status_of(served)) == (503, 200)


@pytest.mark.gateway(server="limits: {max_connections_per_ip: 1}")
async def test_a_connection_beyond_max_connections_per_ip_is_answered_503(gateway: Running) -> None:
    _, first = await asyncio.open_connection("127.0.0.1", gateway.port)
    await eventually(lambda: gateway.serving.limits.open == 1)
    answer = await gateway.raw(b"")
    first.close()
    assert status_of(answer) == 503


@pytest.mark.gateway(server="limits: {max_connections_per_ip: 1}, trusted_proxies: [127.0.0.0/8]")
async def test_a_trusted_proxy_has_no_limit_per_address(gateway: Running) -> None:
    _, first = await asyncio.open_connection("127.0.0.1", gateway.port)
    await eventually(lambda: gateway.serving.limits.open == 1)
    answer = await gateway.raw(HEAD + b"connection: close\r\n\r\n")
    first.close()
    assert status_of(answer) == 200


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\nhost: a\r\n\r\n", 414),
        (HEAD + b"x-big: " + b"a" * 20_000 + b"\r\n\r\n", 431),
        (HEAD + b"".join(b"x-%d: 1\r\n" % i for i in range(200)) + b"\r\n", 431),
        (HEAD + b"".join(b"x-%d: %s\r\n" % (i, b"a" * 1000) for i in range(40)) + b"\r\n", 431),
        (b"GET /health HTTP/1.1\r\nhost: a\r\nbad header\r\n\r\n", 400),
        (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400),
        (b"GET /health HTTP/9.9\r\nhost: a\r\n\r\n", 400),
        (b"POST /health HTTP/1.1\r\nhost: a\r\ncontent-length: 1\r\ntransfer-encoding: chunked\r\n\r\n0\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\n\r\n", 400),
        (b"GET /health HTTP/1.1\r\nhost: a\r\nhost: b\r\n\r\n", 400),
        (b"GET http://other/health HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"GET /%zz HTTP/1.1\r\nhost: a\r\n\r\n", 400),
        (b"TRACE /health HTTP/1.1\r\nhost: a\r\n\r\n", 405),
        (b"CONNECT a:80 HTTP/1.1\r\nhost: a:80\r\n\r\n", 405),
    ],
)
async def test_a_request_that_cannot_be_served_has_its_status(gateway: Running, request_: bytes, status: int) -> None:
    answer = await gateway.raw(request_, until_closed=False)
    assert status_of(answer) == status
    assert set(json.loads(answer.partition(b"\r\n\r\n")[2])) == {"error", "request_id"}
    assert b"server: noetl-edge" in answer.lower()


async def test_a_malformed_request_is_one_short_line_in_the_log(
    gateway: Running, capsys: pytest.CaptureFixture[str]
) -> None:
    await gateway.raw(b"GET /events?session_token=c0ffee HTTP/9.9\r\nhost: a\r\n\r\n")
    await gateway.raw(HEAD + b"authorization: Bearer c0ffee\x00\r\n\r\n")
    assert gateway.serving.limits.malformed == 2
    printed = "".join(capsys.readouterr())
    assert printed.count("request.malformed") == 2
    assert "c0ffee" not in printed
    assert "Traceback" not in printed


async def test_pipelined_requests_are_answered_in_order(gateway: Running) -> None:
    answer = await gateway.raw(HEAD + b"\r\n" + b"GET /nothing HTTP/1.1\r\nhost: a\r\nconnection: close\r\n\r\n")
    assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 404")


async def test_a_compressed_body_is_not_decompressed(gateway: Running, upstream: Upstream) -> None:
    """A decompression bomb never unfolds here: upstream gets the bytes as they are."""
    bodies = []

    async def keep(request: web.BaseRequest) -> web.StreamResponse:
        bodies.append(await request.read())
        return web.Response(status=204)

    upstream.answer = keep
    headers = {**await gateway.bearer(), "content-encoding": "gzip"}
    async with gateway.client.post(f"{gateway.url}/noetl/x", data=b"not gzip at all", headers=headers) as answer:
        assert answer.status == 204
    assert bodies == [b"not gzip at all"]


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
@pytest.mark.gateway(server="limits: {body_timeout: 100ms}")
async def test_a_client_that_does_not_read_is_cut_at_the_deadline(
    gateway: Running, upstream: Upstream, warm: bool
) -> None:
    async def flood(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None:
            await response.write(b"x" * 65536)
        return response

    headers = await gateway.bearer()
    if warm:
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
            await answer.read()
    upstream.answer = flood
    before = gateway.serving.limits.open
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    request = f"GET /noetl/x HTTP/1.1\r\nhost: a\r\nauthorization: {headers['authorization']}\r\n\r\n"
    writer.write(request.encode())
    await eventually(lambda: len(upstream.seen) == 1 + warm)
    await eventually(lambda: gateway.serving.limits.open == before)
    await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.busy == 0)
    writer.transport.abort()


@pytest.mark.parametrize("version", ["3.13.2", "4.0.0"])
def test_unknown_aiohttp_is_refused_with_its_remedy(version: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("aiohttp.__version__", version)
    with pytest.raises(UnknownAiohttp, match=rf"aiohttp {version} is installed.*pip install"):
        check_aiohttp()


def test_this_aiohttp_has_the_inside_that_connections_rely_on() -> None:
    slots = {name for kind in RequestHandler.__mro__ for name in getattr(kind, "__slots__", ())}
    check_aiohttp()
    assert {
        "_waiter", "_messages", "_force_close", "_close", "_keepalive_handle", "_next_keepalive_close_time",
        "_keepalive_timeout", "_request_in_progress", "_handler_waiter", "_buffer_paused", "_paused", "_parser",
        "transport", "_current_request", "_lingering_time",
    } <= slots  # fmt: skip
    for name in (
        "_process_keepalive", "_resume_reading_if_drained", "_pause_reading_for_buffer", "_resume_reading_for_buffer",
        "_drain_helper",
    ):  # fmt: skip
        assert callable(getattr(RequestHandler, name)), name
    assert callable(HttpRequestParser.message_consumed)
    assert {"_keepalive"} <= slots
    assert list(signature(RequestHandler._handle_request).parameters) == [  # noqa: SLF001
        "self", "request", "start_time", "request_handler",
    ]  # fmt: skip


async def body_in(*parts: bytes) -> bytes | None:
    """The whole body of a POST that arrives in these parts, after the last of them."""
    parser = HttpRequestParser(
        BaseProtocol(asyncio.get_running_loop()), asyncio.get_running_loop(), 2**16, auto_decompress=False
    )
    messages = [message for part in parts for message in parser.feed_data(part)[0]]
    (found,) = messages
    body = whole_body(found[1])
    again = whole_body(found[1])
    assert body == again, "the body stays where it is"
    if body:
        assert await found[1].read() == body
    return body


POST = b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 4\r\n\r\n"


async def test_a_body_that_came_with_its_head_is_whole() -> None:
    assert await body_in(POST + b"abcd") == b"abcd"


async def test_a_body_that_came_in_parts_is_whole_when_the_last_is_there() -> None:
    assert await body_in(POST + b"a", b"bc", b"d") == b"abcd"


async def test_a_body_that_is_still_coming_is_not_whole() -> None:
    assert await body_in(POST + b"abc") is None
    assert await body_in(POST) is None


async def test_a_request_without_a_body_has_an_empty_one() -> None:
    assert await body_in(b"POST / HTTP/1.1\r\nhost: a\r\n\r\n") == b""
    assert await body_in(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 0\r\n\r\n") == b""


async def test_a_body_that_is_not_small_is_left_alone() -> None:
    assert await body_in(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 70000\r\n\r\n" + b"a" * 70000) is None


async def test_a_large_head_is_431_also_when_a_connection_upstream_is_kept(gateway: Running) -> None:
    headers = await gateway.bearer()
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
        assert answer.status == 200
    large = {**headers, **{f"x-{i}": "a" * 1000 for i in range(40)}}
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=large) as answer:
        assert answer.status == 431
