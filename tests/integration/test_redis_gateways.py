"""Gateways that share one Redis: what one does, the others know at once; and what they do without Redis."""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import pytest
from aiohttp import web

from proxy.errors import TooManyRequests
from proxy.http.credentials import key_of
from proxy.policy.ratelimit import LimitKey, LimitSettings, RateLimiter
from proxy.rate_limits import RateLimit, share
from proxy.sessions.redis.address import read_address
from proxy.sessions.redis.connection import RedisSettings
from proxy.sessions.redis.live import RedisLive
from proxy.sessions.redis.store import RedisStore
from proxy.sessions.store import Session, StoreError
from tests.integration.gateway.live_server import Executions, call_back, events, run
from tests.integration.harness import (
    PATIENCE,
    RULES,
    TENANT,
    Running,
    Upstream,
    eventually,
    gateway_running,
    upstream_running,
)
from tests.redis_server import DURABLE, RedisServer, wanted

SECOND = 1.0
"""How long the end of a session may take to reach another gateway."""
GRACE = 3.0


class Gateways(NamedTuple):
    """Two gateways, their server, and what they share."""

    one: Running
    two: Running
    server: Executions
    redis: RedisServer

    def store(self, gateway: Running) -> RedisStore:
        """The store of a gateway."""
        store = gateway.server.gateway.store
        assert isinstance(store, RedisStore)
        return store

    def both_cache(self) -> bool:
        """Whether both know that announcements arrive."""
        return self.store(self.one).caches and self.store(self.two).caches


@pytest.fixture
def own_redis() -> Iterator[RedisServer]:
    """A Redis of the test's own, whose data is durable."""
    server = RedisServer(wanted(), *DURABLE)
    server.start()
    yield server
    server.remove()


@pytest.fixture
async def gateways(own_redis: RedisServer, tmp_path: Path) -> AsyncIterator[Gateways]:
    """Two gateways with one Redis, whose grace is three seconds."""
    settings = RedisSettings(read_address(own_redis.url), timeout=1.0, local_grace=GRACE)
    server = Executions()
    async with AsyncExitStack() as opened:
        upstream = await opened.enter_async_context(upstream_running())
        upstream.answer = server.answer
        running = [await _gateway(opened, tmp_path / name, settings, upstream) for name in ("one", "two")]
        found = Gateways(running[0], running[1], server, own_redis)
        await eventually(found.both_cache)
        yield found


async def _gateway(opened: AsyncExitStack, folder: Path, settings: RedisSettings, upstream: Upstream) -> Running:
    await asyncio.to_thread(folder.mkdir)
    text = f"{TENANT}{RULES}upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}\n"
    return await opened.enter_async_context(gateway_running(folder, text, store=RedisStore(settings)))


async def status(gateway: Running, headers: dict[str, str]) -> int:
    """The status of a relayed request."""
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as response:
        await response.read()
        return response.status


async def log_out(gateway: Running, headers: dict[str, str], **members: bool) -> int:
    """The status of a logout."""
    async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers, json=members) as response:
        return response.status


async def used_everywhere(gateways: Gateways, headers: dict[str, str]) -> None:
    """Use a session at both gateways, which cache it; the second request is served on the fast path."""
    for gateway in (gateways.one, gateways.two):
        assert [await status(gateway, headers) for _ in range(2)] == [200, 200]
        begun = gateway.served_fast
        assert await status(gateway, headers) == 200
        assert gateway.served_fast == begun + 1


async def seconds_until(gateway: Running, headers: dict[str, str], wanted: int) -> float:
    """How long it takes until a relayed request has a status."""
    started = time.monotonic()
    async with asyncio.timeout(PATIENCE):
        while await status(gateway, headers) != wanted:  # noqa: ASYNC110 - as in `eventually`
            await asyncio.sleep(0.005)
    return time.monotonic() - started


@pytest.mark.parametrize("everywhere", [False, True])
async def test_a_logout_at_one_gateway_ends_the_session_at_the_other(gateways: Gateways, everywhere: bool) -> None:
    headers = await gateways.one.bearer()
    await used_everywhere(gateways, headers)
    assert await log_out(gateways.one, headers, everywhere=everywhere) == 200
    assert await status(gateways.one, headers) == 401
    assert await seconds_until(gateways.two, headers, 401) < SECOND


