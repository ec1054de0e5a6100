"""One deadline for many operations."""

from __future__ import annotations

import asyncio
import time

from proxy.endpoints.deadlines import Deadlines


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


def timers() -> int:
    """How many timers the loop holds."""
    loop = asyncio.get_running_loop()
    return len([handle for handle in loop._scheduled if not handle.cancelled()])  # type: ignore[attr-defined]


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


async def test_there_is_one_timer_however_many_operations_there_are() -> None:
    deadlines, before = Deadlines(5.0), timers()
    for _ in range(10):
        Operation(deadlines)
    assert timers() == before + 1


async def test_one_that_begins_as_another_is_ended_brings_no_second_timer() -> None:
    async with asyncio.timeout(5):
        deadlines, before = Deadlines(0.02), timers()
        operation = Operation(deadlines, followed=True)
        await operation.ended.wait()
        assert timers() <= before + 1
        assert operation.next is not None
        await operation.next.ended.wait()
