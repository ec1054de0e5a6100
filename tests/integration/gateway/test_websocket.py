"""WebSockets through the gateway: judged at the handshake, then every byte as it is, both ways."""

from __future__ import annotations

import asyncio
import hashlib
from pathlib import Path
from socket import SHUT_RDWR

import aiohttp
import pytest
from aiohttp import WSMsgType, web

from tests.integration.harness import PATIENCE, KeptLog, Running, Upstream, behind_gateway, eventually

ROUTES = """
routes:
  - path: '/ws/{path:**}'
    upstream: noetl
    rewrite: '/api/{path}'
    websocket: true
    cors: {allowed_origins: ['https://app.test']}
  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}'}
"""


async def echo(request: web.BaseRequest) -> web.StreamResponse:
    """Says back what it is sent; `bye` ends it."""
    socket = web.WebSocketResponse(protocols=("noetl",), max_msg_size=0)
    await socket.prepare(request)
    async for message in socket:
        if message.type is WSMsgType.TEXT:
            if message.data == "bye":
                break
            await socket.send_str(f"{message.data}!")
        elif message.type is WSMsgType.BINARY:
            await socket.send_bytes(message.data)
    await socket.close()
    return socket


async def connect(gateway: Running, headers: dict[str, str], path: str = "/ws/x") -> aiohttp.ClientWebSocketResponse:
    return await gateway.client.ws_connect(gateway.url + path, headers=headers, protocols=("noetl",), max_msg_size=0)


async def refusal(gateway: Running, headers: dict[str, str], path: str = "/ws/x") -> int:
    with pytest.raises(aiohttp.WSServerHandshakeError) as refused:
        await connect(gateway, headers, path)
    return refused.value.status


