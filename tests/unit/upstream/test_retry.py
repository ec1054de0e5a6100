"""Which failed requests are sent again."""

from __future__ import annotations

import pytest

from proxy.upstream.receiver import FaultKind
from proxy.upstream.retry import NO_RETRIES, RetryBudget, RetryPolicy

POLICY = RetryPolicy(
    1, connect=True, reset=True, statuses=frozenset({502, 503}), methods=frozenset({"GET", "HEAD", "OPTIONS"})
)


@pytest.mark.parametrize(
    ("method", "kind", "again"),
    [
        ("GET", FaultKind.CONNECT, True),
        ("POST", FaultKind.CONNECT, True),
        ("GET", FaultKind.RESET, True),
        ("HEAD", FaultKind.GARBAGE, True),
        ("POST", FaultKind.RESET, False),
        ("DELETE", FaultKind.GARBAGE, False),
        ("GET", FaultKind.HEAD_TIMEOUT, False),
        ("GET", FaultKind.BROKEN, False),
        ("GET", FaultKind.IDLE_TIMEOUT, False),
    ],
)
def test_a_fault_is_followed_by_a_retry_only_if_nothing_can_have_been_acted_on(
    method: str, kind: FaultKind, again: bool
) -> None:
    assert POLICY.after_fault(method, kind) is again


@pytest.mark.parametrize(
    ("method", "status", "again"),
    [("GET", 503, True), ("GET", 502, True), ("GET", 504, False), ("GET", 500, False), ("POST", 503, False)],
)
def test_only_the_listed_statuses_of_safe_requests_are_retried(method: str, status: int, again: bool) -> None:
    assert POLICY.after_status(method, status) is again


def test_a_method_that_is_not_safe_is_never_repeated_whatever_the_policy_lists() -> None:
    careless = RetryPolicy(3, connect=True, reset=True, statuses=frozenset({503}), methods=frozenset({"POST"}))
    assert not careless.after_status("POST", 503)
    assert not careless.after_fault("POST", FaultKind.RESET)


def test_without_attempts_nothing_is_retried() -> None:
    assert not NO_RETRIES.after_fault("GET", FaultKind.CONNECT)


def test_retries_stay_below_a_tenth_of_the_requests_once_the_reserve_is_used_up() -> None:
    budget, sent, granted = RetryBudget(), 0, 0
    for _ in range(10_000):
        sent += 1
        if budget.acquire(sent):
            sent, granted = sent + 1, granted + 1
    assert 1000 <= granted <= 1010
    assert budget.spent == granted
    assert budget.refused == 10_000 - granted


def test_a_quiet_past_saves_no_more_than_the_reserve() -> None:
    budget = RetryBudget()
    assert sum(budget.acquire(1_000_000 + retries) for retries in range(10)) == 10
    assert not budget.acquire(1_000_010)
