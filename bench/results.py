"""The results of a run, as values and as a JSON file that the report and `compare` read."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from pydantic import TypeAdapter, ValidationError

from bench.programs import BenchError

SCHEMA = 4


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
    rate: float
    p99_ms: tuple[float, ...]
    percentiles: Mapping[str, float]
    planned: int
    unanswered: int
    late: float


@dataclass(frozen=True, slots=True)
class Results:
    """A whole run.

    Args:
        samples: by scenario and contender, a sample for each round.
        conditions: what the reader has to know.
        failures: who responded wrongly, and has no samples or latencies.
    """

    measured_at: str
    machine: Mapping[str, str]
    versions: Mapping[str, str]
    settings: Settings
    samples: Mapping[str, Mapping[str, tuple[Sample, ...]]]
    latencies: tuple[Latency, ...] = ()
    conditions: tuple[str, ...] = ()
    failures: tuple[str, ...] = ()
    schema_version: int = SCHEMA

    def of(self, scenario: str, contender: str) -> tuple[Sample, ...]:
        """Return a contender's rounds; empty if it did not take part."""
        return self.samples.get(scenario, {}).get(contender, ())

    def rates(self, scenario: str, contender: str) -> list[float]:
        """Return the rates of a contender's rounds."""
        return [sample.rate for sample in self.of(scenario, contender)]

    def p99s(self, scenario: str, contender: str) -> list[float]:
        """Return the 99th percentile of each pass; empty if the latencies were not measured."""
        found = (each for each in self.latencies if (each.scenario, each.contender) == (scenario, contender))
        return [value for each in found for value in each.p99_ms]

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
