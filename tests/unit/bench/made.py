"""Results made by hand, for the tests of reports, goals and comparisons."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence

from bench.measure import Samples
from bench.results import Latency, Results, Sample, Settings

SATURATED = Sample(rate=1000, cpu_us=900, cpu=0.99, idle=0.01, load_idle=0.5)


def samples(
    scenario: str, rates: Mapping[str, Sequence[float]], cpu: Mapping[str, float] | None = None
) -> dict[str, dict[str, tuple[Sample, ...]]]:
    """Return a scenario's contenders with their rates, round by round; `cpu` are shares of the core other than 99 %."""
    found = {}
    for name, own in rates.items():
        share = (cpu or {}).get(name, SATURATED.cpu)
        changed = ({"rate": rate, "cpu": share, "cpu_us": share / rate * 1e6} for rate in own)
        found[name] = tuple(dataclasses.replace(SATURATED, **each) for each in changed)
    return {scenario: found}


def latency(scenario: str, contender: str, p99_ms: Sequence[float], unanswered: int = 0, late: float = 0.0) -> Latency:
    """Return latencies with the given 99th percentiles."""
    percentiles = {"50": 1.0, "99": max(p99_ms)}
    return Latency(scenario, contender, 500, tuple(p99_ms), percentiles, 1000, unanswered, late)


def results(
    measured: Samples | None = None, latencies: Sequence[Latency] = (), failures: Sequence[str] = ()
) -> Results:
    """Return the results of a run."""
    return Results(
        measured_at="2026-01-05T10:15:30+00:00",
        machine={"processor": "A processor", "cores": "2"},
        versions={"commit": "abc1234", "nginx": "1.22.1"},
        settings=Settings(seconds=1, rounds=5, connections=32, core=0, other_core=1),
        samples=measured or {},
        latencies=tuple(latencies),
        failures=tuple(failures),
    )
