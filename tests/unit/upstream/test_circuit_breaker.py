"""The circuit of one url, moment by moment."""

from __future__ import annotations

from proxy.upstream.circuit_breaker import CircuitBreaker, CircuitBreakerSettings, CircuitState

SETTINGS = CircuitBreakerSettings(failures=3, window=10, open=5)


def broken(at: float = 100.0) -> CircuitBreaker:
    circuit = CircuitBreaker(SETTINGS)
    for _ in range(3):
        circuit.failed(at)
    return circuit


def test_enough_failures_within_the_window_open_it() -> None:
    circuit = CircuitBreaker(SETTINGS)
    circuit.failed(100)
    circuit.failed(105)
    assert circuit.admit(105)
    circuit.failed(110)
    assert not circuit.admit(110)


def test_failures_that_are_too_far_apart_do_not_open_it() -> None:
    circuit = CircuitBreaker(SETTINGS)
    for moment in (100, 106, 112, 118, 124):
        circuit.failed(moment)
    assert circuit.state is CircuitState.CLOSED


def test_it_admits_nothing_until_its_time_is_over() -> None:
    circuit = broken()
    assert [circuit.admit(moment) for moment in (100, 102, 104.9)] == [False, False, False]
    assert circuit.seconds_until_probe(102) == 3


def test_one_probe_at_a_time_is_admitted_when_its_time_is_over() -> None:
    circuit = broken()
    assert [circuit.admit(105), circuit.admit(105), circuit.admit(109)] == [True, False, False]


def test_asking_whether_it_would_admit_does_not_use_the_probe_up() -> None:
    circuit = broken()
    assert circuit.would_admit(105)
    assert circuit.admit(105)
    assert not circuit.would_admit(105)


def test_a_probe_that_succeeds_closes_it() -> None:
    circuit = broken()
    circuit.admit(105)
    circuit.succeeded()
    assert [circuit.admit(105), circuit.admit(105)] == [True, True]


def test_a_probe_that_fails_opens_it_again_for_the_whole_time() -> None:
    circuit = broken()
    circuit.admit(105)
    circuit.failed(106)
    assert [circuit.admit(110.9), circuit.admit(111)] == [False, True]


def test_a_probe_that_is_never_heard_of_again_is_followed_by_another() -> None:
    circuit = broken()
    assert [circuit.admit(105), circuit.admit(110)] == [True, True]


def test_a_late_answer_to_an_older_request_does_not_close_it() -> None:
    circuit = broken()
    circuit.succeeded()
    assert not circuit.admit(101)


def test_a_health_check_that_succeeds_closes_it_once_its_time_is_over() -> None:
    circuit = broken()
    circuit.health_check_succeeded(104)
    assert not circuit.admit(104)
    circuit.health_check_succeeded(105)
    assert circuit.state is CircuitState.CLOSED
