"""Several urls of one upstream on real sockets: balancing, fail-over, retries and their limits, health, circuits."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.e2e.processes import free_port
from tests.integration.harness import PATIENCE, Answer, Running, Upstream, behind_gateway, eventually, upstream_running
from tests.timers import Timers


def answering(status: int, text: str = "") -> Answer:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=status, text=text)

    return answer


@asynccontextmanager
async def behind(folder: Path, count: int, settings: str = "") -> AsyncIterator[tuple[Running, list[Upstream]]]:
    """A gateway before so many upstreams, each of which says its number."""
    async with AsyncExitStack() as stack:
        upstreams = [await stack.enter_async_context(upstream_running()) for _ in range(count)]
        for number, upstream in enumerate(upstreams):
            upstream.answer = answering(200, str(number))
        urls = [f"http://127.0.0.1:{upstream.port}" for upstream in upstreams]
        more = f"upstreams: {{noetl: {{urls: {urls}, {settings}}}}}\n"
        gateway, _ = await stack.enter_async_context(behind_gateway(folder, more=more))
        yield gateway, upstreams


async def get(gateway: Running, path: str = "/noetl/x", method: str = "GET", **headers: str) -> tuple[int, str]:
    async with gateway.client.request(method, gateway.url + path, headers=headers) as answer:
        return answer.status, await answer.text()


async def test_requests_go_round_on_both_transports(tmp_path: Path) -> None:
    async with behind(tmp_path, 3) as (gateway, upstreams):
        headers = await gateway.bearer()
        for _ in range(30):
            assert (await get(gateway, **headers))[0] == 200
        assert sorted(len(upstream.seen) for upstream in upstreams) == [10, 10, 10]


async def test_a_session_stays_with_its_url(tmp_path: Path) -> None:
    async with behind(tmp_path, 3, "balance: consistent_hash, hash_on: session") as (gateway, upstreams):
        for _ in range(6):
            headers = await gateway.bearer()
            before = [len(upstream.seen) for upstream in upstreams]
            for _ in range(4):
                await get(gateway, **headers)
            assert sorted(len(u.seen) - b for u, b in zip(upstreams, before, strict=True)) == [0, 0, 4]


async def test_graphql_goes_where_the_session_s_other_requests_go(tmp_path: Path) -> None:
    async with behind(tmp_path, 3, "balance: consistent_hash, hash_on: session") as (gateway, upstreams):
        headers = await gateway.bearer()
        await get(gateway, **headers)
        (mine,) = (upstream for upstream in upstreams if upstream.seen)
        for _ in range(4):
            query = {"query": '{ executionStatus(executionId: "1") { status } }'}
            async with gateway.client.post(f"{gateway.url}/graphql", json=query, headers=headers) as answer:
                assert answer.status == 200
        assert len(mine.seen) >= 5
        assert [len(upstream.seen) for upstream in upstreams if upstream is not mine] == [0, 0]


async def test_a_header_decides_where_the_configuration_says_so(tmp_path: Path) -> None:
    async with behind(tmp_path, 3, "balance: consistent_hash, hash_on: 'header:x-shard'") as (gateway, _):
        headers = await gateway.bearer()
        answers = [{await get(gateway, **headers, **{"x-shard": str(key)}) for _ in range(3)} for key in range(12)]
        assert [len(answer) for answer in answers] == [1] * 12
        assert len(set.union(*answers)) > 1


async def test_one_of_three_dead_is_not_noticed_by_any_method(tmp_path: Path) -> None:
    dead = free_port()
    async with behind(tmp_path, 2) as (_, upstreams):
        urls = [f"http://127.0.0.1:{port}" for port in (dead, *(upstream.port for upstream in upstreams))]
        more = f"upstreams: {{noetl: {{urls: {urls}}}}}\n"
        async with behind_gateway(tmp_path, more=more) as (gateway, _):
            headers = await gateway.bearer()
            statuses = {(await get(gateway, "/noetl/x", m, **headers))[0] for m in ("GET", "POST", "PUT") * 10}
            assert statuses == {200}
            assert sum(len(upstream.seen) for upstream in upstreams) == 30
            await eventually(lambda: all(e.pool.busy == 0 for e in gateway.server.gateway.upstreams["noetl"].endpoints))


async def test_all_dead_is_502_and_back_is_200_at_once(tmp_path: Path) -> None:
    ports = [free_port(), free_port()]
    more = f"upstreams: {{noetl: {{urls: {[f'http://127.0.0.1:{port}' for port in ports]}}}}}\n"
    async with behind_gateway(tmp_path, more=more) as (gateway, _):
        headers = await gateway.bearer()
        assert [(await get(gateway, **headers))[0] for _ in range(5)] == [502] * 5
        runner = web.ServerRunner(web.Server(answering(200)), handle_signals=False)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", ports[0]).start()
        assert [(await get(gateway, **headers))[0] for _ in range(5)] == [200] * 5
        await runner.cleanup()


async def test_safe_request_after_503_is_retried_at_another_url(tmp_path: Path) -> None:
    async with behind(tmp_path, 2) as (gateway, upstreams):
        upstreams[0].answer = answering(503)
        headers = await gateway.bearer()
        assert {await get(gateway, **headers) for _ in range(8)} == {(200, "1")}


async def test_a_request_that_may_have_been_acted_on_is_sent_once(tmp_path: Path) -> None:
    async with behind(tmp_path, 2) as (gateway, upstreams):
        for upstream in upstreams:
            upstream.answer = answering(503)
        headers = await gateway.bearer()
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            assert (await get(gateway, "/noetl/x", method, **headers))[0] == 503
        assert sum(len(upstream.seen) for upstream in upstreams) == 4


async def test_retries_are_one_each_and_a_tenth_in_all(tmp_path: Path) -> None:
    async with behind(tmp_path, 1) as (gateway, (upstream,)):
        upstream.answer = answering(503)
        headers = await gateway.bearer()
        await get(gateway, **headers)
        assert len(upstream.seen) == 2
        for _ in range(199):
            await get(gateway, **headers)
        assert 200 + 15 <= len(upstream.seen) <= 200 + 10 + 25


async def test_without_retries_a_failure_is_passed_on(tmp_path: Path) -> None:
    async with behind(tmp_path, 1, "retries: {attempts: 0}") as (gateway, (upstream,)):
        upstream.answer = answering(503, "busy")
        assert await get(gateway, **await gateway.bearer()) == (503, "busy")
        assert len(upstream.seen) == 1


async def test_health_checks_find_the_sick_and_the_well_again(tmp_path: Path) -> None:
    health = "health: {path: /healthz, interval: 50ms, timeout: 1s, unhealthy_after: 2, healthy_after: 1}"
    async with behind(tmp_path, 2, f"{health}, retries: {{attempts: 0}}") as (gateway, upstreams):
        first = gateway.server.gateway.upstreams["noetl"].endpoints[0]
        upstreams[0].answer = answering(500)
        await eventually(lambda: not first.healthy)
        headers = await gateway.bearer()
        assert {await get(gateway, **headers) for _ in range(6)} == {(200, "1")}
        upstreams[0].answer = answering(200, "0")
        await eventually(lambda: first.healthy)
        assert {await get(gateway, **headers) for _ in range(6)} == {(200, "0"), (200, "1")}
        assert {request.path for request in upstreams[0].seen} == {"/healthz", "/api/x"}


async def test_an_open_circuit_answers_503_without_asking_and_closes_after_a_probe(tmp_path: Path) -> None:
    circuit = "circuit: {failures: 3, window: 10s, open: 300ms}, retries: {attempts: 0}"
    async with behind(tmp_path, 1, circuit) as (gateway, (upstream,)):
        upstream.answer = answering(502)
        headers = await gateway.bearer()
        assert [(await get(gateway, **headers))[0] for _ in range(5)] == [502, 502, 502, 503, 503]
        assert len(upstream.seen) == 3
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
            assert answer.headers["retry-after"] == "1"
        upstream.answer = answering(200)
        async with asyncio.timeout(PATIENCE):
            while (await get(gateway, **headers))[0] != 200:
                pass
        assert [(await get(gateway, **headers))[0] for _ in range(3)] == [200] * 3


async def test_more_than_may_wait_get_503_at_once(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def wait(request: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response()

    async with behind(tmp_path, 1, "max_connections: 1, max_pending: 1") as (gateway, (upstream,)):
        upstream.answer = wait
        headers = await gateway.bearer()
        pool = gateway.server.gateway.upstreams["noetl"].pool
        held = asyncio.create_task(get(gateway, **headers))
        await eventually(lambda: pool.busy == 1)
        waiting = asyncio.create_task(get(gateway, **headers))
        await eventually(lambda: pool.waiting == 1)
        start = time.monotonic()
        assert (await get(gateway, **headers))[0] == 503
        assert time.monotonic() - start < 1
        release.set()
        assert [(await held)[0], (await waiting)[0]] == [200, 200]


async def test_a_retry_after_the_fast_path_goes_to_another_url(tmp_path: Path) -> None:
    async with behind(tmp_path, 2, "balance: consistent_hash, hash_on: session") as (gateway, upstreams):
        headers = await gateway.bearer()
        await get(gateway, **headers)
        mine = next(upstream for upstream in upstreams if upstream.seen)
        mine.answer = answering(503)
        assert {(await get(gateway, **headers))[0] for _ in range(4)} == {200}


async def test_health_checks_keep_no_connection_of_a_url_whose_answer_never_ends(tmp_path: Path) -> None:
    async def endless(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b"x")
            await asyncio.sleep(0.02)
        return response

    health = "health: {path: /healthz, interval: 50ms, timeout: 100ms, unhealthy_after: 2}"
    async with behind(tmp_path, 1, health) as (gateway, (upstream,)):
        upstream.answer = endless
        endpoint = gateway.server.gateway.upstreams["noetl"].endpoints[0]
        await eventually(lambda: endpoint.pool.probes >= 6)
        assert endpoint.pool.busy <= 1
        assert not endpoint.healthy


async def test_health_checks_take_nothing_of_the_retries_and_end_no_ejection(tmp_path: Path) -> None:
    health = "health: {path: /healthz, interval: 50ms, timeout: 1s}"
    async with behind(tmp_path, 2, health) as (gateway, _):
        client = gateway.server.gateway.upstreams["noetl"]
        endpoint = client.endpoints[0]
        endpoint.failed(unreachable=True)
        await eventually(lambda: endpoint.pool.probes >= 4)
        assert endpoint.ejected_until > 0
        assert endpoint.pool.requests == endpoint.pool.probes


async def test_an_open_circuit_without_traffic_closes_after_a_health_check(tmp_path: Path) -> None:
    more = "circuit: {failures: 1, window: 10s, open: 200ms}, retries: {attempts: 0}"
    health = "health: {path: /healthz, interval: 50ms, timeout: 1s}"
    async with behind(tmp_path, 1, f"{more}, {health}") as (gateway, _):
        endpoint = gateway.server.gateway.upstreams["noetl"].endpoints[0]
        endpoint.failed(unreachable=False)
        assert endpoint.circuit is not None
        circuit = endpoint.circuit
        await eventually(lambda: circuit.state.value == "closed")


async def test_a_quiet_event_stream_opens_no_circuit(tmp_path: Path) -> None:
    async def quiet(request: web.BaseRequest) -> web.StreamResponse:
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b": hello\n\n")
        await asyncio.sleep(PATIENCE)
        return response

    more = "circuit: {failures: 1, window: 10s, open: 60s}, idle_timeout: 100ms"
    async with behind(tmp_path, 1, more) as (gateway, (upstream,)):
        headers = await gateway.bearer()
        upstream.answer = quiet
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as stream:
            with pytest.raises(aiohttp.ClientError):
                await stream.read()
        upstream.answer = answering(200)
        assert (await get(gateway, **headers))[0] == 200


async def test_a_retired_upstream_leaves_no_timer(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    async with behind(tmp_path, 1) as (gateway, _):
        await get(gateway, **await gateway.bearer())
        pool = gateway.server.gateway.upstreams["noetl"].pool
        assert timers.of(pool) == 1
        pool.retire()
        await eventually(lambda: timers.of(pool) == 0)


@pytest.mark.parametrize("balance", ["consistent_hash", "noetl_shards"])
@pytest.mark.parametrize("how", ["small", "large", "chunked", "streaming"])
async def test_events_of_an_execution_go_where_its_status_is_asked(tmp_path: Path, balance: str, how: str) -> None:
    async with behind(tmp_path, 4, f"balance: {balance}, bridge: false") as (gateway, upstreams):
        for shard, upstream in enumerate(upstreams):
            upstream.answer = answering(200, json.dumps({"path": "team/flow", "shard": shard}))
        headers = {**await gateway.bearer(), "content-type": "application/json"}
        for number in range(12):
            execution_id = str(549325390032929117 + number)
            polled = await get(gateway, f"/noetl/executions/{execution_id}/status", **headers)
            padding = "x" * (300_000 if how == "large" else 10)
            data = json.dumps({"padding": padding, "execution_id": execution_id}).encode()
            body: object = _in_parts(data) if how == "chunked" else data
            more = {"expect": "100-continue"} if how == "streaming" else {}
            url = f"{gateway.url}/noetl/events"
            async with gateway.client.post(url, data=body, headers={**headers, **more}) as response:
                assert (response.status, await response.text()) == polled
            if balance == "noetl_shards":
                preview = f"/sharding/preview?execution_id={execution_id}"
                found = json.loads((await get(gateway, preview))[1])
                assert (found["shard_count"], str(found["shard_index"])) == (4, str(json.loads(polled[1])["shard"]))


async def _in_parts(data: bytes) -> AsyncIterator[bytes]:
    yield data[:5]
    yield data[5:]


async def test_preview_of_a_shard(tmp_path: Path) -> None:
    async with behind(tmp_path, 1) as (gateway, _):
        status, text = await get(gateway, "/sharding/preview?execution_id=549325390032929117&shard_count=4")
        assert (status, json.loads(text)) == (200, {
            "execution_id": 549325390032929117, "shard_count": 4, "shard_index": 1, "source": "noetl-gateway",
            "hash_function": "twox_hash::XxHash64", "seed": 0,
        })  # fmt: skip
        counts = [f"execution_id=1&shard_count={count}" for count in ("0", "70000", "x")]
        for query in ("", "execution_id=x", "execution_id=-1", *counts):
            assert (await get(gateway, f"/sharding/preview?{query}"))[0] == 400
