"""The results of a run, as values and as a JSON file that the report and `compare` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.programs import BenchError

SCHEMA = 3


@dataclass(frozen=True, slots=True)
class Settings:
    """Seconds of a measurement, number of rounds, open connections, and the two cores."""

    seconds: int
    rounds: int
    connections: int
    core: int
    other_core: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement at saturation.

    Args:
        rate: responses per second.
        cpu_us: CPU time of the contender for a request, in microseconds.
        helper_us: the same of the programs that it needs on the other core, which is not charged to it.
        cpu: the contender's share of its core.
        idle: the share of that core that nobody used.
        load_idle: the same of the other core, with the load generator, the upstream and the session service.
    """

    rate: float
    cpu_us: float
    cpu: float
    idle: float
    load_idle: float
    helper_us: float = 0.0


@dataclass(frozen=True, slots=True)
class Row:
    """A contender in a scenario, with a sample for each round."""

    contender: str
    label: str
    samples: tuple[Sample, ...]

    @property
    def rates(self) -> list[float]:
        """The rate of each round."""
        return [sample.rate for sample in self.samples]


@dataclass(frozen=True, slots=True)
class Table:
    """A scenario with its rows."""

    scenario: str
    title: str
    rows: tuple[Row, ...]

    def row(self, contender: str) -> Row | None:
        """Return the row of a contender, if it took part."""
        return next((row for row in self.rows if row.contender == contender), None)


@dataclass(frozen=True, slots=True)
class Latency:
    """Latencies at a rate of arrivals, counted from the planned time, in milliseconds.

    Args:
        p99_ms: the 99th percentile of each pass.
        percentiles: of all passes together.
        unanswered: requests without a response at the end of a pass; they count with the time until then.
        late: the share of requests that the generator itself sent more than 1 ms after their time.
    """

    scenario: str
    contender: str
    label: str
    rate: float
    p99_ms: tuple[float, ...]
    percentiles: Mapping[str, float]
    planned: int
    unanswered: int
    late: float


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run. `conditions` is what the reader has to know, `failures` who responded wrongly and is in no table."""

    measured_at: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    settings: Settings
    tables: tuple[Table, ...]
    latencies: tuple[Latency, ...] = ()
    conditions: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    schema_version: int = SCHEMA

    def samples(self, scenario: str, contender: str) -> tuple[Sample, ...]:
        """Return a contender's rounds; empty if it did not take part."""
        rows = (table.row(contender) for table in self.tables if table.scenario == scenario)
        return next((row.samples for row in rows if row), ())

    def rates(self, scenario: str, contender: str) -> list[float]:
        """Return the rates of a contender's rounds."""
        return [sample.rate for sample in self.samples(scenario, contender)]

    def latency(self, scenario: str, contender: str) -> Latency | None:
        """Return a contender's latencies, if they were measured."""
        found = (each for each in self.latencies if (each.scenario, each.contender) == (scenario, contender))
        return next(found, None)

    def to_json(self) -> str:
        """Return the text of a results file."""
        return _RESULTS.dump_json(self, indent=1).decode() + "\n"


_RESULTS = TypeAdapter(Results)


def load(path: Path) -> Results:
    """Read a results file. Raises BenchError if it isn't one."""
    try:
        results = _RESULTS.validate_json(path.read_bytes())
    except OSError as error:
        raise BenchError(f"{path}: {error.strerror}") from None
    except ValidationError as error:
        raise BenchError(f"{path}: not a results file of this version: {error.errors()[0]['msg']}") from None
    if results.schema_version != SCHEMA:
        raise BenchError(f"{path}: version {results.schema_version}, this program reads {SCHEMA}: measure again")
    return results
