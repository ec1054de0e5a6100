"""Several workers under one process: how they are told, resized and counted; on real processes."""

from __future__ import annotations

import asyncio
import re
import signal
from collections.abc import Callable
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.integration.harness import PATIENCE, eventually
from tests.integration.spawned import Spawned, gateway_process

TWO = "workers: 2"


async def pids_of(gateway: Spawned, count: int = 2) -> dict[int, int]:
    """The workers' process ids, by their numbers, once so many have become ready."""
    return {line["worker"]: line["pid"] for line in await gateway.logged("worker.ready", count)}


async def connected(gateway: Spawned, count: int) -> list[aiohttp.ClientSession]:
    """Clients with one kept connection each; so many that every worker has some."""
    clients = [aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=1)) for _ in range(count)]
    for client in clients:
        async with client.get(f"{gateway.url}/health") as answer:
            assert answer.status == 200
    return clients


async def test_sigterm_to_the_whole_process_group_cuts_no_request(tmp_path: Path) -> None:
    release = asyncio.Event()

    async def slow(request: web.BaseRequest) -> web.StreamResponse:
        await release.wait()
        return web.Response(text="late")

    async with gateway_process(tmp_path, server=TWO) as gateway:
        gateway.upstream.answer = slow
        pids = await pids_of(gateway)
        clients = await connected(gateway, 12)
        timeout = aiohttp.ClientTimeout(total=PATIENCE)
        async with aiohttp.ClientSession(headers=gateway.bearer, timeout=timeout) as client:
            asked = asyncio.create_task(client.get(f"{gateway.url}/noetl/x"))
            await eventually(lambda: bool(gateway.upstream.relayed))
            for pid in (*pids.values(), gateway.pid):
                gateway.signal(signal.SIGTERM, pid)
            await gateway.logged("gateway.stopping", 3)
            for pid in pids.values():
                gateway.signal(signal.SIGTERM, pid)
            for other in clients:
                async with other.get(f"{gateway.url}/health") as answer:
                    assert answer.headers["connection"] == "close"
                await other.close()
            release.set()
            late = await asked
            assert await late.text() == "late"
        assert await gateway.ended() == 0


@pytest.mark.parametrize("server", ["workers: 1", TWO], ids=["alone", "two workers"])
async def test_a_second_sigterm_ends_at_once(tmp_path: Path, server: str) -> None:
    async def never(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(60)
        return web.Response()

    async with gateway_process(tmp_path, server=f"{server}, shutdown_grace: 60s") as gateway:
        gateway.upstream.answer = never
        if server == TWO:
            await pids_of(gateway)
        async with aiohttp.ClientSession() as client:
            asked = asyncio.create_task(client.get(f"{gateway.url}/noetl/x", headers=gateway.bearer))
            await eventually(lambda: bool(gateway.upstream.relayed))
            gateway.signal(signal.SIGTERM)
            await gateway.logged("gateway.stopping", 3 if server == TWO else 1)
            gateway.signal(signal.SIGTERM)
            with pytest.raises(aiohttp.ClientError):
                await asked
        assert await gateway.ended() == 0
        assert gateway.events("worker.failed") == []


Samples = dict[tuple[str, str], float]
RELAYED = "noetl_gateway_requests_total"
RELOADED = "noetl_gateway_config_last_reload_successful"
LOADED = "noetl_gateway_config_loaded_timestamp_seconds"


async def numbers(gateway: Spawned) -> Samples:
    """The samples of whichever worker answers, by name and `worker`; those of requests only of relayed ones."""
    async with aiohttp.ClientSession() as client, client.get(f"{gateway.url}/metrics") as answer:
        families = text_string_to_metric_families(await answer.text())
    samples = (sample for family in families for sample in family.samples)
    return {
        (sample.name, sample.labels.get("worker", "")): sample.value
        for sample in samples
        if sample.labels.get("route", "/noetl/{path:**}") == "/noetl/{path:**}"
    }


def workers_in(seen: Samples, name: str = LOADED) -> set[str]:
    """Who tells a metric."""
    return {worker for metric, worker in seen if metric == name}


async def until(gateway: Spawned, condition: Callable[[Samples], bool]) -> Samples:
    """The numbers, once they are as wanted, whoever answers; relayed requests never become fewer on the way."""
    relayed = 0.0
    async with asyncio.timeout(PATIENCE):
        while True:
            seen = await numbers(gateway)
            assert seen.get((RELAYED, ""), 0.0) >= relayed
            relayed = seen.get((RELAYED, ""), 0.0)
            if condition(seen):
                return seen
            await asyncio.sleep(0.05)


async def relay(gateway: Spawned, count: int) -> None:
    """Requests on connections of their own."""
    for _ in range(count):
        async with aiohttp.ClientSession(headers=gateway.bearer) as client:
            async with client.get(f"{gateway.url}/noetl/x") as answer:
                assert answer.status == 200


def change_to(gateway: Spawned, workers: int) -> None:
    """Have the gateway read its configuration with another number of workers."""
    gateway.base = re.sub(r"workers: \d+", f"workers: {workers}", gateway.base)
    gateway.rewrite("")
    gateway.signal(signal.SIGHUP)


async def test_a_reload_that_the_process_above_refuses_shows_in_the_metrics(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, server=TWO) as gateway:
        await pids_of(gateway)
        names = {"0", "1", "supervisor"}
        seen = await until(gateway, lambda seen: workers_in(seen, RELOADED) == names)
        assert {seen[(RELOADED, name)] for name in names} == {1}
        gateway.rewrite("nonsense: 1\n")
        gateway.signal(signal.SIGHUP)
        await gateway.logged("reload.rejected")
        seen = await numbers(gateway)
        assert {name: seen[(RELOADED, name)] for name in names} == {"0": 1, "1": 1, "supervisor": 0}
        gateway.rewrite("")
        gateway.signal(signal.SIGHUP)
        await gateway.logged("reload.checked")
        await until(gateway, lambda seen: seen[(RELOADED, "supervisor")] == 1)


async def test_workers_that_a_reload_ends_leave_their_counters_and_nothing_else(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, server="workers: 3") as gateway:
        await pids_of(gateway, 3)
        await until(gateway, lambda seen: workers_in(seen) == {"0", "1", "2"})
        await relay(gateway, 30)
        change_to(gateway, 1)
        seen = await until(gateway, lambda seen: workers_in(seen) == {"0"})
        assert seen[(RELAYED, "")] == 30
        assert seen[("noetl_gateway_connections_limit", "")] == 10_000
        change_to(gateway, 2)
        await pids_of(gateway, 4)
        await relay(gateway, 20)
        await until(gateway, lambda seen: workers_in(seen) == {"0", "1"} and seen[(RELAYED, "")] == 50)
        assert gateway.events("reload.needs_restart") == []


async def test_a_single_process_says_that_workers_need_a_restart_for_as_long_as_they_do(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, server="workers: 1") as gateway:
        for number, workers in enumerate((2, 2, 2, 1), 1):
            change_to(gateway, workers)
            await gateway.logged("reload.done", number)
        told = [line["settings"] for line in gateway.events("reload.needs_restart")]
        assert told == [["server.workers"]] * 3
