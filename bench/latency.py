"""Latency at given rates of arrival: 10, 50 and 80 % of the gateway's measured peak, the same rates for everyone.

Those with auth_request are measured at half of their own peak too: where ours is far above it, ours only drowns them.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from statistics import median
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench import wrk
from bench.measure import Pair, Say, rotated
from bench.openloop import DIGITS, HIGHEST_US, LOWEST_US, Outcome, Task
from bench.programs import ROOT, BenchError, WrongAnswer, bound_to, clean_environment
from bench.results import Delay, Settings, Table
from bench.scenarios import AUTH_REQUEST, AUTH_REQUEST_TUNED, EDGE, PLAIN, PLAIN_TUNED

HALF = 0.5
SHARES = (0.1, HALF, 0.8)
SCENARIOS = ("relay", "executionStatus")
GUARDS = (AUTH_REQUEST, AUTH_REQUEST_TUNED)
CONTENDERS = (PLAIN, PLAIN_TUNED, *GUARDS, EDGE)
_SECONDS, _PASSES = 1.0, 3
_QUICK_SHARES, _QUICK_PASSES = (HALF,), 1
_EXTRA_SECONDS = 20.0
# A percentile is drawn where at least so many answers lie beyond it.
_BEYOND = 5
_POINTS = (
    0.0, 5.0, 10.0, 20.0, 30.0, 40.0, 50.0, 60.0, 70.0, 75.0, 80.0, 85.0, 90.0, 92.5, 95.0, 96.0, 97.0, 98.0, 98.5,
    99.0, 99.25, 99.5, 99.7, 99.8, 99.9, 99.95, 99.97, 99.99,
)  # fmt: skip


@dataclass(frozen=True, slots=True)
class Trial:
    """One contender at one rate, a share of the peak of `peak_of`."""

    pair: Pair
    share: float
    peak_of: str
    rate: float

    @property
    def who(self) -> str:
        """The trial for people."""
        own = "" if self.peak_of == EDGE else " of its own peak"
        return f"{self.pair.who} at {self.rate:.0f} req/s ({self.share:.0%}{own})"


def measure(
    pairs: Sequence[Pair], tables: Sequence[Table], settings: Settings, say: Say
) -> tuple[tuple[Delay, ...], list[str]]:
    """All passes, and who failed. Raises BenchError. Without a peak of the gateway there is nothing to measure."""
    trials = trials_of(pairs, tables, _QUICK_SHARES if settings.quick else SHARES)
    outcomes: list[list[Outcome]] = [[] for _ in trials]
    passes = _QUICK_PASSES if settings.quick else _PASSES
    for turn in range(passes):
        for number, trial in rotated(list(enumerate(trials)), turn):
            outcomes[number].append(run(trial, settings, seed=turn + 1))
            say(f"latency {turn + 1}/{passes}  {trial.who}")
    delays, failures = [], []
    for trial, passed in zip(trials, outcomes, strict=True):
        try:
            delays.append(merged(trial, passed))
        except WrongAnswer as error:
            failures.append(str(error))
    return tuple(delays), failures


def trials_of(pairs: Sequence[Pair], tables: Sequence[Table], shares: Sequence[float]) -> list[Trial]:
    """Who is measured at which rates."""
    peaks = {
        (table.scenario, row.contender): median(row.values(table.unit))
        for table in tables
        for row in table.rows
        if table.scenario in SCENARIOS and table.row(EDGE)
    }
    taking_part = [pair for pair in pairs if pair.key in peaks and pair.contender.name in CONTENDERS]
    same = [
        Trial(pair, share, EDGE, share * peaks[pair.scenario.name, EDGE]) for share in shares for pair in taking_part
    ]
    own = [
        Trial(pair, HALF, pair.contender.name, HALF * peaks[pair.key])
        for pair in taking_part
        if pair.contender.name in GUARDS
    ]
    return same + own


def request_bytes(shot: wrk.Shot) -> str:
    """The request as it goes over the wire, as Latin-1."""
    scheme, _, rest = shot.url.partition("://")
    host, _, path = rest.partition("/")
    assert scheme == "http"
    fields = {"host": host, **(shot.headers or {})}
    body = shot.body.encode()
    if shot.method != "GET":
        fields["content-length"] = str(len(body))
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    return f"{shot.method} /{path} HTTP/1.1\r\n{head}\r\n" + body.decode("latin-1")


def run(trial: Trial, settings: Settings, seed: int) -> Outcome:
    """One pass. Raises BenchError."""
    shot = trial.pair.shot()
    port = trial.pair.contender.programs[0].port
    task = Task(port, request_bytes(shot), trial.rate, _SECONDS, settings.connections, seed)
    try:
        done = subprocess.run(
            [*bound_to(settings.other_core), sys.executable, "-m", "bench.openloop"],
            input=json.dumps(asdict(task)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
            timeout=_SECONDS + _EXTRA_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{trial.who}: the load generator did not end") from None
    if done.returncode != 0:
        raise BenchError(f"{trial.who}: the load generator failed: {done.stderr.strip()[-300:]}")
    for program in trial.pair.contender.programs:
        program.check()
        program.trim()
    return Outcome(**json.loads(done.stdout))


def merged(trial: Trial, outcomes: Sequence[Outcome]) -> Delay:
    """The passes put together. Raises WrongAnswer if requests failed."""
    whole: Any = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    each = []
    for outcome in outcomes:
        whole.decode_and_add(outcome.histogram)
        each.append(HdrHistogram.decode(outcome.histogram).get_value_at_percentile(99) / 1000)
    planned = sum(outcome.planned for outcome in outcomes)
    failed = sum(outcome.failed for outcome in outcomes)
    if failed:
        raise WrongAnswer(f"{trial.who}: {failed} of {planned} requests failed")
    return Delay(
        scenario=trial.pair.scenario.name,
        contender=trial.pair.contender.name,
        label=trial.pair.contender.label,
        share=trial.share,
        peak_of=trial.peak_of,
        rate=trial.rate,
        planned=planned,
        unanswered=sum(outcome.unanswered for outcome in outcomes),
        failed=failed,
        late=sum(outcome.late for outcome in outcomes) / max(planned, 1),
        worst_late_ms=max(outcome.worst_late_us for outcome in outcomes) / 1000,
        generator_cpu=max(outcome.cpu for outcome in outcomes),
        load_idle=min(outcome.core_idle for outcome in outcomes),
        curve=curve(whole, planned),
        p99_passes_ms=tuple(each),
    )


def curve(histogram: Any, count: int) -> tuple[tuple[float, float], ...]:
    """(percentile, milliseconds) for as far out as the number of answers carries."""
    furthest = 100 * (1 - _BEYOND / max(count, _BEYOND + 1))
    points = [point for point in _POINTS if point <= furthest] or [0.0]
    return tuple((point, histogram.get_value_at_percentile(point) / 1000) for point in points)
