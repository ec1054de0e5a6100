"""Clients that are slow on purpose, a few and thousands: cut at the deadlines, and no harm to anybody else."""

from __future__ import annotations

import asyncio
import resource
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from tests.integration.harness import PATIENCE, behind_gateway, eventually
from tests.integration.spawned import Spawned, gateway_process

SLOW = 5000


def head(token: str, length: int) -> bytes:
    """The head of a request with a body."""
    fields = f"host: a\r\nauthorization: Bearer {token}\r\ncontent-length: {length}"
    return f"POST /noetl/x HTTP/1.1\r\n{fields}\r\n\r\n".encode()


async def after_the_body(request: web.BaseRequest) -> web.StreamResponse:
    """Answers once the request's body has come."""
    await request.read()
    return web.Response(text="fine")


async def test_a_body_that_trickles_below_the_least_rate_is_408(tmp_path: Path) -> None:
    limits = "limits: {body_timeout: 200ms, min_rate: 1KiB}"
    async with behind_gateway(tmp_path, server=limits) as (gateway, upstream):
        upstream.answer = after_the_body
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(await gateway.session(), 9999))
        trickling = asyncio.create_task(_trickle(writer, 0.02))
        async with asyncio.timeout(PATIENCE):
            answer = await reader.readuntil(b"\r\n\r\n")
        trickling.cancel()
        writer.close()
    assert answer.startswith(b"HTTP/1.1 408")


async def test_a_body_that_is_slow_but_fast_enough_is_taken(tmp_path: Path) -> None:
    limits = "limits: {body_timeout: 200ms, min_rate: 20B}"
    async with behind_gateway(tmp_path, server=limits) as (gateway, upstream):
        upstream.answer = after_the_body
        reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
        writer.write(head(await gateway.session(), 30))
        trickling = asyncio.create_task(_trickle(writer, 0.02, 30))
        async with asyncio.timeout(PATIENCE):
            answer = await reader.readuntil(b"\r\n\r\n")
        await trickling
        writer.close()
    assert answer.startswith(b"HTTP/1.1 200")


async def _trickle(writer: asyncio.StreamWriter, pause: float, count: int = 1_000_000) -> None:
    for _ in range(count):
        writer.write(b"x")
        await asyncio.sleep(pause)


class Crowd:
    """Many raw connections, each with its way of being slow; each notes when it was cut."""

    def __init__(self, port: int, begin: Callable[[int], bytes]) -> None:
        self._port, self._begin = port, begin
        self.cut = 0
        self.connected = 0

    async def gather(self, count: int) -> None:
        """Open them all."""
        loop = asyncio.get_running_loop()
        for start in range(0, count, 250):
            await asyncio.gather(
                *(
                    loop.create_connection(partial(_Slow, self, self._begin(number)), "127.0.0.1", self._port)
                    for number in range(start, min(start + 250, count))
                )
            )


class _Slow(asyncio.Protocol):
    """Sends its beginning, and then reads nothing and says nothing."""

    def __init__(self, crowd: Crowd, begin: bytes) -> None:
        self._crowd, self._begin = crowd, begin

    def connection_made(self, transport: Any) -> None:
        self._crowd.connected += 1
        transport.write(self._begin)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._crowd.cut += 1


def beginnings(token: str) -> Callable[[int], bytes]:
    """Half a head, a body that does not come, by turns."""
    half_a_head = b"GET /noetl/x HTTP/1.1\r\nhost: a\r\nx-slow: "
    no_body = (
        f"POST /noetl/x HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {token}\r\ncontent-length: 9\r\n\r\nx".encode()
    )
    return lambda number: (half_a_head, no_body)[number % 2]


async def ask(gateway: Spawned, times: int) -> tuple[set[int], list[float]]:
    """A normal client: the statuses it gets, and how long each answer took."""
    statuses, took = set(), []
    timeout = aiohttp.ClientTimeout(total=PATIENCE)
    async with aiohttp.ClientSession(headers=gateway.bearer, timeout=timeout) as client:
        for _ in range(times):
            start = time.perf_counter()
            async with client.get(f"{gateway.url}/noetl/x") as answer:
                await answer.read()
                statuses.add(answer.status)
            took.append(time.perf_counter() - start)
    return statuses, sorted(took)


