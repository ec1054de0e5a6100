"""Random schedules of starts, results, streams that are cut, and gateways that are killed, against a model.

`STREAM_SCHEDULES=2000` runs as many. A client names the last id that it has; then it sees each result once.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
import tempfile
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import pytest
from hypothesis import Phase, given, note, settings
from hypothesis import strategies as st

from proxy.sessions.file import FileStore
from tests.integration.gateway.live_server import Executions, call_back, run
from tests.integration.harness import Running, behind_gateway
from tests.live.streams import TRANSPORTS, Ended, Stream, stream_of

SCHEDULES = int(os.environ.get("STREAM_SCHEDULES", "15"))
PHASES = (Phase.generate,)
"""Not `shrink`: a schedule that hangs takes its time."""
QUIET = "live: {follow: false}"
ACTIONS = st.lists(
    st.sampled_from(["start", "finish", "start", "finish", "repeat", "connect", "read", "cut", "close", "kill"]),
    min_size=8,
    max_size=30,
)


class World:
    """A gateway, a client of it, and what must be true of both."""

    def __init__(self, transport: str, folder: Path) -> None:
        self.transport, self.folder = transport, folder
        self.lives = 0
        self.waiting: list[str] = []
        self.over: list[str] = []
        self.seen: list[str] = []
        self.last = ""
        self.was_cut = False
        self.stream: Stream | None = None
        self.streams = AsyncExitStack()
        self.gateways = AsyncExitStack()
        self.token = ""

    @property
    def headers(self) -> dict[str, str]:
        """What signs the client in."""
        return {"authorization": f"Bearer {self.token}"}

    async def begin(self) -> None:
        """Start a gateway with what the last one has stored."""
        self.lives += 1
        here = self.folder / str(self.lives)
        here.mkdir()
        store = FileStore(here / "sessions") if self.lives == 1 else self._copy(here)
        self.server = Executions(started=[dict[str, Any]() for _ in range(self.lives * 100)])
        place = behind_gateway(here, store=store, more=QUIET)
        self.gateway, upstream = await self.gateways.enter_async_context(place)
        upstream.answer = self.server.answer
        if not self.token:
            self.token = await self.gateway.session()

    def _copy(self, here: Path) -> FileStore:
        """Return the store as a gateway leaves it that is killed now."""
        shutil.copytree(self.folder / str(self.lives - 1) / "sessions", here / "sessions")
        (here / "sessions").chmod(0o700)
        return FileStore(here / "sessions")

    async def act(self, action: str) -> None:
        """Do one thing."""
        await getattr(self, action)()

    async def start(self) -> None:
        """Start a playbook."""
        found = await run(self.gateway, self.headers, "tab")
        self.waiting.append(str(found["data"]["executePlaybook"]["requestId"]))

    async def finish(self) -> None:
        """Let the worker of the oldest request call back."""
        if self.waiting:
            request_id = self.waiting.pop(0)
            assert (await call_back(self.gateway, request_id=request_id, data=request_id))[0] in (200, 202)
            self.over.append(request_id)

    async def repeat(self) -> None:
        """Let a worker call back again."""
        if self.over:
            found = await call_back(self.gateway, request_id=self.over[-1], data="again")
            assert found == (200, {"status": "duplicate"})

    async def connect(self) -> None:
        """Open a stream, behind the last event that the client has."""
        if self.stream is None:
            opened = stream_of(self.gateway, self.transport, self.headers, "tab", self.last)
            self.stream = await self.streams.enter_async_context(opened)
            await self.stream.next()  # the first ping has an id, too
            self.last = self.stream.last or self.last
            pending = {each["requestId"] for each in self.stream.hello.get("pendingRequests", [])}
            assert pending == set(self.waiting)

    async def read(self) -> None:
        """Read all results that there are."""
        if self.stream is not None and set(self.seen) != set(self.over):
            while set(self.seen) != set(self.over):
                (found,) = await self.stream.results(1)
                self.note(found)

    def note(self, found: dict[str, Any]) -> None:
        """Note a result; a client by event ids sees none twice."""
        assert found["data"] == found["requestId"]
        assert self.transport == "ws" or found["requestId"] not in self.seen
        self.seen.append(found["requestId"])
        assert self.stream is not None
        self.last = self.stream.last

    async def cut(self) -> None:
        """Break the stream; what has arrived is read."""
        if self.stream is not None:
            self.stream.cut()
            with contextlib.suppress(Ended, OSError):
                while True:
                    (found,) = await self.stream.results(1)
                    self.note(found)
            await self.close()

    async def close(self) -> None:
        """Close the stream."""
        self.stream = None
        await self.streams.aclose()

    async def kill(self) -> None:
        """Kill the gateway, and start it again."""
        old, self.gateways = self.gateways, AsyncExitStack()
        self.gateway_before: Running = self.gateway
        await self.begin()
        await self.close()
        await old.aclose()

    async def end(self) -> None:
        """Connect, read all, and check that nothing is missing."""
        while self.waiting:
            await self.finish()
        await self.connect()
        await self.read()
        assert set(self.seen) == set(self.over)
        await self.close()
        await self.gateways.aclose()


async def play(transport: str, actions: list[str]) -> None:
    """Play one schedule."""
    with tempfile.TemporaryDirectory(prefix="noetl-edge-live-") as folder:
        world = World(transport, Path(folder))
        try:
            await world.begin()
            for action in actions:
                await world.act(action)
            await world.end()
        finally:
            await world.streams.aclose()
            await world.gateways.aclose()


@pytest.mark.parametrize("transport", TRANSPORTS)
def test_no_result_is_lost_or_comes_twice_in_any_order_of_things(transport: str) -> None:
    @settings(max_examples=SCHEDULES, deadline=None, database=None, phases=PHASES)
    @given(ACTIONS)
    def check(actions: list[str]) -> None:
        note(",".join(actions))
        asyncio.run(play(transport, actions))

    check()