async def test_a_logout_ends_streams_of_the_session_at_the_other_gateway(gateways: Gateways) -> None:
    mine, others = await gateways.one.bearer(), await gateways.one.bearer("ben@staff.test")
    async with events(gateways.two, mine) as stream, events(gateways.two, others) as other:
        await log_out(gateways.one, mine)
        async with asyncio.timeout(SECOND):
            await stream.response.content.read()
        assert stream.response.content.at_eof()
        assert not other.response.content.at_eof()


@pytest.mark.parametrize("command", ["CLIENT KILL TYPE pubsub", "CLIENT PAUSE 900 ALL"])
async def test_the_end_of_a_session_counts_although_its_announcement_was_lost(gateways: Gateways, command: str) -> None:
    headers = await gateways.one.bearer()
    key = key_of(headers["authorization"].removeprefix("Bearer "))
    await used_everywhere(gateways, headers)
    base = "noetl-edge:{sessions}:"
    assert key is not None
    gateways.redis.ask(*command.split())
    gateways.redis.ask("DEL", f"{base}s:{key[:12].hex()}")  # its end, which nothing announces
    assert await seconds_until(gateways.two, headers, 401) < 2 * SECOND
    assert await seconds_until(gateways.one, headers, 401) < SECOND


async def test_a_subscription_that_is_silent_is_not_trusted(gateways: Gateways) -> None:
    headers = await gateways.one.bearer()
    await used_everywhere(gateways, headers)
    gateways.redis.pause(1.5)
    await asyncio.sleep(0)
    await eventually(lambda: not gateways.store(gateways.two).caches)
    await eventually(gateways.both_cache)
    assert await status(gateways.two, headers) == 200


async def test_an_event_posted_to_one_gateway_reaches_the_browser_at_the_other(gateways: Gateways) -> None:
    headers = await gateways.two.bearer()
    async with events(gateways.two, headers) as stream:
        started = await run(gateways.one, headers, stream.client_id)
        request_id = started["data"]["executePlaybook"]["requestId"]
        body: dict[str, Any] = {"request_id": request_id, "status": "COMPLETED", "data": {"n": 1}}
        assert (await call_back(gateways.one, **body))[0] == 200
        assert (await stream.result()).data["params"]["data"] == {"n": 1}
        assert await call_back(gateways.two, **body) == (200, {"status": "duplicate"})


async def test_a_result_for_a_client_that_is_away_is_read_at_the_other_gateway(gateways: Gateways) -> None:
    headers = await gateways.one.bearer()
    async with events(gateways.one, headers) as stream:
        client_id = stream.client_id
        started = await run(gateways.one, headers, client_id)
    request_id = started["data"]["executePlaybook"]["requestId"]
    live = gateways.store(gateways.one).live
    async with asyncio.timeout(PATIENCE):
        while await live.connected(client_id):  # noqa: ASYNC110 - no such event
            await asyncio.sleep(0.005)
    body: dict[str, Any] = {"request_id": request_id, "status": "COMPLETED", "data": 7}
    assert (await call_back(gateways.one, **body))[0] == 202
    async with events(gateways.two, headers, client_id) as again:
        assert (await again.result()).data["params"]["requestId"] == request_id


async def test_a_ticket_of_one_gateway_is_for_one_use_at_any(gateways: Gateways) -> None:
    headers = await gateways.one.bearer()
    async with gateways.one.client.post(f"{gateways.one.url}/api/auth/ticket", headers=headers) as response:
        ticket = (await response.json())["ticket"]
    statuses = []
    for gateway in (gateways.two, gateways.one):
        async with gateway.client.get(f"{gateway.url}/events?ticket={ticket}") as response:
            statuses.append(response.status)
    assert statuses == [200, 401]


