"""What a run found, as values and as JSON: one schema that the reports, `compare` and `gate` all read."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import Any

from bench.programs import BenchError

SCHEMA = 2
MIB = "MiB/s"
DISTURBED = "DISTURBED: "


@dataclass(frozen=True, slots=True)
class Settings:
    """How long, how often, how hard, and on which cores."""

    seconds: int
    rounds: int
    connections: int
    core: int
    other_core: int
    quick: bool = False


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement at saturation. Shares are of one core: `cpu` is the contender's, `idle` and `stolen` of its
    core, `load_idle` of the other core, where `wrk`, `upstream` and `sessions` run."""

    rate: float
    mib_per_second: float
    p50_ms: float
    p99_ms: float
    cpu: float
    cpu_us: float
    idle: float
    stolen: float
    wrk: float
    upstream: float
    sessions: float
    load_idle: float


@dataclass(frozen=True, slots=True)
class Row:
    """A contender in a scenario: one sample for each round."""

    contender: str
    label: str
    samples: tuple[Sample, ...]

    def values(self, unit: str) -> list[float]:
        """What each round measured, in the scenario's unit."""
        return [sample.mib_per_second if unit == MIB else sample.rate for sample in self.samples]


@dataclass(frozen=True, slots=True)
class Table:
    """A scenario with its rows."""

    scenario: str
    title: str
    unit: str
    rows: tuple[Row, ...]

    def row(self, contender: str) -> Row | None:
        """The row of a contender, if it took part."""
        return next((row for row in self.rows if row.contender == contender), None)

    def values(self, contender: str) -> list[float]:
        """What a contender's rounds measured; nothing if it did not take part."""
        row = self.row(contender)
        return row.values(self.unit) if row else []


@dataclass(frozen=True, slots=True)
class Delay:
    """Latencies at a given rate of arrivals, counted from the planned time, over all passes.

    `share` is of the peak of `peak_of`. `late` is the part of requests that the generator sent over a millisecond after
    their time for reasons of its own, `load_idle` what nobody used of its core. `unanswered` had no answer when the
    pass ended, and count with the time so far. `curve` holds (percentile, milliseconds), `p99_passes_ms` the 99th
    percentile of each pass.
    """

    scenario: str
    contender: str
    label: str
    share: float
    peak_of: str
    rate: float
    planned: int
    unanswered: int
    failed: int
    late: float
    worst_late_ms: float
    generator_cpu: float
    load_idle: float
    curve: tuple[tuple[float, float], ...]
    p99_passes_ms: tuple[float, ...]

    def at(self, percentile: float) -> float:
        """Milliseconds at the first point of the curve that is no lower than `percentile`."""
        return next((ms for point, ms in self.curve if point >= percentile), self.curve[-1][1])


@dataclass(frozen=True, slots=True)
class Results:
    """All of a run. `limits` says in words what limited whom, `conditions` what the reader has to know, `failures`
    who gave wrong answers and is therefore in no table."""

    measured_at: str
    machine: Mapping[str, str | int]
    versions: Mapping[str, str]
    settings: Settings
    tables: tuple[Table, ...]
    delays: tuple[Delay, ...] = ()
    limits: tuple[str, ...] = ()
    conditions: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    schema: int = field(default=SCHEMA)

    def table(self, scenario: str) -> Table | None:
        """The table of a scenario, if it was measured."""
        return next((table for table in self.tables if table.scenario == scenario), None)

    def values(self, scenario: str, contender: str) -> list[float]:
        """What a contender's rounds measured in a scenario; nothing if they did not take place."""
        table = self.table(scenario)
        return table.values(contender) if table else []

    def to_json(self) -> str:
        """The results as a file holds them."""
        return json.dumps(_rounded(asdict(self)), indent=1) + "\n"

    def only(self, scenarios: Sequence[str]) -> Results:
        """The same with only some of the scenarios."""
        return replace(self, tables=tuple(table for table in self.tables if table.scenario in scenarios))


def _rounded(value: Any) -> Any:
    if isinstance(value, float):
        return round(value, 5)
    if isinstance(value, dict):
        return {name: _rounded(item) for name, item in value.items()}
    return [_rounded(item) for item in value] if isinstance(value, list | tuple) else value


def load(path: Path) -> Results:
    """Read a file of results. Raises BenchError if it isn't one."""
    try:
        found = json.loads(path.read_text())
        if found["schema"] != SCHEMA:
            raise BenchError(f"{path}: schema {found['schema']}, this program reads {SCHEMA}: measure again")
        return _results(found)
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}") from None
    except (ValueError, KeyError, TypeError) as error:
        raise BenchError(f"{path}: not a file of results: {type(error).__name__} {error}") from None


def _results(found: dict[str, Any]) -> Results:
    tables = tuple(
        Table(t["scenario"], t["title"], t["unit"], tuple(_row(row) for row in t["rows"])) for t in found["tables"]
    )
    delays = tuple(
        Delay(**{**d, "curve": tuple(map(tuple, d["curve"])), "p99_passes_ms": tuple(d["p99_passes_ms"])})
        for d in found["delays"]
    )
    return Results(
        found["measured_at"],
        found["machine"],
        found["versions"],
        Settings(**found["settings"]),
        tables,
        delays,
        tuple(found["limits"]),
        tuple(found["conditions"]),
        tuple(found["failures"]),
    )


def _row(row: dict[str, Any]) -> Row:
    return Row(row["contender"], row["label"], tuple(Sample(**sample) for sample in row["samples"]))