@pytest.mark.slow
async def test_five_thousand_slow_clients_are_cut_and_harm_nobody(tmp_path: Path, show: Callable[[str], None]) -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
    try:
        limits = "limits: {header_timeout: 4s, body_timeout: 4s}"
        async with gateway_process(tmp_path, server=limits) as gateway:
            gateway.upstream.answer = after_the_body
            _, before = await ask(gateway, 200)
            crowd = Crowd(gateway.port, beginnings(gateway.token))
            await crowd.gather(SLOW)
            assert crowd.connected == SLOW
            statuses, during = await ask(gateway, 200)
            assert statuses == {200}
            await eventually(lambda: crowd.cut == SLOW)
            statuses, _ = await ask(gateway, 20)
            assert statuses == {200}
            show(
                f"{SLOW} slow clients: a normal client's median {before[100] * 1000:.2f} ms before, "
                f"{during[100] * 1000:.2f} ms among them, p99 {before[198] * 1000:.2f} and {during[198] * 1000:.2f} ms"
            )
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


@pytest.mark.slow
async def test_many_slow_readers_are_cut_and_harm_nobody(tmp_path: Path) -> None:
    async def large(request: web.BaseRequest) -> web.StreamResponse:
        if request.path == "/api/x":
            return web.Response(text="fine")
        response = web.StreamResponse()
        await response.prepare(request)
        while request.transport is not None and not request.transport.is_closing():
            await response.write(b"x" * 65536)
        return response

    async with gateway_process(tmp_path, server="limits: {body_timeout: 1s}") as gateway:
        gateway.upstream.answer = large
        asked = f"GET /noetl/large HTTP/1.1\r\nhost: a\r\nauthorization: Bearer {gateway.token}\r\n\r\n".encode()
        crowd = _Readers(gateway.port, asked)
        await crowd.gather(200)
        statuses, _ = await ask(gateway, 50)
        assert statuses == {200}
        await eventually(lambda: len(gateway.events("client.too_slow")) == 200)
        await crowd.leave()


class _Readers:
    """Clients that ask for much and read nothing."""

    def __init__(self, port: int, head: bytes) -> None:
        self._port, self._head = port, head
        self._writers: list[asyncio.StreamWriter] = []

    async def gather(self, count: int) -> None:
        for _ in range(count):
            _, writer = await asyncio.open_connection("127.0.0.1", self._port, limit=1024)
            writer.write(self._head)
            self._writers.append(writer)

    async def leave(self) -> None:
        for writer in self._writers:
            writer.transport.abort()


async def test_bodies_in_chunks_that_stall_leave_half_of_the_upstreams_connections_to_others(tmp_path: Path) -> None:
    more = "upstreams: {noetl: {urls: ['UPSTREAM'], max_connections: 4, user_share: 1}}\n"
    async with behind_gateway(tmp_path, more=more) as (gateway, upstream):
        upstream.answer = after_the_body
        pool, writers = gateway.server.gateway.upstreams["noetl"].pool, []
        token = await gateway.session()
        fields = f"host: a\r\nauthorization: Bearer {token}\r\ntransfer-encoding: chunked"
        for _ in range(2):
            _, writer = await asyncio.open_connection("127.0.0.1", gateway.port)
            writer.write(f"POST /noetl/x HTTP/1.1\r\n{fields}\r\n\r\n1\r\nx\r\n".encode())
            writers.append(writer)
        await eventually(lambda: pool.uploads == 2)
        third = f"POST /noetl/x HTTP/1.1\r\n{fields}\r\n\r\n1\r\nx\r\n".encode()
        assert (await gateway.raw(third, until_closed=False)).startswith(b"HTTP/1.1 503")
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer()) as answer:
            assert answer.status == 200
        for writer in writers:
            writer.transport.abort()
        await eventually(lambda: (pool.uploads, pool.busy) == (0, 0))
