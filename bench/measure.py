"""The rounds: each runs every pair of scenario and contender once, and starts one pair later than the round before.

Before each measurement the answer is verified and the contender warmed up; afterwards nothing may have failed, and
the mean size of the answers must be that of the verified one, as an error can come with status 200.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass

from bench import wrk
from bench.contenders import Contender, Field
from bench.programs import BenchError, CoreTimes, core_times
from bench.scenarios import Scenario

_WARM_UP_SECONDS = 1
_SIZE_TOLERANCE = 0.02


@dataclass(frozen=True, slots=True)
class Settings:
    """How long, how often, how hard, and on which cores."""

    seconds: int
    rounds: int
    connections: int
    core: int
    other_core: int


@dataclass(frozen=True, slots=True)
class Sample:
    """One measurement. Shares are of one core: `cpu` is the contender's, `idle` and `stolen` of its core,
    `load_idle` of the other core, where `wrk`, `upstream` and `sessions` run."""

    rate: float
    p50_ms: float
    p90_ms: float
    p99_ms: float
    requests: int
    cpu: float
    cpu_us: float
    idle: float
    stolen: float
    wrk: float
    upstream: float
    sessions: float
    load_idle: float

    def as_json(self) -> dict[str, float]:
        """All fields, rounded for reading."""
        return {name: round(value, 4) for name, value in asdict(self).items()}


@dataclass(frozen=True, slots=True)
class Pair:
    """A scenario and one of its contenders."""

    scenario: Scenario
    contender: Contender

    @property
    def key(self) -> tuple[str, str]:
        """The two names."""
        return self.scenario.name, self.contender.name


Samples = dict[tuple[str, str], list[Sample]]


def rotated(pairs: Sequence[Pair], by: int) -> list[Pair]:
    """The pairs in their order, begun `by` later."""
    start = by % len(pairs)
    return [*pairs[start:], *pairs[:start]]


def measure(
    wrk_path: str, field: Field, chosen: Sequence[Scenario], settings: Settings, say: Callable[[str], None]
) -> Samples:
    """Run all rounds. Raises BenchError at the first wrong answer."""
    pairs = [Pair(scenario, field.contenders[name]) for scenario in chosen for name in scenario.asks]
    samples: Samples = {pair.key: [] for pair in pairs}
    for number in range(settings.rounds):
        for pair in rotated(pairs, number):
            sample = _measure(wrk_path, field, pair, settings)
            samples[pair.key].append(sample)
            say(
                f"round {number + 1}/{settings.rounds}  {pair.scenario.name:16}{pair.contender.label:20}"
                f"{sample.rate:9.0f}/s"
            )
    return samples


def _measure(wrk_path: str, field: Field, pair: Pair, settings: Settings) -> Sample:
    ask, contender = pair.scenario.asks[pair.contender.name], pair.contender
    size = ask.verify(contender.url)
    shot = wrk.Shot(contender.url + ask.path, ask.method, ask.headers, ask.body)

    def load(seconds: int) -> tuple[wrk.WrkResult, float]:
        result, used = wrk.run(
            wrk_path, shot, seconds=seconds, connections=settings.connections, core=settings.other_core
        )
        contender.program.check()
        _judge(result, size, f"{pair.scenario.name}, {contender.label}")
        return result, used

    load(_WARM_UP_SECONDS)
    watched = (contender.program, field.upstream, field.sessions)
    before = [program.cpu_seconds() for program in watched]
    cores = core_times(settings.core), core_times(settings.other_core)
    begun = time.perf_counter()
    result, wrk_used = load(settings.seconds)
    took = time.perf_counter() - begun
    own, upstream, sessions = (p.cpu_seconds() - past for p, past in zip(watched, before, strict=True))
    own_core = settings.other_core if contender.program is field.upstream else settings.core
    idle, stolen = _shares(cores[0] if own_core == settings.core else cores[1], core_times(own_core))
    load_idle, _ = _shares(cores[1], core_times(settings.other_core))
    contender.program.trim()
    return Sample(
        rate=result.rate,
        p50_ms=result.p50_ms,
        p90_ms=result.p90_ms,
        p99_ms=result.p99_ms,
        requests=result.requests,
        cpu=own / took,
        cpu_us=own / result.requests * 1e6,
        idle=idle,
        stolen=stolen,
        wrk=wrk_used / took,
        upstream=upstream / took,
        sessions=sessions / took,
        load_idle=load_idle,
    )


def _judge(result: wrk.WrkResult, size: int, who: str) -> None:
    failure = result.failure()
    if failure:
        raise BenchError(f"{who}: {failure} ({result.requests} answers)")
    if abs(result.bytes_each - size) > size * _SIZE_TOLERANCE:
        raise BenchError(f"{who}: answers of {result.bytes_each:.0f} bytes on average, the right one has {size}")


def _shares(before: CoreTimes, after: CoreTimes) -> tuple[float, float]:
    total = max(after.total - before.total, 1e-9)
    return (after.idle - before.idle) / total, (after.stolen - before.stolen) / total
