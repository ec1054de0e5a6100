"""GraphQL over a WebSocket with graphql-transport-ws: who may open one, what closes it, and how it ends."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Any

import pytest
from aiohttp import WSServerHandshakeError

from proxy.endpoints import graphql_ws
from tests.integration.gateway.live_server import Executions
from tests.integration.gateway.subscriptions import document, ready, socket
from tests.integration.harness import KeptLog, Running, Upstream, behind_gateway, eventually

VERSION = {"query": "{ version }"}


async def test_several_operations(gateway: Running, upstream: Upstream) -> None:
    server = Executions()
    upstream.answer = server.answer
    async with ready(gateway, await gateway.bearer()) as opened:
        await opened.subscribe("a")
        assert (await opened.next())["id"] == "a"
        await opened.subscribe("b")
        assert (await opened.next())["payload"]["data"]["execution"]["status"] == "running"
        await opened.send("complete", id="a")
        await opened.send("complete", id="unknown")
        server.complete(["x"], {})
        message = await opened.next()
        assert (message["id"], message["payload"]["data"]["execution"]["status"]) == ("b", "completed")
        assert await opened.next() == {"id": "b", "type": "complete"}
        await opened.subscribe("a")
        assert (await opened.next())["id"] == "a"


@pytest.mark.parametrize("carrier", ["authorization", "Authorization", "session_token", "sessionToken", "ticket"])
async def test_the_session_may_come_with_the_init(gateway: Running, carrier: str) -> None:
    token = await gateway.session()
    value = f"Bearer {token}" if carrier.lower() == "authorization" else token
    if carrier == "ticket":
        headers = {"authorization": f"Bearer {token}"}
        async with gateway.client.post(f"{gateway.url}/api/auth/ticket", headers=headers) as response:
            value = (await response.json())["ticket"]
    async with socket(gateway, {}) as opened:
        assert opened.socket.protocol == "graphql-transport-ws"
        await opened.send("connection_init", payload={carrier: value})
        assert await opened.next() == {"type": "connection_ack"}
        await opened.subscribe("1", {"query": "{ me { email } }"})
        assert (await opened.next())["payload"] == {"data": {"me": {"email": "anna@staff.test"}}}


async def test_the_session_may_stand_in_the_query(gateway: Running) -> None:
    async with socket(gateway, {}, f"session_token={await gateway.session()}") as opened:
        await opened.send("connection_init", payload=None)
        assert await opened.next() == {"type": "connection_ack"}


@pytest.mark.parametrize(
    "payload", [None, {}, {"authorization": "Bearer x"}, {"session_token": "0" * 32}, {"ticket": "x"}]
)
async def test_without_a_session_it_is_closed(gateway: Running, payload: Any) -> None:
    async with socket(gateway, {}) as opened:
        await opened.send("connection_init", payload=payload)
        assert await opened.closed() == 4403


async def test_what_the_init_says_counts_before_the_handshake(gateway: Running) -> None:
    async with socket(gateway, await gateway.bearer()) as opened:
        await opened.send("connection_init", payload={"authorization": "Bearer " + "0" * 32})
        assert await opened.closed() == 4403


async def test_a_foreign_page_is_refused(gateway: Running) -> None:
    headers = {**await gateway.bearer(), "origin": "https://evil.test"}
    with pytest.raises(WSServerHandshakeError) as error:
        async with socket(gateway, headers):
            pass
    assert error.value.status == 403


async def test_another_subprotocol_is_closed(gateway: Running) -> None:
    async with socket(gateway, await gateway.bearer(), protocol="graphql-ws") as opened:
        assert await opened.closed() == 4406


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{", 4400),
        ("[]", 4400),
        ('{"type":"start"}', 4400),
        ('{"type":"subscribe","id":"1","payload":{}}', 4400),
        ('{"type":"subscribe","payload":{"query":"{ version }"}}', 4400),
        ('{"type":"connection_init"}', 4429),
    ],
)
async def test_a_message_that_closes_it(gateway: Running, text: str, code: int) -> None:
    async with ready(gateway, await gateway.bearer()) as opened:
        await opened.socket.send_str(text)
        assert await opened.closed() == code


async def test_an_id_that_is_in_use_closes_it(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = Executions().answer
    async with ready(gateway, await gateway.bearer()) as opened:
        await opened.subscribe("1")
        await opened.next()
        await opened.subscribe("1")
        assert await opened.closed() == 4409


async def test_an_operation_before_the_init_closes_it(gateway: Running) -> None:
    async with socket(gateway, await gateway.bearer()) as opened:
        await opened.subscribe("1", VERSION)
        assert await opened.closed() == 4401


async def test_no_init_closes_it(gateway: Running, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(graphql_ws, "_INIT_SECONDS", 0.05)
    async with socket(gateway, await gateway.bearer()) as opened:
        assert await opened.closed() == 4408


@pytest.mark.gateway(more="graphql: {max_body_size: 2KiB}")
async def test_binary_and_large_messages_close_it(gateway: Running) -> None:
    headers = await gateway.bearer()
    async with ready(gateway, headers) as opened:
        await opened.socket.send_bytes(b"x")
        assert await opened.closed() == 1003
    async with ready(gateway, headers) as opened:
        await opened.socket.send_str("x" * 3000)
        assert await opened.closed() == 1009


async def test_pings_are_answered(gateway: Running) -> None:
    async with socket(gateway, await gateway.bearer()) as opened:
        await opened.send("ping")
        assert await opened.next() == {"type": "pong"}
        await opened.send("ping", payload={"n": 1})
        assert await opened.next() == {"type": "pong", "payload": {"n": 1}}
        await opened.send("pong")
        await opened.send("connection_init")
        assert await opened.next() == {"type": "connection_ack"}


@pytest.mark.gateway(more="live: {heartbeat: 100ms}")
async def test_a_client_that_answers_no_ping_is_closed(gateway: Running) -> None:
    headers = await gateway.bearer()
    async with socket(gateway, headers, autoping=False) as opened:
        await opened.send("connection_init")
        assert await opened.closed() == 1001
    async with ready(gateway, headers) as opened:  # answers them
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await opened.socket.receive()


@pytest.mark.gateway(more="graphql: {limits: {subscriptions: 1}}")
async def test_a_session_has_a_limit(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = Executions().answer
    async with ready(gateway, await gateway.bearer()) as opened:
        await opened.subscribe("1")
        await opened.next()
        await opened.subscribe("2", VERSION)
        message = await opened.next()
        assert (message["id"], message["type"]) == ("2", "error")
        assert message["payload"][0]["extensions"] == {"code": "LIMIT_EXCEEDED", "status": 429}
        await opened.send("complete", id="1")
        await eventually(lambda: gateway.serving.process.operations.subscriptions == 0)
        await opened.subscribe("2", VERSION)
        assert (await opened.next())["type"] == "next"


LIMITED = """
rate_limits: {few: {limit: 1/hour, burst: 3, key: user}}
routes: [{path: /graphql, handler: graphql, rate_limit: few}]
"""


@pytest.mark.gateway(more=LIMITED)
async def test_operations_count_for_the_rate_limit_of_the_route(gateway: Running) -> None:
    async with ready(gateway, await gateway.bearer()) as opened:
        kinds = []
        for number in range(4):
            await opened.subscribe(str(number), VERSION)
            message = await opened.next()
            kinds.append(message["type"])
            if message["type"] == "next":
                await opened.next()
        assert kinds[-1] == "error"
        assert message["payload"][0]["extensions"]["status"] == 429


async def test_each_operation_has_an_access_line(tmp_path: Path) -> None:
    log = KeptLog()
    async with behind_gateway(tmp_path, log=log) as (gateway, upstream):
        upstream.answer = Executions().answer
        async with ready(gateway, await gateway.bearer("eve@elsewhere.test")) as opened:
            await opened.subscribe("1", VERSION)
            await opened.next()
            await opened.next()
            await opened.subscribe("2")
            assert (await opened.next())["type"] == "error"
        await eventually(lambda: len(log.lines) == 3)
    assert [(line.status, line.denied, line.user_id) for line in log.lines] == [
        (200, False, 1),
        (403, True, 1),
        (101, False, 1),
    ]
    assert len({line.request_id for line in log.lines}) == 1


async def test_it_ends_with_its_session(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = Executions().answer
    headers = await gateway.bearer()
    async with ready(gateway, headers) as opened:
        await opened.subscribe("1")
        await opened.next()
        async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as response:
            assert response.status == 200
        assert await opened.closed() == 4403


async def test_it_ends_when_the_gateway_stops(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = Executions().answer
    async with ready(gateway, await gateway.bearer()) as opened:
        await opened.subscribe("1", document())
        await opened.next()
        gateway.serving.process.drain.start()
        assert await opened.closed() == 1001


async def test_what_runs_is_measured(gateway: Running, upstream: Upstream) -> None:
    upstream.answer = Executions().answer
    async with ready(gateway, await gateway.bearer()) as opened:
        await opened.subscribe("1")
        await opened.next()
        async with gateway.client.get(f"{gateway.url}/metrics") as response:
            text = await response.text()
    for line in (
        'noetl_gateway_live_streams{kind="graphql_websocket"} 1',
        'noetl_gateway_live_events_total{kind="graphql_websocket"} 1',
        "noetl_gateway_subscriptions 1",
        "noetl_gateway_executions_followed 1",
        'noetl_gateway_execution_polls_total{outcome="ok"} 1',
    ):
        assert line in text


async def test_a_client_that_never_reads_is_not_read_either(gateway: Running) -> None:
    """What such a client sends is answered; the answers must not fill the memory."""
    token = await gateway.session()
    reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=1024)
    writer.write(
        f"GET /graphql?session_token={token} HTTP/1.1\r\nhost: x\r\nupgrade: websocket\r\nconnection: upgrade\r\n"
        "sec-websocket-version: 13\r\nsec-websocket-key: AAAAAAAAAAAAAAAAAAAAAA==\r\n"
        "sec-websocket-protocol: graphql-transport-ws\r\n\r\n".encode()
    )
    assert b"101" in await reader.readline()
    text = b'{"type":"ping","payload":{"a":"' + b"x" * 60_000 + b'"}}'
    frame = b"\x81\xfe" + len(text).to_bytes(2, "big") + bytes(4) + text
    sent = 0

    async def flood() -> None:
        nonlocal sent
        while sent < 200 * 1024**2:
            writer.write(frame)
            sent += len(frame)
            async with asyncio.timeout(2):
                await writer.drain()

    try:
        with pytest.raises(TimeoutError):
            await flood()
        assert sent < 64 * 1024**2
    finally:
        writer.transport.abort()
