"""An open-loop load generator, in a process of its own: `python -m bench.openloop`, a JSON task on standard input.

Requests have planned times, those of independent clients (a Poisson process, the same for everyone); a slow server does
not delay the next request. A latency counts from the planned time. The generator reports how late it was itself.
"""

from __future__ import annotations

import asyncio
import ctypes
import gc
import json
import os
import random
import sys
import time
from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import cast

import httptools
import uvloop
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench.requests import FIRST_UNIQUE, UNIQUE, read

LOWEST_US, HIGHEST_US, DIGITS = 1, 60_000_000, 3
LATE_US = 1000
_GRACE_SECONDS, _LEAD_NS = 1.0, 50_000_000
_MARK = UNIQUE.encode()
_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC, _ABSOLUTE = 1, 0o2004000, 1


@dataclass(frozen=True, slots=True)
class Task:
    """What to send: the requests of a file to a port, `rate` per second for `seconds`, over so many connections."""

    port: int
    file: str
    rate: float
    seconds: float
    connections: int
    seed: int


@dataclass(frozen=True, slots=True)
class Outcome:
    """The result. `late` counts requests sent over 1 ms after their time; `histogram` is HdrHistogram's encoding, in
    microseconds."""

    planned: int
    unanswered: int
    failed: int
    late: int
    histogram: str


def plan(rate: float, seconds: float, seed: int) -> list[int]:
    """Return rising times in nanoseconds from the start: independent arrivals at a mean rate."""
    source, at, times = random.Random(seed), 0.0, []
    while (at := at + source.expovariate(rate)) < seconds:
        times.append(int(at * 1e9))
    return times


class Timer:
    """A timer of the kernel for the event loop (timerfd_create(2)): event loops count in milliseconds only."""

    def __init__(self) -> None:
        self._libc = ctypes.CDLL(None, use_errno=True)
        self.fd: int = self._libc.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        self._spec = (ctypes.c_long * 4)()
        if self.fd < 0:
            raise OSError(ctypes.get_errno(), "timerfd_create")

    def set(self, at_ns: int) -> None:
        """Become readable at a time of `time.monotonic_ns`, immediately if it has passed."""
        self._spec[2], self._spec[3] = divmod(at_ns, 1_000_000_000)
        self._libc.timerfd_settime(self.fd, _ABSOLUTE, ctypes.byref(self._spec), None)

    def clear(self) -> None:
        """Become unreadable."""
        try:
            os.read(self.fd, 8)
        except BlockingIOError:
            return


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self.planned_ns: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, planned_ns: int) -> None:
        """Send a request that was planned for a time."""
        assert self._transport is not None
        self.planned_ns = planned_ns
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._complete(0)

    def on_message_complete(self) -> None:
        """Pass the response on (called by the parser)."""
        self._complete(self._parser.get_status_code())

    def _complete(self, status: int) -> None:
        planned, self.planned_ns = self.planned_ns, None
        self._run.complete(self, planned, status)

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lose(self)


class Run:
    """The run of one task."""

    def __init__(self, task: Task, requests: Sequence[bytes], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock, self._task, self._requests = clock, task, [each.split(_MARK) for each in requests]
        self._histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        self._idle: list[Connection] = []
        self._connections: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._times = plan(task.rate, task.seconds, task.seed)
        self._sent = self._next = self._done = self._failed = self._late = 0
        self._unique = FIRST_UNIQUE + time.time_ns() // 1_000_000 % 8_000_000 * 10
        self._start_ns = 0
        self._timer = Timer()
        self._over = asyncio.Event()

    async def run(self) -> Outcome:
        """Connect, send everything, and wait for the remaining responses."""
        loop = asyncio.get_running_loop()
        for _ in range(self._task.connections):
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._task.port)
            self.add(connection)
        loop.add_reader(self._timer.fd, self.tick)
        self._start_ns = self._clock() + _LEAD_NS
        self._arm()
        try:
            async with asyncio.timeout(self._task.seconds + _GRACE_SECONDS):
                await self._over.wait()
        except TimeoutError:
            pass
        return self.outcome()

    def add(self, connection: Connection) -> None:
        """Use a connection."""
        self._connections.append(connection)
        self._idle.append(connection)

    def _arm(self) -> None:
        if self._next < len(self._times):
            self._timer.set(self._start_ns + self._times[self._next])
        elif self._done == len(self._times):
            self._over.set()

    def tick(self) -> None:
        """Send what is due, or queue it until a connection is idle."""
        self._timer.clear()
        now = self._clock()
        while self._next < len(self._times) and (planned := self._start_ns + self._times[self._next]) <= now:
            self._next += 1
            self._late += now - planned > LATE_US * 1000
            if self._idle:
                self._send(self._idle.pop(), planned)
            else:
                self._waiting.append(planned)
        self._arm()

    def _send(self, connection: Connection, planned_ns: int) -> None:
        parts = self._requests[self._sent % len(self._requests)]
        self._sent += 1
        connection.send(parts[0] if len(parts) == 1 else (b"%d" % (self._unique + self._sent)).join(parts), planned_ns)

    def complete(self, connection: Connection, planned_ns: int | None, status: int) -> None:
        """Record a response; its connection sends the request that has waited longest."""
        self._failed += planned_ns is None or status != 200
        if planned_ns is not None:
            self._record(self._clock() - planned_ns)
        if self._waiting:
            self._send(connection, self._waiting.popleft())
        else:
            self._idle.append(connection)

    def _record(self, nanoseconds: int) -> None:
        self._histogram.record_value(min(max(nanoseconds // 1000, LOWEST_US), HIGHEST_US))
        self._done += 1
        if self._done == len(self._times):
            self._over.set()

    def lose(self, connection: Connection) -> None:
        """Count a connection that the server has closed as a failure."""
        if connection in self._idle:
            self._idle.remove(connection)
        self._failed += 1

    def outcome(self) -> Outcome:
        """Return the result; what has no response counts with the time until now."""
        unanswered, failed, now = len(self._times) - self._done, self._failed, self._clock()
        pending = [each.planned_ns for each in self._connections if each.planned_ns is not None]
        for planned in [*pending, *self._waiting]:
            self._record(now - planned)
        encoded = self._histogram.encode()
        text = encoded.decode() if isinstance(encoded, bytes) else str(encoded)
        return Outcome(len(self._times), unanswered, failed, self._late, text)


def main() -> None:
    """Read a task, run it, print the outcome."""
    task = Task(**json.load(sys.stdin))
    # A pause of its own would look like one of the server.
    gc.disable()
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        outcome = runner.run(Run(task, read(Path(task.file))).run())
    print(json.dumps(asdict(outcome)), flush=True)
    # The closing of connections is no failure.
    os._exit(0)


if __name__ == "__main__":
    main()
