"""What was written to a stream is known to other processes as soon as the stream is closed."""

from __future__ import annotations

import asyncio
import shutil
import time
from pathlib import Path

import pytest

from proxy.sessions import live_file
from proxy.sessions.file import FileStore
from proxy.sessions.live import RESULT, LiveStore, StoredRequest
from proxy.sessions.redis import live as live_redis
from proxy.sessions.redis.connection import RedisSettings
from proxy.sessions.redis.store import RedisStore

PATIENCE = 10.0


async def one_event(live: LiveStore) -> int:
    """Store an event of a client, write it to a stream, and close that at once; return its number."""
    await live.open_client("c", 1, time.time())
    await live.begin(StoredRequest("r", "c", 1, time.time()))
    await live.started("r", "7", "p")
    await live.open_stream("c", "p")
    await live.finish("r", [(RESULT, b"{}")], 100)
    (event,) = await live.events("c", 0)
    live.wrote("c", event.number)
    live.close_stream("c", "p", time.time())
    return event.number


async def written(live: LiveStore) -> int:
    """Return the number of the last event that was written to the client."""
    return (await live.marks("c"))[1]


@pytest.fixture(autouse=True)
def _marks_are_not_written_by_themselves(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(live_file, "_WROTE_DELAY", 3600.0)
    monkeypatch.setattr(live_redis, "_WROTE_DELAY", 3600.0)


async def test_the_file_store_has_the_mark_of_a_closed_stream(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "one")
    try:
        number = await one_event(store.live)
        await store.live.open_client("other", 1, time.time())  # what is written later is written behind it
        shutil.copytree(tmp_path / "one", tmp_path / "other")
    finally:
        await store.close()
    other = FileStore(tmp_path / "other")
    try:
        assert await written(other.live) == number
    finally:
        await other.close()


async def test_redis_has_the_mark_of_a_closed_stream(redis_settings: RedisSettings) -> None:
    store, other = RedisStore(redis_settings), RedisStore(redis_settings)
    try:
        number = await one_event(store.live)
        async with asyncio.timeout(PATIENCE):
            while await written(other.live) != number:  # noqa: ASYNC110 - another process has no event
                await asyncio.sleep(0.01)
    finally:
        await store.close()
        await other.close()


async def test_redis_has_the_marks_of_a_store_that_closes(redis_settings: RedisSettings) -> None:
    store, other = RedisStore(redis_settings), RedisStore(redis_settings)
    try:
        await one_event(store.live)
        await store.live.begin(StoredRequest("r2", "c", 1, time.time()))
        await store.live.finish("r2", [(RESULT, b"{}")], 100)
        last = (await store.live.events("c", 0))[-1]
        store.live.wrote("c", last.number)
        await store.close()
        assert await written(other.live) == last.number
    finally:
        await store.close()
        await other.close()
