"""One user can't take an upstream away from all others, on both transports."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.integration.harness import TRANSPORTS, Running, Upstream, behind_gateway, eventually

LIMITS = "max_connections: 8, max_pending: 8, connect_timeout: 5s"


@asynccontextmanager
async def with_slow_requests(
    folder: Path, fast: bool, more: str = ""
) -> AsyncIterator[tuple[Running, Upstream, asyncio.Event]]:
    """A gateway whose upstream answers `/api/slow` once the event is set."""
    done = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/slow":
            await done.wait()
        return web.json_response({})

    text = f"upstreams: {{noetl: {{urls: ['UPSTREAM'], {LIMITS}{more}}}}}\n"
    async with behind_gateway(folder, fast=fast, more=text) as (gateway, upstream):
        upstream.answer = answer
        try:
            yield gateway, upstream, done
        finally:
            done.set()


async def get(gateway: Running, path: str, headers: dict[str, str]) -> int:
    async with gateway.client.get(gateway.url + path, headers=headers) as answer:
        return answer.status


@TRANSPORTS
@pytest.mark.parametrize(("more", "most"), [("", 2), (", user_share: 0.5", 4)])
async def test_one_user_has_a_share_and_others_are_served(tmp_path: Path, fast: bool, more: str, most: int) -> None:
    async with with_slow_requests(tmp_path, fast, more) as (gateway, upstream, done):
        anna, bert = await gateway.bearer("anna@staff.test"), await gateway.bearer("bert@staff.test")
        await asyncio.gather(*(get(gateway, "/noetl/x", bert) for _ in range(4)))
        before = len(upstream.seen)
        tasks = [asyncio.create_task(get(gateway, "/noetl/slow", anna)) for _ in range(20)]
        refused = 20 - most - most
        await eventually(lambda: sum(task.done() for task in tasks) == refused)
        assert len(upstream.seen) - before == most
        assert await asyncio.gather(*(get(gateway, "/noetl/x", bert) for _ in range(4))) == [200] * 4
        async with gateway.client.get(f"{gateway.url}/ready") as ready:
            assert (await ready.json())["upstreams"] == {"noetl": "ok"}
        done.set()
        assert sorted(await asyncio.gather(*tasks)) == [200] * (20 - refused) + [503] * refused
        pool = gateway.server.gateway.upstreams["noetl"].pool
        await eventually(lambda: pool.busy == 0)
        assert (pool.waiting, await get(gateway, "/noetl/x", anna)) == (0, 200)


@TRANSPORTS
async def test_client_that_leaves_gives_its_share_back(tmp_path: Path, fast: bool) -> None:
    async with with_slow_requests(tmp_path, fast) as (gateway, upstream, _):
        anna = await gateway.bearer()
        await get(gateway, "/noetl/x", anna)
        for _ in range(3):
            before = len(upstream.seen)
            tasks = [asyncio.create_task(get(gateway, "/noetl/slow", anna)) for _ in range(4)]
            await eventually(lambda before=before: len(upstream.seen) - before == 2)  # type: ignore[misc]
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)
            await eventually(lambda: gateway.server.in_flight == 0)
        assert await get(gateway, "/noetl/x", anna) == 200


@TRANSPORTS
async def test_addresses_without_a_session_have_a_share_too(tmp_path: Path, fast: bool) -> None:
    routes = "routes: [{path: '/open/{path:**}', upstream: noetl, rewrite: '/api/{path}', auth: none}]\n"
    text = f"upstreams: {{noetl: {{urls: ['UPSTREAM'], {LIMITS}}}}}\n{routes}"
    done = asyncio.Event()

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        await done.wait()
        return web.json_response({})

    proxies = "trusted_proxies: [127.0.0.0/8]"
    async with behind_gateway(tmp_path, fast=fast, more=text, server=proxies) as (gateway, upstream):
        upstream.answer = answer
        hog, other = {"x-forwarded-for": "198.51.100.7"}, {"x-forwarded-for": "198.51.100.8"}
        tasks = [asyncio.create_task(get(gateway, "/open/x", hog)) for _ in range(4)]
        await eventually(lambda: len(upstream.seen) == 2)
        tasks.append(asyncio.create_task(get(gateway, "/open/x", other)))
        await eventually(lambda: len(upstream.seen) == 3)
        done.set()
        assert await asyncio.gather(*tasks) == [200] * 5
