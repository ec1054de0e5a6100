"""Which events are removed to make room."""

from __future__ import annotations

import pytest

from proxy.sessions.live import RESULT, Kept, NoRoom, removable

STEP = "playbook/state"


def kept(*methods: str) -> list[Kept]:
    """Events with the numbers from 1, of 10 bytes each."""
    return [Kept(number, method, 10) for number, method in enumerate(methods, 1)]


@pytest.mark.parametrize(
    ("methods", "written", "count", "size", "removed"),
    [
        ((STEP, STEP), 0, 0, 0, []),
        ((STEP, STEP), 0, -5, -5, []),
        ((STEP, STEP), 0, 1, 0, [1]),
        ((STEP, STEP, STEP), 0, 0, 15, [1, 2]),
        ((RESULT, STEP, RESULT, STEP), 0, 2, 0, [2, 4]),
        ((RESULT, STEP, RESULT, STEP), 1, 2, 0, [1, 2]),
        ((RESULT, RESULT), 2, 1, 11, [1, 2]),
    ],
)
def test_written_events_and_those_that_are_no_result_go_first(
    methods: tuple[str, ...], written: int, count: int, size: int, removed: list[int]
) -> None:
    assert [event.number for event in removable(kept(*methods), written, count, size)] == removed


@pytest.mark.parametrize(("written", "count", "size"), [(0, 1, 0), (1, 2, 0), (1, 0, 11)])
def test_results_that_were_never_written_stay(written: int, count: int, size: int) -> None:
    with pytest.raises(NoRoom):
        removable(kept(RESULT, RESULT), written, count, size)
