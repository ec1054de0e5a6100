"""Latencies at half load: everyone at the same rate, half of the lowest peak among those that are compared."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from statistics import median
from typing import Any

from hdrh.histogram import HdrHistogram  # type: ignore[import-untyped]

from bench.measure import Pair, Samples, rotated
from bench.openloop import DIGITS, HIGHEST_US, LOWEST_US, Outcome, Task
from bench.programs import WrongResponse, generate_load, say
from bench.results import Latency, Settings
from bench.scenarios import AUTH_REQUEST, EDGE, FLOOR, IDLE

COMPARED = {"status": (AUTH_REQUEST, FLOOR, EDGE), "mix": (AUTH_REQUEST, FLOOR, EDGE), "idle": (EDGE, IDLE)}
PERCENTILES = (50.0, 90.0, 99.0, 99.9)
_SHARE, _SECONDS, _PASSES = 0.5, 2.0, 3


def measure(pairs: Sequence[Pair], samples: Samples, settings: Settings) -> tuple[list[Latency], list[str]]:
    """Measure all passes; return the latencies, and who failed. Raises BenchError."""
    rates = {name: rate for name in COMPARED if (rate := rate_of(name, samples))}
    chosen = [pair for pair in pairs if pair.contender in COMPARED.get(pair.scenario.name, ())]
    outcomes: dict[Pair, list[Outcome]] = {pair: [] for pair in chosen if pair.scenario.name in rates}
    for turn in range(_PASSES):
        for pair in rotated(list(outcomes), turn):
            outcomes[pair].append(_pass(pair, rates[pair.scenario.name], settings, seed=turn + 1))
            say(f"latency {turn + 1}/{_PASSES}  {pair!s:48} {rates[pair.scenario.name]:7.0f} req/s")
    latencies, failures = [], []
    for pair, passes in outcomes.items():
        try:
            latencies.append(merged(pair, rates[pair.scenario.name], passes))
        except WrongResponse as error:
            failures.append(f"{pair}: {error}")
    return latencies, failures


def rate_of(scenario: str, samples: Samples) -> float:
    """Return half of the lowest peak; 0 if fewer than two were measured, so that there is nothing to compare."""
    measured = samples.get(scenario, {})
    peaks = [median(each.rate for each in measured[name]) for name in COMPARED[scenario] if name in measured]
    return _SHARE * min(peaks) if len(peaks) > 1 else 0.0


def _pass(pair: Pair, rate: float, settings: Settings, seed: int) -> Outcome:
    """Send the requests of a pair at a rate. Raises BenchError."""
    task = Task(pair.program.port, str(pair.file), rate, _SECONDS, settings.connections, seed)
    command = [sys.executable, "-m", "bench.openloop"]
    text = json.dumps(asdict(task))
    printed = generate_load(command, settings.other_core, pair.program, _SECONDS, task=text, more={})
    return Outcome(**json.loads(printed))


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
        rate=rate,
        p99_ms=tuple(HdrHistogram.decode(each.histogram).get_value_at_percentile(99) / 1000 for each in passes),
        percentiles={f"{point:g}": whole.get_value_at_percentile(point) / 1000 for point in PERCENTILES},
        planned=planned,
        unanswered=sum(each.unanswered for each in passes),
        late=sum(each.late for each in passes) / max(planned, 1),
    )
