"""Results made by hand, for the tests of what is said about results."""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping, Sequence
from typing import Any

from bench.results import Delay, Results, Row, Sample, Settings, Table
from bench.scenarios import EDGE, LABELS

SETTINGS = Settings(seconds=1, rounds=3, connections=32, core=0, other_core=1)
FULL = Sample(
    rate=1000, mib_per_second=1, p50_ms=1, p99_ms=3, cpu=0.99, cpu_us=900, idle=0.01, stolen=0, wrk=0.2, upstream=0.2,
    sessions=0.1, load_idle=0.5,
)  # fmt: skip


def sample(**changes: float) -> Sample:
    """A sample of a contender that has filled its core, with changes."""
    return dataclasses.replace(FULL, **changes)


def table(scenario: str, rates: Mapping[str, Sequence[float]], unit: str = "req/s") -> Table:
    """A table of each contender's rates, or MiB/s, round by round."""
    rows = tuple(
        Row(name, LABELS[name], tuple(sample(rate=value, mib_per_second=value) for value in values))
        for name, values in rates.items()
    )
    return Table(scenario, f"what {scenario} is", unit, rows)


def delay(contender: str, p99: Sequence[float], **changes: Any) -> Delay:
    """A delay at half of the gateway's peak, with the 99th percentile of each pass."""
    curve = ((0.0, 0.1), (50.0, min(p99) / 2), (90.0, min(p99) * 0.75), (99.0, min(p99)), (99.9, max(p99)))
    made = Delay(
        scenario="relay", contender=contender, label=LABELS[contender], share=0.5, peak_of=EDGE, rate=1000,
        planned=3000, unanswered=0, failed=0, late=0.0, worst_late_ms=0.2, generator_cpu=0.1, load_idle=0.5,
        curve=curve, p99_passes_ms=tuple(p99),
    )  # fmt: skip
    return dataclasses.replace(made, **changes)


def results(*tables: Table, delays: Sequence[Delay] = (), **changes: Any) -> Results:
    """Results of a run."""
    made = Results(
        measured_at="2026-01-05T10:15:30+00:00",
        machine={"processor": "A processor", "cores": 2, "kernel": "6.1"},
        versions={"commit": "abc1234", "nginx": "1.22.1"},
        settings=SETTINGS,
        tables=tables,
        delays=tuple(delays),
    )
    return dataclasses.replace(made, **changes)
