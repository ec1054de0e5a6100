"""The open-loop load generator: planned times, answers on the wire, and the passes put together."""

from __future__ import annotations

import asyncio
import itertools
import json
from collections.abc import Sequence
from dataclasses import asdict
from typing import cast

import pytest
from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench.contenders import Contender
from bench.latency import Trial, curve, merged, request_bytes, trials_of
from bench.measure import Pair
from bench.openloop import DIGITS, HIGHEST_US, LOWEST_US, Connection, Outcome, Run, Task, plan
from bench.programs import WrongAnswer
from bench.scenarios import AUTH_REQUEST, EDGE, LABELS, PLAIN, UPSTREAM, Credentials, Scenario, scenarios
from bench.wire import Answers, WireError
from bench.wrk import Shot
from tests.unit.bench.made import table

OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
SCENARIOS = {scenario.name: scenario for scenario in scenarios(Credentials("token"))}


def pair(scenario: Scenario, contender: str) -> Pair:
    return Pair(scenario, Contender(contender, LABELS[contender], ()))


# When requests are sent


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
) -> tuple[Run, Clock, list[Wire]]:
    """A run with given times on connections that go nowhere; the test is its event loop."""
    monkeypatch.setattr("bench.openloop.plan", lambda *_: [int(ms * 1_000_000) for ms in planned_ms])
    clock = Clock()
    monkeypatch.setattr("bench.openloop.now_ns", clock)
    run = Run(Task(port=1, request="GET / HTTP/1.1\r\n\r\n", rate=1, seconds=1, connections=connections, seed=1))
    wires = [Wire() for _ in range(connections)]
    for wire in wires:
        made = Connection(run)
        made.connection_made(cast(asyncio.Transport, wire))
        run.adopt(made)
    return run, clock, wires


def percentile(outcome: Outcome, at: float) -> float:
    return float(HdrHistogram.decode(outcome.histogram).get_value_at_percentile(at)) / 1000


