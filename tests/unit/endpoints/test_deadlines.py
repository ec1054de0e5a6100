"""One deadline for many operations."""

from __future__ import annotations

import asyncio
import time

import pytest

from proxy.endpoints.deadlines import Deadlines
from tests.timers import Timers


class Operation:
    """Notes that it was ended, and may begin another one then."""

    def __init__(self, deadlines: Deadlines, *, followed: bool = False) -> None:
        self.started = time.perf_counter()
        self.ended = asyncio.Event()
        self.next: Operation | None = None
        self._deadlines = deadlines
        self._followed = followed
        deadlines.add(self)

    def timed_out(self) -> None:
        self._deadlines.discard(self)
        self.ended.set()
        if self._followed:
            self.next = Operation(self._deadlines)


async def test_an_operation_is_ended_at_its_time() -> None:
    operation = Operation(Deadlines(0.05))
    async with asyncio.timeout(5):
        await operation.ended.wait()
    assert time.perf_counter() - operation.started >= 0.05


async def test_one_that_has_ended_by_itself_is_left_alone() -> None:
    deadlines = Deadlines(0.02)
    done, other = Operation(deadlines), Operation(deadlines)
    deadlines.discard(done)
    async with asyncio.timeout(5):
        await other.ended.wait()
    assert not done.ended.is_set()


async def test_there_is_one_timer_however_many_operations_there_are(monkeypatch: pytest.MonkeyPatch) -> None:
    timers, deadlines = Timers(monkeypatch), Deadlines(5.0)
    assert timers.of(deadlines) == 0
    for _ in range(10):
        Operation(deadlines)
    assert timers.of(deadlines) == 1


async def test_one_that_begins_as_another_is_ended_brings_no_second_timer(monkeypatch: pytest.MonkeyPatch) -> None:
    async with asyncio.timeout(5):
        timers, deadlines = Timers(monkeypatch), Deadlines(0.02)
        operation = Operation(deadlines, followed=True)
        await operation.ended.wait()
        assert timers.of(deadlines) == 1
        assert operation.next is not None
        await operation.next.ended.wait()
