"""Latencies at half load: everyone at the same rate, half of the lowest peak among those that are compared."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench.measure import Pair, rotated
from bench.openloop import DIGITS, HIGHEST_US, LOWEST_US, Outcome, Task
from bench.programs import ROOT, BenchError, WrongResponse, clean_environment, pinned, say
from bench.results import Latency, Settings, Table
from bench.scenarios import AUTH_REQUEST, EDGE, FLOOR, LABELS

SCENARIOS, CONTENDERS = ("status", "mix"), (AUTH_REQUEST, FLOOR, EDGE)
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_SHARE, _SECONDS, _PASSES, _EXTRA_SECONDS = 0.5, 2.0, 3, 20.0


def measure(pairs: Sequence[Pair], tables: Sequence[Table], settings: Settings) -> tuple[list[Latency], list[str]]:
    """Measure all passes; return the latencies, and who failed. Raises BenchError."""
    rates = {name: rate for name in SCENARIOS if (rate := rate_of(name, tables))}
    chosen = [pair for pair in pairs if pair.scenario.name in rates and pair.contender in CONTENDERS]
    outcomes: dict[Pair, list[Outcome]] = {pair: [] for pair in chosen}
    for turn in range(_PASSES):
        for pair in rotated(chosen, turn):
            outcomes[pair].append(one_pass(pair, rates[pair.scenario.name], settings, seed=turn + 1))
            say(f"latency {turn + 1}/{_PASSES}  {pair!s:48} {rates[pair.scenario.name]:7.0f} req/s")
    latencies, failures = [], []
    for pair, passes in outcomes.items():
        try:
            latencies.append(merged(pair, rates[pair.scenario.name], passes))
        except WrongResponse as error:
            failures.append(f"{pair}: {error}")
    return latencies, failures


def rate_of(scenario: str, tables: Sequence[Table]) -> float:
    """Return half of the lowest peak; 0 if the gateway or its baseline was not measured."""
    rows = [table.row(name) for table in tables if table.scenario == scenario for name in (AUTH_REQUEST, EDGE)]
    peaks = [median(row.rates) for row in rows if row]
    return _SHARE * min(peaks) if len(peaks) == 2 else 0.0


def one_pass(pair: Pair, rate: float, settings: Settings, seed: int, seconds: float = _SECONDS) -> Outcome:
    """Send the requests of a pair at a rate. Raises BenchError."""
    task = Task(pair.program.port, str(pair.file), rate, seconds, settings.connections, seed)
    try:
        done = subprocess.run(
            [*pinned(settings.other_core), sys.executable, "-m", "bench.openloop"],
            input=json.dumps(asdict(task)),
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=clean_environment(),
            timeout=seconds + _EXTRA_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{pair}: the load generator did not end") from None
    if done.returncode != 0:
        raise BenchError(f"{pair}: the load generator failed: {done.stderr.strip()[-300:]}")
    pair.program.check()
    pair.program.trim()
    return Outcome(**json.loads(done.stdout))


def merged(pair: Pair, rate: float, passes: Sequence[Outcome]) -> Latency:
    """Return the passes put together. Raises WrongResponse if requests failed."""
    whole: Any = HdrHistogram(LOWEST_US, HIGHEST_US, DIGITS)
    for outcome in passes:
        whole.decode_and_add(outcome.histogram)
    planned, failed = sum(each.planned for each in passes), sum(each.failed for each in passes)
    if failed:
        raise WrongResponse(f"{failed} of {planned} requests at {rate:.0f} req/s failed")
    return Latency(
        scenario=pair.scenario.name,
        contender=pair.contender,
        label=LABELS[pair.contender],
        rate=rate,
        p99_ms=tuple(HdrHistogram.decode(each.histogram).get_value_at_percentile(99) / 1000 for each in passes),
        percentiles={f"{point:g}": whole.get_value_at_percentile(point) / 1000 for point in PERCENTILES},
        planned=planned,
        unanswered=sum(each.unanswered for each in passes),
        late=sum(each.late for each in passes) / max(planned, 1),
    )