@pytest.mark.gateway(more=ROUTES)
async def test_messages_pass_both_ways(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = echo
    async with await connect(gateway, await gateway.bearer()) as socket:
        assert socket.protocol == "noetl"
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"


@pytest.mark.gateway(more=ROUTES)
async def test_a_large_message_passes_whole_and_in_order(gateway: Running, upstream: Upstream) -> None:
    data = b"".join(hashlib.sha256(b"%d" % number).digest() for number in range(200_000))
    upstream.answer = echo
    async with await connect(gateway, await gateway.bearer()) as socket:
        await socket.send_bytes(data)
        assert await socket.receive_bytes(timeout=PATIENCE) == data


@pytest.mark.gateway(more=ROUTES)
async def test_without_a_session_the_handshake_is_401(gateway: Running, upstream: Upstream) -> None:
    assert await refusal(gateway, {}) == 401
    assert upstream.seen == []


@pytest.mark.gateway(more=ROUTES)
async def test_a_user_whom_no_rule_allows_is_403(gateway: Running, upstream: Upstream) -> None:
    assert await refusal(gateway, await gateway.bearer("eve@else.test")) == 403
    assert upstream.seen == []


@pytest.mark.parametrize(("origin", "allowed"), [("https://app.test", True), ("https://evil.test", False)])
@pytest.mark.gateway(more=ROUTES)
async def test_a_page_of_a_foreign_origin_is_refused(
    gateway: Running, upstream: Upstream, origin: str, allowed: bool
) -> None:
    upstream.answer = echo
    headers = {**await gateway.bearer(), "origin": origin}
    if allowed:
        await (await connect(gateway, headers)).close()
    else:
        assert await refusal(gateway, headers) == 403


@pytest.mark.gateway(more=ROUTES)
async def test_the_session_does_not_reach_the_upstream(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = echo
    await (await connect(gateway, await gateway.bearer())).close()
    (request,) = upstream.seen
    assert "authorization" not in request.headers
    assert request.headers["x-user-email"] == "anna@staff.test"


@pytest.mark.gateway(more=ROUTES)
async def test_a_route_that_does_not_allow_it_passes_on_an_ordinary_request(
    gateway: Running, upstream: Upstream
) -> None:
    assert await refusal(gateway, await gateway.bearer(), "/noetl/x") == 200
    assert "upgrade" not in upstream.seen[0].headers


@pytest.mark.gateway(more=ROUTES)
async def test_an_upstream_that_refuses_is_passed_on(gateway: Running) -> None:
    assert await refusal(gateway, await gateway.bearer()) == 200


@pytest.mark.gateway(more=ROUTES)
async def test_the_tunnel_ends_when_the_upstream_ends_it(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = echo
    async with await connect(gateway, await gateway.bearer()) as socket:
        await socket.send_str("bye")
        message = await socket.receive(timeout=PATIENCE)
        assert message.type is WSMsgType.CLOSE
    await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.busy == 0)


@pytest.mark.gateway(more=ROUTES)
async def test_the_upstream_is_let_go_when_the_client_leaves(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = echo
    socket = await connect(gateway, await gateway.bearer())
    pool = gateway.server.gateway.upstreams["noetl"].pool
    assert pool.busy == 1
    socket.get_extra_info("socket").shutdown(SHUT_RDWR)
    await eventually(lambda: pool.busy == 0)


async def test_a_tunnel_in_which_nothing_moves_is_ended(tmp_path: Path) -> None:
    more = ROUTES + "upstreams: {noetl: {urls: ['UPSTREAM'], idle_timeout: 100ms}}\n"
    async with behind_gateway(tmp_path, more=more) as (gateway, upstream):
        upstream.answer = echo
        async with await connect(gateway, await gateway.bearer()) as socket:
            message = await socket.receive(timeout=PATIENCE)
            assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE)


@pytest.mark.gateway(more=ROUTES)
async def test_a_tunnel_ends_with_its_session(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = echo
    headers = await gateway.bearer()
    async with await connect(gateway, headers) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"
        store = gateway.server.gateway.store
        for session in await store.all(10):
            await store.end_id(session.id, lambda session: True)
        message = await socket.receive(timeout=PATIENCE)
        assert message.type in (WSMsgType.CLOSED, WSMsgType.CLOSE)


@pytest.mark.parametrize(
    ("handshake", "status"),
    [
        (b"sec-websocket-version: 12\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n", 426),
        (b"sec-websocket-version: 13\r\nsec-websocket-key: short\r\n", 400),
        (b"sec-websocket-version: 13\r\n", 400),
    ],
)
@pytest.mark.gateway(more=ROUTES)
async def test_invalid_handshake_is_refused(
    gateway: Running, upstream: Upstream, handshake: bytes, status: int
) -> None:
    token = await gateway.session()
    head = f"GET /ws/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\n".encode()
    answer = await gateway.raw(head + b"connection: upgrade\r\nupgrade: websocket\r\n" + handshake + b"\r\n")
    assert answer.startswith(b"HTTP/1.1 %d" % status)
    assert (b"sec-websocket-version: 13" in answer) == (status == 426)
    assert upstream.seen == []


@pytest.mark.gateway(more=ROUTES)
async def test_bytes_that_follow_the_handshake_at_once_are_not_lost(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = echo
    token = await gateway.session()
    head = (
        f"GET /ws/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    masked_hi = b"\x81\x82\x00\x00\x00\x00hi"
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
    writer.write(head + masked_hi)
    async with asyncio.timeout(PATIENCE):
        await reader.readuntil(b"\r\n\r\n")
        assert await reader.readexactly(5) == b"\x81\x03hi!"
    writer.close()


@pytest.mark.gateway(more=ROUTES)
async def test_a_client_that_does_not_read_holds_the_upstream_back(gateway: Running, upstream: Upstream) -> None:
    sent = 0

    async def flood(request: web.BaseRequest) -> web.StreamResponse:
        nonlocal sent
        socket = web.WebSocketResponse()
        await socket.prepare(request)
        while not socket.closed:
            await socket.send_bytes(b"x" * 65536)
            sent += 65536
        return socket

    upstream.answer = flood
    token = await gateway.session()
    head = (
        f"GET /ws/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\nconnection: upgrade\r\n"
        "upgrade: websocket\r\nsec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    ).encode()
    _, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.write(head)
    before = -1
    async with asyncio.timeout(PATIENCE):
        while before != sent or not sent:
            before = sent
            await asyncio.sleep(0.1)
    assert sent < 32 * 1024 * 1024
    writer.transport.abort()
    await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.busy == 0)


async def test_tunnel_whose_client_leaves_was_a_tunnel(tmp_path: Path) -> None:
    log = KeptLog()
    async with behind_gateway(tmp_path, more=ROUTES, log=log) as (gateway, upstream):
        upstream.answer = echo
        socket = await connect(gateway, await gateway.bearer())
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"
        log.lines.clear()
        await gateway.client.close()
        await eventually(lambda: len(log.lines) == 1)
        assert log.lines[0].status == 101


@pytest.mark.gateway(more=ROUTES)
async def test_a_drain_tells_the_client_to_go(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = echo
    async with await connect(gateway, await gateway.bearer()) as socket:
        await socket.send_str("hello")
        assert await socket.receive_str() == "hello!"
        gateway.serving.process.drain.start()
        message = await socket.receive(timeout=PATIENCE)
        assert (message.type, message.data) == (WSMsgType.CLOSE, 1001)
