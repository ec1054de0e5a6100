"""Failed logins, slowed down."""

from __future__ import annotations

from proxy.policy.throttle import Throttle, ThrottleSettings

SETTINGS = ThrottleSettings(after=3, window=300.0, delay=1.0, max_delay=8.0)


def failing(times: int, at: float = 100.0) -> Throttle:
    throttle = Throttle(SETTINGS)
    for _ in range(times):
        throttle.failed("a", at)
    return throttle


def test_a_few_failures_cost_nothing() -> None:
    assert failing(2).wait("a", 100) == 0


def test_after_enough_failures_the_wait_doubles_up_to_the_longest() -> None:
    assert [failing(times).wait("a", 100) for times in (3, 4, 5, 6, 7, 50)] == [1, 2, 4, 8, 8, 8]


def test_the_wait_runs_from_the_last_failure() -> None:
    throttle = failing(4)
    assert [throttle.wait("a", moment) for moment in (101, 102, 103)] == [1, 0, 0]


def test_failures_are_forgotten_after_a_window_without_one() -> None:
    throttle = failing(50)
    assert throttle.wait("a", 400) == 0
    throttle.failed("a", 400)
    assert throttle.wait("a", 400) == 0


def test_a_success_forgets_them_too() -> None:
    throttle = failing(50)
    throttle.succeeded("a")
    assert throttle.wait("a", 100) == 0


def test_others_do_not_wait() -> None:
    assert failing(50).wait("b", 100) == 0


def test_after_0_is_off() -> None:
    throttle = Throttle(ThrottleSettings(0, 300, 1, 60))
    for _ in range(100):
        throttle.failed("a", 100)
    assert throttle.wait("a", 100) == 0
