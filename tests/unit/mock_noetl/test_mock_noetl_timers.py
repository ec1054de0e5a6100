"""The timers of executions: in order, and other work of the event loop has its turns."""

from __future__ import annotations

import asyncio
import random

import pytest

from mock_noetl import timers as module
from mock_noetl.runs import Active
from mock_noetl.timers import Timers


def active() -> Active:
    return Active({}, {}, random.Random(1))


@pytest.fixture
def ticks(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let a tick take a tenth of a second, so that all timers of a test are in one."""
    monkeypatch.setattr(module, "TICKS_PER_SECOND", 10)


async def test_calls_are_made_in_their_order_and_those_of_stopped_executions_are_not(ticks: None) -> None:
    timers, made = Timers(), list[int]()
    owners = [active() for _ in range(6)]
    for number, owner in enumerate(owners):
        timers.after(owner, 0, made.append, number)
    for owner in (owners[1], owners[4]):
        owner.stopped = True
        timers.stopped(owner)
    await asyncio.sleep(0.15)
    assert made == [0, 2, 3, 5]
    assert [owner.timers for owner in owners] == [0] * 6


@pytest.mark.parametrize(("limit", "value"), [("SECONDS_AT_ONCE", 0.000001), ("AT_ONCE", 1)])
async def test_calls_that_take_long_leave_others_a_turn(
    ticks: None, monkeypatch: pytest.MonkeyPatch, limit: str, value: float
) -> None:
    monkeypatch.setattr(module, limit, value)
    timers, made, owner, loop = Timers(), list[str](), active(), asyncio.get_running_loop()

    def call(number: int) -> None:
        made.append(f"call {number}")
        loop.call_soon(made.append, "other")
        if number < 3:
            timers.after(owner, -1, call, number + 10)  # of the same tick

    for number in range(5):
        timers.after(owner, 0, call, number)
    async with asyncio.timeout(5):
        while len(made) < 16:  # noqa: ASYNC110
            await asyncio.sleep(0.01)
    assert made[1::2] == ["other"] * 8
    assert sorted(made[::2]) == sorted(f"call {number}" for number in (0, 1, 2, 3, 4, 10, 11, 12))
    assert owner.timers == 0


async def test_a_call_that_fails_does_not_stop_the_others(ticks: None) -> None:
    timers, made, owner = Timers(), list[int](), active()
    timers.after(owner, 0, made.remove, 7)
    timers.after(owner, 0, made.append, 1)
    await asyncio.sleep(0.15)
    assert made == [1]


async def test_cleared_timers_do_nothing(ticks: None) -> None:
    timers, made = Timers(), list[int]()
    timers.after(active(), 0, made.append, 1)
    timers.clear()
    await asyncio.sleep(0.15)
    assert made == []
