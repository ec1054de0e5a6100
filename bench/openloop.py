"""An open-loop load generator, in a process of its own: `python -m bench.openloop`, a JSON task on standard input.

Requests have planned times, those of independent clients (a Poisson process, the same for everyone); a slow server does
not delay the next request. A latency counts from the planned time. The generator reports how late it was itself.
"""

from __future__ import annotations

import asyncio
import contextlib
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
_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC, _ABSOLUTE = 1, 0o2004000, 1
_LIBC = ctypes.CDLL(None)


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


def encode(histogram: HdrHistogram) -> str:
    """Return a histogram as text."""
    encoded = histogram.encode()
    return encoded.decode() if isinstance(encoded, bytes) else str(encoded)


class Connection(asyncio.Protocol):
    """One keep-alive connection with at most one request on it, which was planned for `planned_ns`."""

    def __init__(self, run: Run) -> None:
        self._run = run
        self._parser = httptools.HttpResponseParser(self)
        self._transport: asyncio.Transport | None = None
        self.planned_ns: int | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast(asyncio.Transport, transport)

    def send(self, request: bytes, planned_ns: int) -> None:
        """Send a request."""
        assert self._transport is not None
        self.planned_ns = planned_ns
        self._transport.write(request)

    def data_received(self, data: bytes) -> None:
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserError:
            self._run.complete(self, 0)

    def on_message_complete(self) -> None:
        """Pass the response on (called by the parser)."""
        self._run.complete(self, self._parser.get_status_code())

    def connection_lost(self, error: Exception | None) -> None:
        self._run.lose(self)


class Run:
    """The run of one task."""

    def __init__(self, task: Task, requests: Sequence[bytes], clock: Callable[[], int] = time.monotonic_ns) -> None:
        self._clock, self._task = clock, task
        self._requests = [each.split(UNIQUE.encode()) for each in requests]
        self._histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
        self._connections: list[Connection] = []
        self._idle: list[Connection] = []
        self._waiting: deque[int] = deque()
        self._times = plan(task.rate, task.seconds, task.seed)
        self._sent = self._next = self._done = self._failed = self._late = 0
        self._unique = FIRST_UNIQUE + time.time_ns() // 1_000_000 % 8_000_000 * 10
        self._start_ns = 0
        # A timer of the kernel (timerfd_create(2)): event loops count in milliseconds only.
        self._timer: int = _LIBC.timerfd_create(_CLOCK_MONOTONIC, _NONBLOCK_CLOEXEC)
        self._over = asyncio.Event()

    async def run(self) -> Outcome:
        """Connect, send everything, and wait for the remaining responses."""
        loop = asyncio.get_running_loop()
        for _ in range(self._task.connections):
            _, connection = await loop.create_connection(lambda: Connection(self), "127.0.0.1", self._task.port)
            self.add(connection)
        loop.add_reader(self._timer, self.tick)
        self._start_ns = self._clock() + _LEAD_NS
        self._arm()
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(self._task.seconds + _GRACE_SECONDS):
                await self._over.wait()
        return self.outcome()

    def add(self, connection: Connection) -> None:
        """Use a connection."""
        self._connections.append(connection)
        self._idle.append(connection)

    def _arm(self) -> None:
        """Set the timer to the next planned time, or stop it after the last one; it is not readable until then."""
        at = self._start_ns + self._times[self._next] if self._next < len(self._times) else 0
        _LIBC.timerfd_settime(self._timer, _ABSOLUTE, (ctypes.c_long * 4)(0, 0, *divmod(at, 1_000_000_000)), None)

    def tick(self) -> None:
        """Send what is due, or queue it until a connection is idle."""
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
        connection.send((b"%d" % (self._unique + self._sent)).join(parts), planned_ns)

    def complete(self, connection: Connection, status: int) -> None:
        """Record a response; its connection sends the request that has waited longest."""
        planned, connection.planned_ns = connection.planned_ns, None
        self._failed += planned is None or status != 200
        if planned is not None:
            self._record(self._clock() - planned)
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
        return Outcome(len(self._times), unanswered, failed, self._late, encode(self._histogram))


def main() -> None:
    """Read a task, run it, print the outcome."""
    task = Task(**json.load(sys.stdin))
    # A pause of its own would look like one of the server.
    gc.disable()
    outcome = uvloop.run(Run(task, read(Path(task.file))).run())
    print(json.dumps(asdict(outcome)), flush=True)
    # The closing of connections is no failure.
    os._exit(0)


if __name__ == "__main__":
    main()