async def test_without_redis_known_sessions_go_on_for_a_while_and_nothing_else_does(gateways: Gateways) -> None:
    known, unknown = await gateways.one.bearer(), await gateways.one.bearer("ben@staff.test")
    await used_everywhere(gateways, known)
    gateways.redis.kill()
    killed = time.monotonic()
    while time.monotonic() < killed + GRACE / 2:
        assert await status(gateways.one, known) == 200
        assert await status(gateways.one, unknown) == 503
        assert await status(gateways.one, {"authorization": f"Bearer {'0' * 32}"}) == 503
        await asyncio.sleep(0.05)
    assert await log_out(gateways.one, known) == 503
    assert await seconds_until(gateways.two, known, 503) < GRACE
    gateways.redis.start()
    await eventually(gateways.both_cache)
    assert [await status(gateways.one, headers) for headers in (known, unknown)] == [200, 200]


async def test_a_session_that_ended_while_a_gateway_was_away_is_refused_when_it_is_back(gateways: Gateways) -> None:
    headers = await gateways.one.bearer()
    await used_everywhere(gateways, headers)
    gateways.redis.kill()
    assert await status(gateways.two, headers) == 200
    gateways.redis.start()
    other = RedisStore(gateways.store(gateways.one).settings)
    assert await other.end_user(1) == 1
    await other.close()
    assert await seconds_until(gateways.two, headers, 401) < SECOND


async def test_the_start_of_a_gateway_does_not_need_redis(own_redis: RedisServer, tmp_path: Path) -> None:
    own_redis.kill()
    settings = RedisSettings(read_address(own_redis.url), timeout=0.5)
    async with AsyncExitStack() as opened:
        upstream = await opened.enter_async_context(upstream_running())
        gateway = await _gateway(opened, tmp_path / "one", settings, upstream)
        headers = {"authorization": f"Bearer {'0' * 32}"}
        assert await status(gateway, headers) == 503
        own_redis.start()
        assert await seconds_until(gateway, headers, 401) < PATIENCE


