"""Events, callbacks and followed executions, as a browser and a worker see them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import ClientPayloadError, ClientSession, TCPConnector

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.sessions.file import FileStore
from proxy.sessions.memory import MemoryStore
from proxy.sessions.redis.store import RedisStore
from proxy.sessions.store import SessionStore, StoreError
from tests.integration.gateway.live_server import Events, Executions, call_back, events, run, small_buffers
from tests.integration.harness import PATIENCE, Running, behind_gateway, eventually

QUIET = pytest.mark.gateway(more="live: {follow: false}")


@pytest.fixture(params=["memory", "file", "redis"])
async def _running(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[tuple[Running, Executions]]:
    marker, found = request.node.get_closest_marker("gateway"), Executions()
    store: SessionStore = FileStore(tmp_path / "sessions") if request.param == "file" else MemoryStore()
    if request.param == "redis":
        store = RedisStore(request.getfixturevalue("redis_settings"))
    async with behind_gateway(tmp_path, store=store, **(marker.kwargs if marker else {})) as (gateway, upstream):
        upstream.answer = found.answer
        yield gateway, found


@pytest.fixture
async def gateway(_running: tuple[Running, Executions]) -> Running:
    """A gateway with one of the stores."""
    return _running[0]


@pytest.fixture
async def server(_running: tuple[Running, Executions]) -> Executions:
    """The server behind the gateway."""
    return _running[1]


async def started(gateway: Running, headers: dict[str, str], client_id: str, **variables: Any) -> str:
    """Start the playbook, and return the id of the request."""
    found = (await run(gateway, headers, client_id, **variables))["data"]["executePlaybook"]
    return str(found["requestId"])


async def left(gateway: Running, client_id: str) -> None:
    """Wait until the gateway knows that a client has no stream."""
    async with asyncio.timeout(PATIENCE):
        while await gateway.server.gateway.store.live.connected(client_id):  # noqa: ASYNC110 - as in `eventually`
            await asyncio.sleep(0.005)


async def test_the_first_message_and_a_ping(gateway: Running) -> None:
    async with events(gateway, await gateway.bearer()) as stream:
        assert stream.response.headers["content-type"] == "text/event-stream"
        assert stream.response.headers["cache-control"] == "no-store"
        assert stream.hello["protocolVersion"] == "2024-11-05"
        assert stream.hello["serverInfo"]["name"] == "noetl-gateway"
        assert stream.hello["capabilities"]["callbacks"] is True
        assert "pendingRequests" not in stream.hello
        ping = await stream.next()
        assert (ping.kind, ping.data) == ("ping", {"jsonrpc": "2.0", "method": "ping", "params": {}})


@pytest.mark.gateway(more="live: {heartbeat: 20ms}")
async def test_pings_go_on(gateway: Running) -> None:
    async with events(gateway, await gateway.bearer()) as stream:
        assert [(await stream.next()).kind for _ in range(3)] == ["ping"] * 3


@QUIET
async def test_a_callback_brings_the_result_to_the_stream(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id, x=1)
        assert server.started[0]["workload"] == {
            "x": 1,
            "request_id": request_id,
            "gateway_url": f"http://localhost:{gateway.serving.current.gateway.compiled.loaded.gateway.server.port}",
        }
        report: dict[str, Any] = {"request_id": request_id, "step": "s", "message": "m", "progress": 0.5}
        assert await call_back(gateway, "progress", **report) == (200, {"status": "sent"})
        done: dict[str, Any] = {"request_id": request_id, "status": "COMPLETED", "data": {"rows": [1, None]}}
        assert await call_back(gateway, **done) == (200, {"status": "delivered"})
        assert await call_back(gateway, **done) == (200, {"status": "duplicate"})
        progress, state, result = [await stream.news() for _ in range(3)]
        assert progress.kind == "playbook/progress"
        assert progress.data["params"] == {
            "requestId": request_id, "executionId": "101", "step": "s", "message": "m", "progress": 0.5
        }  # fmt: skip
        assert state.kind == state.data["method"] == "playbook/state"
        at = state.data["params"].pop("at")
        assert at.endswith("+00:00")
        assert state.data["params"] == {
            "execution_id": "101", "event_type": "playbook.completed", "step_name": None, "status": "completed"
        }  # fmt: skip
        assert result.kind == "playbook/result"
        assert result.data["params"] == {
            "requestId": request_id, "executionId": "101", "status": "COMPLETED", "data": {"rows": [1, None]}
        }  # fmt: skip
        assert int(progress.id) < int(state.id) < int(result.id)


@QUIET
@pytest.mark.parametrize(
    ("document", "text"),
    [
        ({"error": "boom"}, "boom"),
        ({"status": "FAILED", "error": "boom"}, "boom"),
        ({"status": "failed", "error": {"message": "deep"}}, "deep"),
        ({"status": "FAILED"}, "The playbook failed"),
    ],
)
async def test_a_failure(gateway: Running, server: Executions, document: dict[str, Any], text: str) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id)
        assert (await call_back(gateway, request_id=request_id, **document))[0] == 200
        state, result = await stream.news(), await stream.news()
        assert (state.data["params"]["event_type"], state.data["params"]["status"]) == ("playbook.failed", "failed")
        assert result.data["params"]["status"] == "FAILED"
        assert result.data["params"]["error"] == {"code": -32000, "message": text, "data": None}


@QUIET
async def test_a_result_that_arrives_while_the_client_is_away(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        client_id = stream.client_id
        request_id = await started(gateway, headers, client_id)
    await left(gateway, client_id)
    async with events(gateway, headers, client_id) as stream:
        pending = {"requestId": request_id, "executionId": "101", "playbookPath": "team/flow"}
        assert stream.hello["pendingRequests"] == [pending]
    await left(gateway, client_id)
    queued = (202, {"status": "queued", "clientDisconnected": True})
    assert await call_back(gateway, request_id=request_id, data=7) == queued
    async with events(gateway, headers, client_id) as stream:
        assert "pendingRequests" not in stream.hello
        assert (await stream.result()).data["params"]["data"] == 7
    async with events(gateway, headers, client_id) as stream:  # written once: not again
        assert (await stream.next()).kind == "ping"
        request_id = await started(gateway, headers, client_id)
        assert (await call_back(gateway, request_id=request_id, data=8))[0] == 200
        assert (await stream.result()).data["params"]["data"] == 8


@QUIET
async def test_a_client_resumes_behind_the_last_event_that_it_saw(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        client_id = stream.client_id
        one, two = [await started(gateway, headers, client_id) for _ in range(2)]
        await call_back(gateway, request_id=one, data="one")
        first = await stream.result()
        await call_back(gateway, request_id=two, data="two")
        second = await stream.result()
    async with events(gateway, headers, client_id, last=first.id) as stream:
        assert (await stream.result())[:1] == second[:1]
    async with events(gateway, headers, client_id, last="0") as stream:
        assert [(await stream.result()).data["params"]["data"] for _ in range(2)] == ["one", "two"]
    for odd in ("", "x", "-1", "9" * 30, str(int(second.id) + 5)):
        async with events(gateway, headers, client_id, last=odd) as stream:
            ping = await stream.next()
            assert (ping.kind, ping.id) == ("ping", second.id)


@QUIET
async def test_two_streams_of_one_client_get_each_event_once(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as one, events(gateway, headers, one.client_id) as two:
        request_id = await started(gateway, headers, one.client_id)
        await call_back(gateway, request_id=request_id, data=1)
        results = [await stream.result() for stream in (one, two)]
        assert results[0] == results[1]


async def test_a_client_belongs_to_its_user(gateway: Running, server: Executions) -> None:
    anna, otto = await gateway.bearer(), await gateway.bearer("otto@staff.test")
    async with events(gateway, anna) as stream:
        url = f"{gateway.url}/events?client_id={stream.client_id}"
        async with gateway.client.get(url, headers=otto) as response:
            assert response.status == 403
        found = await run(gateway, otto, stream.client_id)
        assert found["errors"][0]["extensions"]["code"] == "FORBIDDEN"
        assert not server.started
        found = await run(gateway, otto, "a b")
        assert found["errors"][0]["extensions"]["code"] == "BAD_USER_INPUT"


@pytest.mark.parametrize("query", ["", "session_token=" + "0" * 32, "session_token=x", "ticket=x", "ticket="])
async def test_without_a_session(gateway: Running, query: str) -> None:
    headers = {"authorization": "Bearer " + "1" * 32}
    async with gateway.client.get(f"{gateway.url}/events?{query}", headers=headers) as response:
        assert response.status == 401
        assert response.headers["content-type"] == "text/event-stream"
        assert await response.text() == (
            'event: error\ndata: {"jsonrpc":"2.0","id":null,'
            '"error":{"code":-32002,"message":"Invalid or expired session"}}\n\n'
        )


async def test_a_token_or_a_ticket_in_the_query(gateway: Running) -> None:
    token = await gateway.session()
    async with events(gateway, {}, query=f"session_token={token}"):
        pass
    headers = {"authorization": f"Bearer {token}"}
    async with gateway.client.post(f"{gateway.url}/api/auth/ticket", headers=headers) as response:
        ticket = (await response.json())["ticket"]
    async with events(gateway, {}, query=f"ticket={ticket}"):
        pass
    async with gateway.client.get(f"{gateway.url}/events?ticket={ticket}") as response:
        assert response.status == 401


async def test_a_stream_ends_with_its_session(gateway: Running) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as response:
            assert response.status == 200
        async with asyncio.timeout(PATIENCE):
            assert b"retry:" not in await stream.response.content.read()


async def test_a_drain_names_a_time_to_come_back(gateway: Running) -> None:
    async with events(gateway, await gateway.bearer()) as stream:
        gateway.serving.stop_listening()
        async with asyncio.timeout(PATIENCE):
            last = (await stream.response.content.read()).split(b"\n\n")[-2]
        assert last.startswith(b"retry: ")
        assert 500 <= int(last.removeprefix(b"retry: ")) <= 5000


async def test_unknown_and_malformed_callbacks(gateway: Running) -> None:
    missing = (404, "Request not found")
    for what in ("callback/async", "progress"):
        status, answer = await call_back(gateway, what, request_id="no")
        assert (status, answer["error"]) == missing
    assert (await call_back(gateway))[0] == 400
    assert (await call_back(gateway, request_id=7))[0] == 400
    waits = await call_back(gateway, "callback", request_id="no", status="success", data={})
    assert waits == (200, {"delivered": False, "message": "No pending request found for this request_id"})


@QUIET
@pytest.mark.parametrize(
    ("what", "text"),
    [
        ("progress", '{"request_id": "ID", "progress": 1e999}'),
        ("progress", '{"request_id": "ID", "step": "\\ud800"}'),
        ("callback", '{"request_id": "ID", "data": 1e999}'),
        ("callback", '{"request_id": "\\ud800", "status": "success"}'),
        ("callback/async", '{"request_id": "ID", "error": {"message": "\\ud800"}}'),
        ("callback/async", '{"request_id": "ID", "error": "\\ud800"}'),
        ("callback/async", '{"request_id": "ID", "error": {"a": [1e400]}}'),
        ("callback/async", '{"request_id": "ID", "data": "\\ud800"}'),
        ("callback/async", '{"request_id": "\\ud800", "data": 1}'),
    ],
)
async def test_values_that_json_can_not_say_are_400_and_can_be_repeated(
    gateway: Running, server: Executions, what: str, text: str
) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id)
        data = text.replace("ID", request_id).encode()
        url, fields = f"{gateway.url}/api/internal/{what}", {"content-type": "application/json"}
        async with gateway.client.post(url, data=data, headers=fields) as response:
            assert response.status == 400, await response.text()
        assert await call_back(gateway, request_id=request_id, data=1) == (200, {"status": "delivered"})
        assert (await stream.result()).data["params"]["data"] == 1


@QUIET
async def test_an_error_without_a_message_is_the_data_of_the_failure(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id)
        assert (await call_back(gateway, request_id=request_id, error={"code": 7}))[0] == 200
        error = {"code": -32000, "message": "The playbook failed", "data": {"code": 7}}
        assert (await stream.result()).data["params"]["error"] == error


@QUIET
async def test_a_callback_with_an_unknown_status_is_refused_and_can_be_repeated(
    gateway: Running, server: Executions
) -> None:
    headers = await gateway.bearer()
    request_id = await started(gateway, headers, "tab-1")
    assert (await call_back(gateway, request_id=request_id, status="DONE"))[0] == 400
    assert (await call_back(gateway, request_id=request_id, status="COMPLETED"))[0] == 202


@pytest.mark.gateway(more="live: {internal_token: 's3cret'}")
async def test_callbacks_need_the_token(gateway: Running) -> None:
    for headers, status in (
        ({}, 401),
        ({"x-internal-token": "wrong"}, 401),
        ({"authorization": "Bearer wrong"}, 401),
        ({"x-internal-token": "s3cret"}, 404),
        ({"authorization": "Bearer s3cret"}, 404),
    ):
        for what in ("callback/async", "progress"):
            assert (await call_back(gateway, what, headers, request_id="no"))[0] == status
    assert (await call_back(gateway, "callback", request_id="no"))[0] == 401


@pytest.mark.gateway(more="live: {internal_token: 'sécret'}")
async def test_the_token_counts_in_any_field_and_as_utf_8(gateway: Running) -> None:
    right = "Bearer sécret".encode()
    for first in (b"authorization: Basic x\r\nauthorization: ", b"x-internal-token:\r\nauthorization: "):
        head = b"POST /api/internal/progress HTTP/1.1\r\nhost: x\r\nconnection: close\r\n" + first
        body = b'{"request_id":"no"}'
        rest = b"content-type: application/json\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
        assert (await gateway.raw(head + right + b"\r\n" + rest)).startswith(b"HTTP/1.1 404 ")
        assert (await gateway.raw(head + b"Bearer no\r\n" + rest)).startswith(b"HTTP/1.1 401 ")


@pytest.mark.gateway(more="live: {internal_allow_from: [10.9.9.0/24]}")
async def test_callbacks_come_from_the_internal_networks_only(gateway: Running) -> None:
    for what in ("callback", "callback/async", "progress"):
        assert (await call_back(gateway, what, request_id="no"))[0] == 403


async def test_an_execution_is_followed_to_its_end(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id)
        server.status = {"completed_steps": ["read"], "completed": False, "failed": False, "status": "RUNNING"}
        step = await stream.news()
        assert step.kind == "playbook/state"
        assert step.data["params"]["event_type"] == "step.exit"
        assert (step.data["params"]["step_name"], step.data["params"]["execution_id"]) == ("read", "101")
        server.complete(["read", "write"], {"rows": 3})
        news: list[Any] = [await stream.news() for _ in range(3)]
        assert [message.data["params"].get("step_name") for message in news[:2]] == ["write", None]
        assert news[1].data["params"]["event_type"] == "playbook.completed"
        assert news[2].data["params"] == {
            "requestId": request_id, "executionId": "101", "status": "COMPLETED", "data": {"rows": 3}
        }  # fmt: skip
        assert await call_back(gateway, request_id=request_id, data=1) == (200, {"status": "duplicate"})


async def test_a_callback_ends_the_polls(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id)
        await eventually(lambda: server.polls > 0)
        await call_back(gateway, request_id=request_id, data=1)
        assert (await stream.result()).data["params"]["data"] == 1
        polls = server.polls
        await asyncio.sleep(0.7)
        assert server.polls <= polls + 1


async def test_a_start_that_fails_leaves_nothing(gateway: Running, server: Executions) -> None:
    server.refuse = 500
    headers = await gateway.bearer()
    assert (await run(gateway, headers, "tab-1"))["errors"]
    async with events(gateway, headers, "tab-1") as stream:
        assert "pendingRequests" not in stream.hello


async def test_without_a_client_id_nothing_waits(gateway: Running, server: Executions) -> None:
    found = await run(gateway, await gateway.bearer(), None, x=1)
    assert found["data"]["executePlaybook"]["requestId"] is None
    assert server.started[0]["workload"] == {"x": 1}


@QUIET
async def test_a_large_result(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        for size, status in ((64 * 1024, 200), (5 * 1024**2 - 200, 200), (5 * 1024**2, 413)):
            request_id = await started(gateway, headers, stream.client_id)
            assert (await call_back(gateway, request_id=request_id, data="x" * size))[0] == status
            if status == 200:
                assert await _length_of_result(stream) == size


async def _length_of_result(stream: Events) -> int:
    data = b""
    async with asyncio.timeout(PATIENCE):
        while b"playbook/result" not in data or not data.endswith(b"\n\n"):
            data += await stream.response.content.readany()
    return data.rpartition(b'"data":"')[2].index(b'"')


async def _read_to_the_end(stream: Events) -> None:
    """Read until the end of a stream, which is an error where the gateway cut it."""
    while await stream.response.content.readany():
        pass


@pytest.mark.gateway(more="live: {follow: false, queue: 4}")
async def test_a_slow_reader_is_cut_and_resumes(gateway: Running, server: Executions) -> None:
    headers, big = await gateway.bearer(), "x" * 1024**2
    async with (
        ClientSession(connector=TCPConnector(socket_factory=small_buffers)) as slow,
        events(gateway, headers, client=slow) as stream,
    ):
        ids = [await started(gateway, headers, stream.client_id) for _ in range(8)]
        client_id = stream.client_id
        for request_id in ids:
            assert (await call_back(gateway, request_id=request_id, data=big))[0] in (200, 202)
        with pytest.raises(ClientPayloadError):
            await _read_to_the_end(stream)
    await left(gateway, client_id)
    async with gateway.client.get(
        f"{gateway.url}/events?client_id={client_id}", headers={**headers, "last-event-id": "0"}
    ) as response:
        data = b""
        async with asyncio.timeout(PATIENCE):
            while data.count(b"event: playbook/result") < 8 or not data.endswith(b"\n\n"):
                data += await response.content.readany()
        assert all(data.count(request_id.encode()) == 1 for request_id in ids)


@pytest.mark.gateway(more="live: {request_lifetime: 1s}")
async def test_an_execution_that_goes_on_keeps_its_request(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id)
        await asyncio.sleep(2)
        assert await call_back(gateway, "progress", request_id=request_id) == (200, {"status": "sent"})
        server.complete(["read"], {"rows": 1})
        assert (await stream.result()).data["params"]["data"] == {"rows": 1}


@pytest.mark.gateway(more="live: {request_lifetime: 100ms, follow: false}")
async def test_a_request_without_a_sign_of_life_is_forgotten(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    request_id = await started(gateway, headers, "tab-1")
    await asyncio.sleep(0.2)
    assert (await call_back(gateway, request_id=request_id))[0] == 404
    async with events(gateway, headers, "tab-1") as stream:
        assert "pendingRequests" not in stream.hello


@QUIET
async def test_a_callback_before_the_start_has_answered(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    server.may_start = asyncio.Event()
    async with events(gateway, headers) as stream:
        starting = asyncio.ensure_future(started(gateway, headers, stream.client_id))
        await eventually(lambda: bool(server.started))
        request_id = server.started[0]["workload"]["request_id"]
        calling = asyncio.ensure_future(call_back(gateway, request_id=request_id, execution_id="777", data=1))
        await asyncio.sleep(0.2)
        server.may_start.set()
        assert await starting == request_id
        assert await calling == (200, {"status": "delivered"})
        assert (await stream.result()).data["params"]["executionId"] == "101"


async def test_a_store_that_fails_starts_nothing(
    gateway: Running, server: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Any:
        raise StoreError("full")

    headers = await gateway.bearer()
    monkeypatch.setattr(gateway.server.gateway.store.live, "begin", fail)
    found = await run(gateway, headers, "tab-1")
    assert found["errors"][0]["extensions"] == {"code": "UPSTREAM_UNAVAILABLE", "status": 503}
    assert not server.started


@QUIET
async def test_a_store_that_fails_behind_a_start_does_not_hide_what_has_started(
    gateway: Running, server: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def fail(*_: Any) -> Any:
        raise StoreError("away")

    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        with monkeypatch.context() as broken:
            broken.setattr(gateway.server.gateway.store.live, "started", fail)
            found = (await run(gateway, headers, stream.client_id))["data"]["executePlaybook"]
        assert found["executionId"] == "101"
        answer = await call_back(gateway, request_id=found["requestId"], execution_id="101", data=1)
        assert answer == (200, {"status": "delivered"})
        assert (await stream.result()).data["params"]["requestId"] == found["requestId"]


async def test_a_reload_that_is_refused_changes_nothing(
    gateway: Running, server: Executions, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(*_: Any) -> Any:
        raise OSError("no certificate")

    monkeypatch.setattr("proxy.server.serving.differences", refuse)
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        hub = gateway.serving.process.hub
        before = hub.settings, hub.store
        text = (gateway.server.gateway.compiled.loaded.file).read_text() + "\nlive: {queue: 7}\n"
        gateway.server.gateway.compiled.loaded.file.write_text(text)
        loaded = compile_config(load(gateway.server.gateway.compiled.loaded.file, {}))
        assert not await gateway.serving.reload(lambda: loaded)
        assert (hub.settings, hub.store) == before
        request_id = await started(gateway, headers, stream.client_id)
        assert await call_back(gateway, request_id=request_id, data=1) == (200, {"status": "delivered"})


async def test_a_reload_keeps_streams_and_requests(gateway: Running, server: Executions) -> None:
    headers = await gateway.bearer()
    async with events(gateway, headers) as stream:
        request_id = await started(gateway, headers, stream.client_id)
        assert await gateway.serving.reload(lambda: gateway.serving.current.gateway.compiled)
        assert await call_back(gateway, request_id=request_id, data=1) == (200, {"status": "delivered"})
        assert (await stream.result()).data["params"]["data"] == 1
