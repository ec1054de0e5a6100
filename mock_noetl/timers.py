"""The timers of all executions: the event loop has one timer, for the next of them.

A loop's own timer costs several times as much, and an execution needs many. Those that end in the same millisecond are
kept, and handled, together.
"""

from __future__ import annotations

import asyncio
import logging
import math
from collections.abc import Callable
from heapq import heappop, heappush
from itertools import islice
from time import perf_counter
from typing import Any

from mock_noetl.runs import Active
from mock_noetl.template_limits import begin_budget, end_budget

TICKS_PER_SECOND = 1000
"""The end of a timer is rounded up to a tick."""
MIN_DEAD = 10_000
AT_ONCE = 500
"""After so many calls other work of the loop has a turn."""
SECONDS_AT_ONCE = 0.05
"""The same, after so much time."""

_log = logging.getLogger("mock_noetl")
_Call = tuple[Active, Callable[..., None], tuple[Any, ...]]


class Timers:
    """Calls that are made later, each for an execution; those of an execution that is stopped are not made."""

    def __init__(self) -> None:
        self._calls: dict[int, list[_Call]] = {}
        self._ticks: list[int] = []
        self._count = self._dead = 0
        self._next: asyncio.TimerHandle | None = None
        self._next_tick = 0
        self._is_firing = False
        self._loop: asyncio.AbstractEventLoop

    def after(self, active: Active, seconds: float, call: Callable[..., None], *values: Any) -> None:
        """Call something later, unless the execution is stopped before."""
        if active.stopped:
            return
        if not self._ticks:
            self._loop = asyncio.get_running_loop()
        active.timers += 1
        self._count += 1
        tick = math.ceil((self._loop.time() + seconds) * TICKS_PER_SECOND)
        calls = self._calls.get(tick)
        if calls is not None:
            calls.append((active, call, values))
            return
        self._calls[tick] = [(active, call, values)]
        heappush(self._ticks, tick)
        if not self._is_firing and (self._next is None or tick < self._next_tick):
            self._wait_for(tick)

    def stopped(self, active: Active) -> None:
        """Note that an execution was stopped. Its calls are removed if most calls are of such ones."""
        self._dead += active.timers
        active.timers = 0
        if self._dead > MIN_DEAD and self._dead > self._count // 2:
            for tick, calls in self._calls.items():
                self._calls[tick] = [call for call in calls if not call[0].stopped]
            self._count, self._dead = sum(map(len, self._calls.values())), 0

    def clear(self) -> None:
        """Forget all calls."""
        self._calls.clear()
        self._ticks.clear()
        self._count = self._dead = 0
        if self._next is not None:
            self._next.cancel()
            self._next = None

    def _wait_for(self, tick: int) -> None:
        if self._next is not None:
            self._next.cancel()
        self._next_tick = tick
        self._next = self._loop.call_at(tick / TICKS_PER_SECOND, self._fire)

    def _fire(self) -> None:
        self._next = None
        self._is_firing = True
        now = math.ceil(self._loop.time() * TICKS_PER_SECOND)
        left, until = AT_ONCE, perf_counter() + SECONDS_AT_ONCE
        try:
            while left > 0 and self._ticks and self._ticks[0] <= now and perf_counter() < until:
                left -= self._make_calls(heappop(self._ticks), left, until)
        finally:
            self._is_firing = False
            if self._ticks:
                self._wait_for(self._ticks[0])

    def _make_calls(self, tick: int, most: int, until: float) -> int:
        """Make calls of a tick, at most so many, until a moment of `perf_counter`; return their number."""
        calls = self._calls.pop(tick)
        made = 0
        for active, call, values in islice(calls, most):
            made += 1
            if active.stopped:
                self._dead -= 1
                continue
            active.timers -= 1
            begin_budget()
            try:
                call(*values)
            except Exception:
                _log.exception("a timer of an execution failed")
            end_budget()
            if perf_counter() > until:
                break
        self._count -= made
        if made < len(calls):
            if tick not in self._calls:
                heappush(self._ticks, tick)
            self._calls[tick] = [*calls[made:], *self._calls.get(tick, ())]
        return max(1, made)