async def test_requests_of_a_dead_process_are_followed_by_another(
    gateways: Gateways, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.sessions.redis.live.DEAD_SECONDS", 0)
    headers = await gateways.two.bearer()
    async with events(gateways.two, headers) as stream:
        await run(gateways.one, headers, stream.client_id)
        await gateways.one.serving.process.follower.close()  # as if it were killed
        gateways.one.serving.process.hub.process = "nobody"
        dead: RedisLive = gateways.store(gateways.one).live
        monkeypatch.setattr(dead, "_process", "")
        gateways.server.complete(["one"], {"done": True})
        await asyncio.sleep(1)  # the clock of Redis in whole seconds decides who is dead
        result = asyncio.ensure_future(stream.result())
        while not result.done():  # a beat takes over from one dead process, and there may be another
            await gateways.store(gateways.two).live.beat()
            await asyncio.wait([result], timeout=0.2)
        assert result.result().data["params"]["data"] == {"done": True}


async def test_use_at_another_gateway_keeps_a_session_from_being_idle(redis_settings: RedisSettings) -> None:
    settings = replace(redis_settings, idle_timeout=0.6)
    one, two = RedisStore(settings), RedisStore(settings)
    for store in (one, two):
        store.start()
    key = bytes(32)
    try:
        await eventually(lambda: one.caches and two.caches)
        await one.create(key, _session(key), max_per_user=0)
        for store in (one, two):
            assert await store.get(key) is not None
        await asyncio.sleep(0.4)
        two.touch(key, time.time())
        await two.close()
        await asyncio.sleep(0.3)
        session = await one.get(key)
        assert session is not None
        assert session.alive(time.time(), 0.6)
    finally:
        await one.close()


def _session(key: bytes) -> Session:
    from proxy.sessions.store import Identity, new_session

    who = Identity("https://tenant.test/", "anna", "", "anna", "tenant.test")
    return new_session(key, who, now=time.time(), lifetime=600, ip="", user_agent="")


async def test_a_session_that_ends_while_it_is_read_is_not_cached(redis_settings: RedisSettings) -> None:
    one, two = RedisStore(redis_settings), RedisStore(redis_settings)
    one.start()
    key = bytes(32)
    try:
        await eventually(lambda: one.caches)
        for _ in range(50):
            await two.create(key, _session(key), max_per_user=0)
            reads = [asyncio.create_task(one.get(key)) for _ in range(3)]
            await two.end(key)
            await asyncio.gather(*reads)
            ended = time.monotonic()
            async with asyncio.timeout(SECOND):
                while await one.get(key) is not None:  # noqa: ASYNC110 - as in `eventually`
                    await asyncio.sleep(0)
            assert time.monotonic() - ended < SECOND
    finally:
        await one.close()
        await two.close()


async def test_messages_reach_other_processes_and_not_their_sender(redis_settings: RedisSettings) -> None:
    one, two = RedisStore(redis_settings), RedisStore(redis_settings)
    found: list[tuple[str, bytes]] = []
    one.on_message, two.on_message = lambda data: found.append(("one", data)), lambda data: found.append(("two", data))
    for store in (one, two):
        store.start()
    try:
        await eventually(lambda: one.caches and two.caches)
        one.broadcast(b"callback\n" + b"x" * 65536)
        two.broadcast(b"b")
        await eventually(lambda: len(found) == 2)
        assert sorted(found) == [("one", b"b"), ("two", b"callback\n" + b"x" * 65536)]
    finally:
        await one.close()
        await two.close()


async def test_a_reload_that_changes_the_grace_opens_the_store_anew(own_redis: RedisServer, tmp_path: Path) -> None:
    async def hello(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({})

    async with upstream_running() as upstream:
        upstream.answer = hello
        text = f"{TENANT}{RULES}upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}\n"
        text += f"sessions: {{store: redis, url: '{own_redis.url}'"
        from proxy.config.compile import compile_config
        from proxy.config.load import load

        store = RedisStore(RedisSettings(read_address(own_redis.url)))
        async with gateway_running(tmp_path, text + "}\n", store=store) as gateway:
            headers = await gateway.bearer()
            assert await status(gateway, headers) == 200
            (tmp_path / "gateway.yaml").write_text(text + ", redis: {local_grace: 1m}}\n")
            assert await gateway.serving.reload(lambda: compile_config(load(tmp_path / "gateway.yaml", {})))
            assert gateway.server.gateway.store is not store
            assert await status(gateway, headers) == 200


async def test_a_rate_limit_is_counted_together(redis_settings: RedisSettings) -> None:
    settings = LimitSettings("login", requests=60, period=60.0, burst=5, key=LimitKey.IP)
    one, two = (RateLimit(RateLimiter(settings), {}) for _ in range(2))
    store = RedisStore(redis_settings)
    try:
        for _ in range(2):
            await share([one, two], store)
        allowed = await _count(one, 4)
        assert allowed == 4
        await share([one, two], store)
        assert await _count(two, 1) == 1  # from now on it knows of the key
        await share([one, two], store)
        assert (await _count(two, 5), await _count(one, 1, "10.0.0.2")) == (0, 1)
        assert await _count(one, 5) == 1  # what it does not know yet; it is counted all the same
        await share([one, two], store)
        assert [await _count(limit, 5) for limit in (one, two)] == [0, 0]
    finally:
        await store.close()


async def _count(limit: RateLimit, requests: int, address: str = "10.0.0.1") -> int:
    """How many of so many requests are allowed."""
    allowed = 0
    for _ in range(requests):
        with contextlib.suppress(TooManyRequests):
            limit.count(address, b"", None, "/")
            allowed += 1
    return allowed


async def test_without_redis_each_gateway_counts_for_itself(own_redis: RedisServer) -> None:
    limit = RateLimit(RateLimiter(LimitSettings("login", 60, 60.0, 5, LimitKey.IP)), {})
    store = RedisStore(RedisSettings(read_address(own_redis.url)))
    try:
        await share([limit], store)
        own_redis.kill()
        assert await _count(limit, 3) == 3
        with pytest.raises(StoreError):
            await share([limit], store)
        assert await _count(limit, 5) == 2
    finally:
        await store.close()


async def test_a_stream_that_is_opened_again_at_once_counts_as_open(redis_settings: RedisSettings) -> None:
    store = RedisStore(redis_settings)
    live = store.live
    try:
        await live.open_client("c", 1, time.time())
        for _ in range(50):
            await live.open_stream("c", "p")
            live.close_stream("c", "p", time.time())
            await asyncio.gather(live.open_stream("c", "p"), asyncio.sleep(0))
        await store.close()
        again = RedisStore(redis_settings)
        assert await again.live.connected("c")
        await again.close()
    finally:
        await store.close()
