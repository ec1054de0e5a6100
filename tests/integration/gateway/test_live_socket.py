"""Events over a WebSocket, as a browser sees them."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import pytest
from aiohttp import WSMsgType, WSServerHandshakeError

from tests.integration.gateway.live_server import Executions, call_back, run
from tests.integration.harness import PATIENCE, Running, Upstream

pytestmark = pytest.mark.usefixtures("each_store")

Socket = aiohttp.ClientWebSocketResponse
QUIET = pytest.mark.gateway(more="live: {follow: false}")


@asynccontextmanager
async def socket(gateway: Running, headers: dict[str, str], query: str = "", **more: Any) -> AsyncIterator[Socket]:
    """Open a WebSocket."""
    async with gateway.client.ws_connect(f"{gateway.url}/ws?{query}", headers=headers, **more) as opened:
        yield opened


async def news(opened: Socket, kind: str) -> dict[str, Any]:
    """Return the parameters of the next message with this method."""
    async with asyncio.timeout(PATIENCE):
        while True:
            message: dict[str, Any] = json.loads(await opened.receive_str())
            if message.get("method") == kind:
                return dict(message.get("params", {}))


async def refused(gateway: Running, headers: dict[str, str], query: str = "") -> int:
    """Return the status of a handshake that is refused."""
    with pytest.raises(WSServerHandshakeError) as error:
        async with socket(gateway, headers, query):
            pass
    return error.value.status


async def test_the_first_message_and_a_ping(gateway: Running) -> None:
    async with socket(gateway, await gateway.bearer(), "client_id=tab", protocols=["x", "noetl.v1"]) as opened:
        assert opened.protocol == "noetl.v1"
        first = json.loads(await opened.receive_str())
        assert first["result"]["clientId"] == "tab"
        assert json.loads(await opened.receive_str()) == {"jsonrpc": "2.0", "method": "ping", "params": {}}


@QUIET
async def test_a_result(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = Executions().answer
    headers = await gateway.bearer()
    async with socket(gateway, headers, "client_id=tab") as opened:
        request_id = (await run(gateway, headers, "tab"))["data"]["executePlaybook"]["requestId"]
        assert (await call_back(gateway, request_id=request_id, data="é" * 70_000))[0] == 200
        assert (await news(opened, "playbook/state"))["event_type"] == "playbook.completed"
        assert (await news(opened, "playbook/result"))["data"] == "é" * 70_000
    request_id = (await run(gateway, headers, "tab"))["data"]["executePlaybook"]["requestId"]
    async with socket(gateway, headers, "client_id=tab&last_event_id=0") as opened:
        first = json.loads(await opened.receive_str())
        assert [each["requestId"] for each in first["result"]["pendingRequests"]] == [request_id]
        assert (await news(opened, "playbook/result"))["data"] == "é" * 70_000


async def test_who_may_open_one(gateway: Running) -> None:
    token = await gateway.session()
    bearer = {"authorization": f"Bearer {token}"}
    async with socket(gateway, {}, f"session_token={token}&client_id=tab"):
        pass
    assert await refused(gateway, {}) == 401
    assert await refused(gateway, {}, "ticket=x") == 401
    assert await refused(gateway, await gateway.bearer("otto@staff.test"), "client_id=tab") == 403
    assert await refused(gateway, {**bearer, "origin": "https://evil.test"}) == 403
    async with socket(gateway, {**bearer, "origin": gateway.url}):
        pass
    async with gateway.client.get(f"{gateway.url}/ws", headers=bearer) as response:
        assert response.status == 426


@pytest.mark.parametrize(
    ("sent", "received"),
    [
        ('{"jsonrpc":"2.0","method":"ping"}', {"jsonrpc": "2.0", "method": "pong"}),
        ('{"jsonrpc":"2.0","id":7,"method":"ping"}', {"jsonrpc": "2.0", "method": "pong", "id": 7}),
        ("{", {"jsonrpc": "2.0", "id": None, "error": {"code": -32700, "message": "Parse error"}}),
        ("[]", {"jsonrpc": "2.0", "id": None, "error": {"code": -32601, "message": "Method not found"}}),
        ('{"id":"\\ud800","method":"ping"}', {"jsonrpc": "2.0", "method": "pong"}),
        ('{"id":"a"}', {"jsonrpc": "2.0", "id": "a", "error": {"code": -32601, "message": "Method not found"}}),
    ],
)
async def test_what_a_client_may_send(gateway: Running, sent: str, received: dict[str, Any]) -> None:
    async with socket(gateway, await gateway.bearer()) as opened:
        await opened.receive_str()
        await opened.receive_str()
        await opened.send_str(sent)
        assert json.loads(await opened.receive_str()) == received
        await opened.ping(b"x")
        await opened.send_str('{"method":"ping"}')
        assert json.loads(await opened.receive_str())["method"] == "pong"


async def closed(opened: Socket) -> int | None:
    """Return the code with which a WebSocket is closed."""
    async with asyncio.timeout(PATIENCE):
        while (await opened.receive()).type not in (WSMsgType.CLOSE, WSMsgType.CLOSED, WSMsgType.CLOSING):
            pass
    return opened.close_code


async def test_messages_that_end_it(gateway: Running) -> None:
    headers = await gateway.bearer()
    async with socket(gateway, headers) as opened:
        await opened.send_bytes(b"x")
        assert await closed(opened) == 1003
    async with socket(gateway, headers) as opened:
        await opened.send_str("x" * 70_000)
        assert await closed(opened) == 1009


async def test_it_ends_with_its_session(gateway: Running) -> None:
    headers = await gateway.bearer()
    async with socket(gateway, headers) as opened:
        async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as response:
            assert response.status == 200
        assert await closed(opened) == 1008


async def test_it_ends_with_the_gateway(gateway: Running) -> None:
    async with socket(gateway, await gateway.bearer()) as opened:
        gateway.serving.stop_listening()
        assert await closed(opened) == 1001


async def test_frames_that_are_none_end_it(gateway: Running) -> None:
    token = await gateway.session()
    head = (
        f"GET /ws HTTP/1.1\r\nhost: x\r\nauthorization: Bearer {token}\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n\r\n"
    )
    came = await gateway.raw(head.encode() + b"\x8f\xff" * 20)
    assert came.startswith(b"HTTP/1.1 101 Switching Protocols\r\n")
    assert b"sec-websocket-accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n" in came
    assert b"\x88" in came
