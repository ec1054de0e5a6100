"""The deadline and the size of a request head that arrives in parts."""

from __future__ import annotations

import asyncio
from types import SimpleNamespace
from typing import Any, cast

import pytest

from proxy.errors import GatewayError, HeadTooLarge, RequestTimeout
from proxy.server.connection_limits import ConnectionLimits
from proxy.server.head_deadline import HeadDeadline
from tests.timers import Timers

SLACK = 1024


def watched(timeout: float = 60.0, size: int = 1000) -> tuple[HeadDeadline, list[GatewayError]]:
    """Return a deadline and a list of the errors that it rejects heads with."""
    rejected: list[GatewayError] = []
    limits: Any = SimpleNamespace(limits=SimpleNamespace(header_timeout=timeout, max_header_size=size))
    return HeadDeadline(asyncio.get_running_loop(), cast(ConnectionLimits, limits), rejected.append), rejected


@pytest.mark.parametrize(
    ("parts", "too_large"),
    [([1000 + SLACK], False), ([1001 + SLACK], True), ([1000, SLACK], False), ([1000, SLACK, 1], True)],
)
async def test_head_beyond_the_limit_and_its_line_ends_is_431(parts: list[int], too_large: bool) -> None:
    deadline, rejected = watched()
    for part in parts:
        deadline.add(part)
    assert [type(error) for error in rejected] == [HeadTooLarge] * too_large
    assert deadline.stop() == sum(parts)


async def test_head_that_does_not_complete_in_time_is_408() -> None:
    deadline, rejected = watched(timeout=0.01)
    deadline.add(5)
    async with asyncio.timeout(10):
        while not rejected:  # noqa: ASYNC110 - the callback has no event
            await asyncio.sleep(0.005)
    assert [type(error) for error in rejected] == [RequestTimeout]
    assert deadline.stop() == 0


async def test_time_and_size_count_from_the_first_byte_of_each_head(monkeypatch: pytest.MonkeyPatch) -> None:
    timers = Timers(monkeypatch)
    deadline, rejected = watched()
    assert (deadline.stop(), timers.of(deadline)) == (0, 0)
    deadline.add(900)
    deadline.add(900)
    assert timers.of(deadline) == 1
    assert (deadline.stop(), timers.of(deadline)) == (1800, 0)
    deadline.add(900)
    assert (deadline.size, deadline.stop(), rejected) == (900, 900, [])
