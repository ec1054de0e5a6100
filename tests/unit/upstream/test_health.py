"""The verdict of health checks."""

from __future__ import annotations

import pytest

from proxy.upstream.health import HealthSettings, HealthState

SETTINGS = HealthSettings("/", 1, 1, unhealthy_after=3, healthy_after=2)


@pytest.mark.parametrize(
    ("answers", "healthy"),
    [
        ("", True),
        ("xx", True),
        ("xxx", False),
        ("xx.xx", True),
        ("xxx.", False),
        ("xxx..", True),
        ("xxx.x.", False),
    ],
)
def test_the_verdict_changes_after_enough_answers_in_a_row(answers: str, healthy: bool) -> None:
    state = HealthState(SETTINGS)
    for answer in answers:
        state.record(ok=answer == ".")
    assert state.healthy is healthy


def test_health_change_is_reported_once() -> None:
    state = HealthState(SETTINGS)
    assert [state.record(ok=False) for _ in range(5)] == [False, False, True, False, False]