def test_latency_counts_from_the_planned_time_also_of_a_request_that_had_to_wait(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    run, clock, wires = driven(monkeypatch, [1, 2], connections=1)
    clock.ms = 1
    run.tick()
    clock.ms = 2
    run.tick()
    assert len(wires[0].sent) == 1, "the second waits: the only connection is busy"
    clock.ms = 101
    run.connections[0].data_received(OK)
    assert len(wires[0].sent) == 2
    clock.ms = 102
    run.connections[0].data_received(OK)
    outcome = run.outcome(cpu=0, idle=0)
    # A closed loop would have said 1 ms of the second one.
    assert percentile(outcome, 0) == pytest.approx(100, rel=0.01)
    assert percentile(outcome, 100) == pytest.approx(100, rel=0.01)
    assert (outcome.planned, outcome.unanswered, outcome.failed) == (2, 0, 0)


def test_a_server_that_is_late_does_not_hold_up_the_next_request(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, wires = driven(monkeypatch, [1, 2], connections=2)
    clock.ms = 2
    run.tick()
    assert [len(wire.sent) for wire in wires] == [1, 1]


def test_what_has_no_answer_counts_with_the_time_so_far(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, _ = driven(monkeypatch, [1, 2], connections=1)
    clock.ms = 2
    run.tick()
    clock.ms = 502
    outcome = run.outcome(cpu=0, idle=0)
    assert outcome.unanswered == 2
    assert percentile(outcome, 0) == pytest.approx(500, rel=0.01)


def test_the_generator_says_how_late_it_was_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    run, clock, _ = driven(monkeypatch, [1, 7.5, 8], connections=3)
    clock.ms = 8
    run.tick()
    outcome = run.outcome(cpu=0, idle=0)
    assert (outcome.late, outcome.worst_late_us) == (1, 7000)


@pytest.mark.parametrize("answer", [b"HTTP/1.1 503 No\r\ncontent-length: 0\r\n\r\n", b"SSH-2.0-x\r\n\r\n"])
def test_an_answer_that_is_not_200_has_failed(monkeypatch: pytest.MonkeyPatch, answer: bytes) -> None:
    run, clock, _ = driven(monkeypatch, [1], connections=1)
    clock.ms = 1
    run.tick()
    run.connections[0].data_received(answer)
    assert run.outcome(cpu=0, idle=0).failed == 1


# What comes back


CHUNKED = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n"
EMPTY = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"


@pytest.mark.parametrize(
    ("stream", "statuses"),
    [
        (OK, [200]),
        (OK + OK, [200, 200]),
        (CHUNKED + OK, [200, 200]),
        (EMPTY + OK, [200, 200]),
        (b"HTTP/1.1 204 No Content\r\n\r\n" + OK, [204, 200]),
        (b"HTTP/1.1 401 No\r\nContent-Length:  0\r\n\r\n", [401]),
    ],
)
@pytest.mark.parametrize("piece", [1, 3, 1000])
def test_answers_end_where_they_end_in_whatever_pieces_they_come(
    stream: bytes, statuses: list[int], piece: int
) -> None:
    answers, found = Answers(), []
    for start in range(0, len(stream), piece):
        found += answers.feed(stream[start : start + piece])
    assert found == statuses


@pytest.mark.parametrize("head", [b"HTTP/1.1 200 OK\r\n\r\n", b"hello\r\n\r\n"])
def test_an_answer_without_an_end_is_an_error(head: bytes) -> None:
    with pytest.raises(WireError):
        Answers().feed(head)


# Who is measured at which rates


def test_the_rates_are_shares_of_our_peak_and_half_of_their_own_for_guards() -> None:
    pairs = [pair(SCENARIOS["relay"], name) for name in (UPSTREAM, PLAIN, AUTH_REQUEST, EDGE)]
    peaks = [table("relay", {UPSTREAM: [9000], PLAIN: [5000], AUTH_REQUEST: [600], EDGE: [900, 1000, 1100]})]
    found = [(t.pair.contender.name, t.share, t.peak_of, t.rate) for t in trials_of(pairs, peaks, (0.1, 0.5))]
    assert found == [
        (PLAIN, 0.1, EDGE, 100), (AUTH_REQUEST, 0.1, EDGE, 100), (EDGE, 0.1, EDGE, 100),
        (PLAIN, 0.5, EDGE, 500), (AUTH_REQUEST, 0.5, EDGE, 500), (EDGE, 0.5, EDGE, 500),
        (AUTH_REQUEST, 0.5, AUTH_REQUEST, 300),
    ]  # fmt: skip


def test_without_our_peak_there_are_no_rates() -> None:
    pairs = [pair(SCENARIOS["relay"], name) for name in (PLAIN, AUTH_REQUEST)]
    assert trials_of(pairs, [table("relay", {PLAIN: [5], AUTH_REQUEST: [6]})], (0.5,)) == []


def test_the_request_goes_out_as_wrk_would_send_it() -> None:
    shot = Shot("http://127.0.0.1:80/a?b=c", "POST", {"accept": "*/*"}, "é")
    assert request_bytes(shot).encode("latin-1") == (
        b"POST /a?b=c HTTP/1.1\r\nhost: 127.0.0.1:80\r\naccept: */*\r\ncontent-length: 2\r\n\r\n\xc3\xa9"
    )


# The passes put together


def outcome(*milliseconds: float, failed: int = 0, late: int = 0, idle: float = 0.5) -> Outcome:
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for ms in milliseconds:
        histogram.record_value(int(ms * 1000))
    made = Outcome(len(milliseconds), 0, failed, late, late * 1500, 0.1, idle, histogram.encode().decode())
    return Outcome(**json.loads(json.dumps(asdict(made))))


TRIAL = Trial(pair(SCENARIOS["relay"], EDGE), 0.5, EDGE, 100)


def test_passes_are_merged_answer_by_answer() -> None:
    found = merged(TRIAL, [outcome(*[1.0] * 99, 50), outcome(*[3.0] * 100, late=2, idle=0.1)])
    assert found.planned == 200
    assert found.at(50) == pytest.approx(3, rel=0.01)
    assert found.at(40) == pytest.approx(1, rel=0.01)
    assert found.p99_passes_ms == pytest.approx((1, 3), rel=0.01)
    assert (found.late, found.worst_late_ms, found.load_idle) == (0.01, 3, 0.1)


def test_failed_requests_are_no_measurement() -> None:
    with pytest.raises(WrongAnswer, match=r"relay, noetl-edge at 100 req/s \(50%\): 1 of 3 requests failed"):
        merged(TRIAL, [outcome(1, 1), outcome(1, failed=1)])


@pytest.mark.parametrize(("answers", "furthest"), [(10, 50), (100, 95), (1000, 99.5), (100_000, 99.99)])
def test_a_curve_ends_where_too_few_answers_lie_beyond(answers: int, furthest: float) -> None:
    histogram = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    histogram.record_value(1000)
    assert curve(histogram, answers)[-1][0] == furthest
