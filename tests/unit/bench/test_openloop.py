"""The open-loop load generator: planned times, latencies, and the passes put together."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Sequence
from pathlib import Path
from typing import cast

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench.latency import merged, rate_of
from bench.measure import Pair
from bench.openloop import DIGITS, HIGHEST_US, LOWEST_US, Connection, Outcome, Run, Task, encode, plan
from bench.programs import Program, WrongResponse
from bench.scenarios import AUTH_REQUEST, EDGE, FLOOR, IDLE, Scenario
from tests.unit.bench.made import samples

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_planned_times_rise_and_come_at_the_mean_rate() -> None:
    times = plan(rate=1000, seconds=20, seed=1)
    assert times == sorted(times)
    assert len(times) == pytest.approx(20_000, rel=0.03)
    assert 0 <= times[0] < times[-1] < 20e9


def test_planned_times_are_those_of_independent_clients() -> None:
    times = plan(rate=1000, seconds=20, seed=1)
    gaps = [after - before for before, after in itertools.pairwise(times)]
    average = sum(gaps) / len(gaps)
    # Of exponential gaps 1 - 1/e are below the mean; evenly spaced ones would be at it.
    assert sum(gap < average for gap in gaps) / len(gaps) == pytest.approx(0.632, abs=0.02)


def test_everyone_gets_the_same_times_and_each_pass_others() -> None:
    assert plan(500, 1, seed=1) == plan(500, 1, seed=1)
    assert plan(500, 1, seed=1) != plan(500, 1, seed=2)


class Wire:
    """Where a connection writes to."""

    def __init__(self) -> None:
        self.sent: list[bytes] = []

    def write(self, data: bytes) -> None:
        self.sent.append(data)


class Clock:
    """A time that the test sets, in milliseconds."""

    def __init__(self) -> None:
        self.ms = 0.0

    def __call__(self) -> int:
        return int(self.ms * 1_000_000)


def driven(
    monkeypatch: pytest.MonkeyPatch, planned_ms: Sequence[float], connections: int
) -> tuple[Run, Clock, list[Connection], list[Wire]]:
    """Return a run with given times, on connections to nowhere; the test is its event loop."""
    monkeypatch.setattr("bench.openloop.plan", lambda *_: [int(ms * 1_000_000) for ms in planned_ms])
    clock, wires = Clock(), [Wire() for _ in range(connections)]
    run = Run(Task(1, "", 1, 1, connections, 1), [b"GET /a", b"GET /b?@@@@@@@@ HTTP/1.1"], clock)
    made = [Connection(run) for _ in wires]
    for connection, wire in zip(made, wires, strict=True):
        connection.connection_made(cast(asyncio.Transport, wire))
        run.add(connection)
    return run, clock, made, wires


def percentile(outcome: Outcome, at: float) -> float:
    return float(HdrHistogram.decode(outcome.histogram).get_value_at_percentile(at)) / 1000


def test_latency_counts_from_the_planned_time_also_of_a_request_that_waited(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, (connection,), (wire,) = driven(monkeypatch, [1, 2], connections=1)
    for ms in (1, 2):
        clock.ms = ms
        run.tick()
    assert len(wire.sent) == 1, "the second waits: the only connection is busy"
    for ms in (101, 102):
        clock.ms = ms
        connection.data_received(OK)
    outcome = run.outcome()
    # A closed loop would have reported 1 ms for the second one.
    assert percentile(outcome, 0) == pytest.approx(100, rel=0.01)
    assert percentile(outcome, 100) == pytest.approx(100, rel=0.01)
    assert (outcome.planned, outcome.unanswered, outcome.failed) == (2, 0, 0)


def test_slow_server_does_not_delay_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, _, wires = driven(monkeypatch, [1, 2], connections=2)
    clock.ms = 2
    run.tick()
    assert [len(wire.sent) for wire in wires] == [1, 1]


def test_requests_are_sent_in_turn_with_unique_digits(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, _, wires = driven(monkeypatch, [1, 2, 3, 4], connections=4)
    clock.ms = 4
    run.tick()
    sent = sorted(data for wire in wires for data in wire.sent)
    assert sent[:2] == [b"GET /a"] * 2
    assert sent[2] != sent[3]
    assert all(len(each) == len(b"GET /b?12345678 HTTP/1.1") for each in sent[2:])


def test_request_without_response_counts_with_the_time_until_now(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, _, _ = driven(monkeypatch, [1, 2], connections=1)
    clock.ms = 2
    run.tick()
    clock.ms = 502
    outcome = run.outcome()
    assert outcome.unanswered == 2
    assert percentile(outcome, 0) == pytest.approx(500, rel=0.01)


def test_generator_reports_how_often_it_was_late(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, _, _ = driven(monkeypatch, [1, 7.5, 8], connections=3)
    clock.ms = 8
    run.tick()
    assert run.outcome().late == 1


@pytest.mark.parametrize("response", [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", b"SSH-2.0-x\r\n\r\n"])
def test_response_other_than_200_has_failed(monkeypatch: pytest.MonkeyPatch, response: bytes) -> None:
    run, clock, (connection,), _ = driven(monkeypatch, [1], connections=1)
    clock.ms = 1
    run.tick()
    connection.data_received(response)
    assert run.outcome().failed == 1


def test_everyone_has_half_of_the_lowest_peak() -> None:
    measured = samples("mix", {AUTH_REQUEST: [900, 1000, 1100], FLOOR: [5000], EDGE: [3000], IDLE: [1]})
    assert rate_of("mix", measured) == 500
    assert rate_of("status", measured) == 0
    assert rate_of("mix", samples("mix", {EDGE: [3000]})) == 0


def outcome(milliseconds: Sequence[int], failed: int = 0) -> Outcome:
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for each in milliseconds:
        histogram.record_value(each * 1000)
    return Outcome(len(milliseconds), 1, failed, 1, encode(histogram))


PROGRAM = Program("x", (), 1, Path("x"), 0)
PAIR = Pair(Scenario("mix", "", {}), EDGE, PROGRAM, Path("x"))


def test_passes_are_merged_response_by_response() -> None:
    found = merged(PAIR, 500, [outcome([1] * 10), outcome([9] * 10)])
    assert found.percentiles["50"] == pytest.approx(1, rel=0.01)
    assert found.percentiles["99"] == pytest.approx(9, rel=0.01)
    assert list(found.p99_ms) == pytest.approx([1, 9], rel=0.01)
    assert (found.planned, found.unanswered, found.late) == (20, 2, 0.1)


def test_failed_requests_are_no_measurement() -> None:
    with pytest.raises(WrongResponse, match="1 of 20 requests at 500 req/s failed"):
        merged(PAIR, 500, [outcome([1] * 10), outcome([1] * 10, failed=1)])
