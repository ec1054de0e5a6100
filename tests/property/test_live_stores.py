"""Random schedules of starts, results, reads, losses and kills, at each store of live executions, against a model.

`LIVE_SCHEDULES=2000` runs as many.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import tempfile
import time
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proxy.sessions.file import FileStore
from proxy.sessions.live import RESULT, Event, LiveStore, NoRoom, StoredRequest
from proxy.sessions.memory import MemoryStore
from proxy.sessions.redis.connection import RedisSettings
from proxy.sessions.redis.store import RedisStore

SCHEDULES = int(os.environ.get("LIVE_SCHEDULES", "60"))
MOST = 3
STEP = "playbook/state"
CLIENTS = ("one", "two")
OFTEN, RARELY = ["begin", "finish"] * 3, ["repeat", "step", "read", "half", "forget", "kill", "purge"]
ACTIONS = st.lists(
    st.tuples(st.sampled_from(OFTEN + RARELY), st.sampled_from(CLIENTS)),
    min_size=20,
    max_size=60,
)


class Client:
    """A client, with what must be true of it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.waiting: list[str] = []
        self.over: list[str] = []
        self.seen: list[Event] = []
        """What its streams have sent, without repeats after a crash."""
        self.position: int | None = None

    async def begin(self, store: LiveStore, request_id: str) -> None:
        """Begin a request."""
        request = StoredRequest(request_id, self.name, 1, time.time())
        await store.begin(request)
        await store.started(request.request_id, "7", "p")
        self.waiting.append(request.request_id)

    async def finish(self, store: LiveStore) -> None:
        """Add the result of the oldest request."""
        if self.waiting and await store.finish(
            self.waiting[0], [(STEP, b"x"), (RESULT, self.waiting[0].encode())], MOST
        ):
            self.over.append(self.waiting.pop(0))

    async def repeat(self, store: LiveStore) -> None:
        """Add a result for the second time."""
        if self.over:
            assert not await store.finish(self.over[0], [(RESULT, b"again")], MOST)

    async def step(self, store: LiveStore) -> None:
        """Add an event that is no result."""
        if self.waiting:
            await store.append(self.waiting[-1], [(STEP, b"s")], MOST)

    async def read(self, store: LiveStore) -> None:
        """Read all that is new, as a stream does."""
        while await self.half(store):
            pass

    async def half(self, store: LiveStore) -> bool:
        """Read the first event that is new; return whether there is one."""
        position = (await store.marks(self.name))[1] if self.position is None else self.position
        for event in (await store.events(self.name, position))[:1]:
            assert event.number > position
            if not self.seen or event.number > self.seen[-1].number:
                self.seen.append(event)
            self.position = event.number
            store.wrote(self.name, self.position)
            return True
        return False

    async def forget(self, store: LiveStore) -> None:
        """Come back without the id of the last event: what was written to a stream does not follow again."""
        self.position = None


async def run(open_store: Callable[[], Any], schedule: list[tuple[str, str]], *, durable: bool) -> None:
    """Run a schedule, and check that each client gets each result once, in order."""
    store, clients, count = open_store(), {name: Client(name) for name in CLIENTS}, 0
    for name in CLIENTS:
        assert await store.live.open_client(name, 1, time.time()) == 1
    for action, name in schedule:
        client, count = clients[name], count + 1
        if action == "begin":
            await client.begin(store.live, f"r{count}")
        elif action == "purge":
            await store.live.purge_live(time.time() - 3600)
        elif action == "kill":
            store = open_store() if durable else store
        else:
            try:
                await getattr(client, action)(store.live)
            except NoRoom:
                await client.read(store.live)
        assert [each.request_id for each in await store.live.waiting(name)] == client.waiting
    for client in clients.values():
        await client.read(store.live)
        assert [event.data.decode() for event in client.seen if event.method == RESULT] == client.over


@settings(max_examples=SCHEDULES, deadline=None)
@given(ACTIONS)
def test_the_memory_store(schedule: list[tuple[str, str]]) -> None:
    asyncio.run(run(MemoryStore, schedule, durable=False))


@pytest.mark.slow
@settings(max_examples=SCHEDULES, deadline=None)
@given(ACTIONS)
def test_the_file_store(schedule: list[tuple[str, str]]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        asyncio.run(_with_files(Path(folder), schedule))


@pytest.mark.slow
@settings(max_examples=SCHEDULES, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(ACTIONS)
def test_the_redis_store(redis_settings: RedisSettings, schedule: list[tuple[str, str]]) -> None:
    asyncio.run(_with_redis(replace(redis_settings, prefix=f"test-{secrets.token_hex(8)}:"), schedule))


async def _with_redis(wanted: RedisSettings, schedule: list[tuple[str, str]]) -> None:
    """Run a schedule; a kill ends a gateway, whose Redis goes on, and another one takes its place."""
    opened: list[RedisStore] = []

    def open_store() -> RedisStore:
        opened.append(RedisStore(wanted))
        return opened[-1]

    try:
        await run(open_store, schedule, durable=True)
    finally:
        for store in opened:
            await store.close()


async def _with_files(folder: Path, schedule: list[tuple[str, str]]) -> None:
    opened: list[FileStore] = []

    def open_store() -> FileStore:
        """Open a new store, or what is on the disk of the last one, as after `kill -9`."""
        path = folder / str(len(opened))
        if opened:
            path.mkdir(mode=0o700)
            shutil.copy(opened[-1].folder / "data.mdb", path)
        opened.append(FileStore(path))
        return opened[-1]

    try:
        await run(open_store, schedule, durable=True)
    finally:
        for store in opened:
            await store.close()
