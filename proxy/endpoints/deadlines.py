"""One deadline for many operations of the same length, without a timer for each."""

from __future__ import annotations

import asyncio
import time
from typing import Protocol


class Timed(Protocol):
    """An operation with a deadline; `started` on the clock of `time.perf_counter`."""

    started: float

    def timed_out(self) -> None:
        """It takes longer than it may."""


class Deadlines:
    """Ends operations that take too long. All have the same time, so that the oldest is always the first to end."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self._every = min(0.5, max(0.01, seconds / 10))
        self._running: dict[Timed, float] = {}
        self._timer: asyncio.TimerHandle | None = None

    def add(self, exchange: Timed) -> None:
        """Watch an operation that begins."""
        self._running[exchange] = exchange.started + self.seconds
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every, self._sweep)

    def discard(self, exchange: Timed) -> None:
        """An operation has ended."""
        self._running.pop(exchange, None)

    def _sweep(self) -> None:
        self._timer = None
        for exchange, deadline in list(self._running.items()):
            if deadline > time.perf_counter():
                break
            exchange.timed_out()
        if self._running and self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(self._every, self._sweep)
