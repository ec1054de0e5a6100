"""An open-loop load generator, in a process of its own: `python -m bench.openloop`, a JSON task on standard input.

Requests have planned times, as those of independent clients (a Poisson process, the same for everyone); what a server
is late with does not hold up the next. Latency counts from the planned time. It says how late it was itself.
"""

from __future__ import annotations

import asyncio
import gc
import json
import os
import random
import sys
import time
from collections import deque
from dataclasses import asdict, dataclass
from typing import Any, cast

import uvloop
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench.cores import core_times, own_core
from bench.timerfd import Timer, now_ns
from bench.wire import Answers, WireError

LOWEST_US, HIGHEST_US, DIGITS = 1, 60_000_000, 3
LATE_US = 1000
_GRACE_SECONDS = 1.0
_LEAD_NS = 50_000_000


@dataclass(frozen=True, slots=True)
class Task:
    """What to send where, how often per second, and for how long. `request` is the whole of it, as Latin-1."""

    port: int
    request: str
    rate: float
    seconds: float
    connections: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """What came of it. `cpu` is the generator's share of its core, `core_idle` what nobody used of that core.
    `histogram` is HdrHistogram's own encoding, in microseconds."""

    planned: int
    unanswered: int
    failed: int
    late: int
    worst_late_us: int
    cpu: float
    core_idle: float
    histogram: str


def plan(rate: float, seconds: float, seed: int) -> list[int]:
    """Planned times in nanoseconds from the start, rising: independent arrivals at a mean rate."""
    source, at, times = random.Random(seed), 0.0, []
    while (at := at + source.expovariate(rate)) < seconds:
        times.append(int(at * 1e9))
    return times


class Connection(asyncio.Protocol):
    """One keep-alive connection, with one request at a time on it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._answers = Answers()
        self._transport: asyncio.Transport | None = None
        self.planned_ns: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, planned_ns: int) -> None:
        """Send the request that was planned for then."""
        assert self._transport is not None
        self.planned_ns = planned_ns
        self._transport.write(self._run.request)

    def data_received(self, data: bytes) -> None:
        try:
            statuses = self._answers.feed(data)
        except WireError:
            statuses = [0]
        for status in statuses:
            planned, self.planned_ns = self.planned_ns, None
            self._run.answered(self, planned, status)

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lost(self)


class Run:
    """The run of one task."""

    def __init__(self, task: Task) -> None:
        self._task = task
        self.request = task.request.encode("latin-1")
        self._histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        self._idle: list[Connection] = []
        self.connections: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._times = plan(task.rate, task.seconds, task.seed)
        self._next = self._done = self._failed = self._late = self._worst_late_us = 0
        self._start_ns = 0
        self._timer = Timer()
        self._over = asyncio.Event()

    async def run(self) -> Outcome:
        """Connect, send all, wait for the rest of the answers."""
        loop = asyncio.get_running_loop()
        loop.set_exception_handler(_give_up)
        for _ in range(self._task.connections):
            _, made = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._task.port)
            self.adopt(made)
        loop.add_reader(self._timer.fd, self.tick)
        cpu, begun, core = time.process_time(), time.perf_counter(), core_times(own_core())
        self._start_ns = now_ns() + _LEAD_NS
        self._arm()
        try:
            async with asyncio.timeout(self._task.seconds + _GRACE_SECONDS):
                await self._over.wait()
        except TimeoutError:
            pass
        used = (time.process_time() - cpu) / (time.perf_counter() - begun)
        loop.remove_reader(self._timer.fd)
        self._timer.close()
        idle, _ = core_times(own_core()).shares_since(core)
        return self.outcome(cpu=used, idle=idle)

    def adopt(self, connection: Connection) -> None:
        """Send on this connection too."""
        self.connections.append(connection)
        self._idle.append(connection)

    def _arm(self) -> None:
        if self._next < len(self._times):
            self._timer.set(self._start_ns + self._times[self._next])
        elif self._done == len(self._times):
            self._over.set()

    def tick(self) -> None:
        """Send what is due, or let it wait for a connection."""
        self._timer.clear()
        now = now_ns()
        while self._next < len(self._times) and (planned := self._start_ns + self._times[self._next]) <= now:
            self._next += 1
            self._note_late((now - planned) // 1000)
            if self._idle:
                self._idle.pop().send(planned)
            else:
                self._waiting.append(planned)
        self._arm()

    def _note_late(self, late_us: int) -> None:
        self._late += late_us > LATE_US
        self._worst_late_us = max(self._worst_late_us, late_us)

    def answered(self, connection: Connection, planned_ns: int | None, status: int) -> None:
        """An answer has come in whole; the connection takes the request that waits longest."""
        if planned_ns is None or status != 200:
            self._failed += 1
        if planned_ns is not None:
            self._record((now_ns() - planned_ns) // 1000)
        if self._waiting:
            connection.send(self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _record(self, microseconds: int) -> None:
        self._histogram.record_value(min(max(microseconds, LOWEST_US), HIGHEST_US))
        self._done += 1
        if self._done == len(self._times):
            self._over.set()

    def lost(self, connection: Connection) -> None:
        """The server has closed: no error between requests, but the run is one connection short."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._failed += 1

    def outcome(self, *, cpu: float, idle: float) -> Outcome:
        """What came of it until now; shares of the core are the caller's to know."""
        unanswered, now = len(self._times) - self._done, now_ns()
        pending = [c.planned_ns for c in self.connections if c.planned_ns is not None] + list(self._waiting)
        failed = self._failed
        for planned in pending:
            self._record((now - planned) // 1000)
        encoded = self._histogram.encode()
        text = encoded.decode() if isinstance(encoded, bytes) else str(encoded)
        counts = len(self._times), unanswered, failed, self._late, self._worst_late_us
        return Outcome(*counts, cpu, idle, text)


def _give_up(loop: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    # An error in a callback would otherwise be a line on stderr, and a wrong result.
    loop.default_exception_handler(context)
    sys.stderr.flush()
    os._exit(1)


def main() -> None:
    """Read a task, run it, print the outcome."""
    task = Task(**json.load(sys.stdin))
    # A pause of its own would look like one of the server's.
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(Run(task).run())
    print(json.dumps(asdict(outcome)))
    sys.stdout.flush()
    os._exit(0)


if __name__ == "__main__":
    main()
