"""The rounds: each runs every pair of scenario and contender once, and starts one pair later than the round before.

Before the first measurement the answer is verified and the gateway warmed up; after each one nothing may have failed,
and the mean size of the answers must be that of the verified one, as an error can come with status 200. A pair that
fails is measured no further and is in no table: a rate of errors is worth nothing.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import TypeVar

from bench import wrk
from bench.contenders import Contender, Field
from bench.cores import core_times
from bench.programs import WrongAnswer
from bench.results import DISTURBED, MIB, Row, Sample, Settings, Table
from bench.scenarios import UPSTREAM, Scenario
from bench.stats import disturbed, limit, middle, taken

# Beside the share, a header more or less: the same answer may come by two ways with heads that differ.
_SIZE_TOLERANCE, _HEADER = 0.02, 32

Say = Callable[[str], None]
T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class Pair:
    """A scenario and one of its contenders."""

    scenario: Scenario
    contender: Contender

    @property
    def key(self) -> tuple[str, str]:
        """The two names."""
        return self.scenario.name, self.contender.name

    @property
    def who(self) -> str:
        """The two names for people."""
        return f"{self.scenario.name}, {self.contender.label}"

    def shot(self) -> wrk.Shot:
        """The request as the load generator sends it."""
        ask = self.scenario.asks[self.contender.name]
        return wrk.Shot(self.contender.url + ask.path, ask.method, ask.headers, ask.body, ask.unlike)


def pairs_of(chosen: Sequence[Scenario], field: Field) -> list[Pair]:
    """Every scenario with each of its contenders."""
    return [Pair(scenario, field.contenders[name]) for scenario in chosen for name in scenario.asks]


def rotated(things: Sequence[T], by: int) -> list[T]:
    """The same in their order, begun `by` later."""
    start = by % max(len(things), 1)
    return [*things[start:], *things[:start]]


class Rounds:
    """Measures pairs at saturation. `warm` are the contenders that are loaded for a while beforehand."""

    def __init__(
        self, wrk_path: str, field: Field, settings: Settings, warm: Iterable[str], say: Say, warm_seconds: int = 1
    ) -> None:
        self._wrk = wrk_path
        self._field = field
        self._settings = settings
        self._warm = frozenset(warm)
        self._warm_seconds = warm_seconds
        self._say = say
        self._sizes: dict[tuple[str, str], int] = {}
        self._samples: dict[tuple[str, str], list[Sample]] = {}
        self.failures: dict[tuple[str, str], str] = {}

    def run(self, chosen: Sequence[Scenario]) -> tuple[Table, ...]:
        """All rounds; what failed is in `failures`. Raises BenchError if a program ends."""
        pairs = pairs_of(chosen, self._field)
        for pair in pairs:
            self._try(pair, self._prepare)
        for number in range(self._settings.rounds):
            for pair in rotated(pairs, number):
                if pair.key not in self.failures:
                    self._try(pair, functools.partial(self._round, number))
        done = {key: samples for key, samples in self._samples.items() if key not in self.failures}
        return tuple(_table(scenario, self._field, done) for scenario in chosen if _any(scenario, done))

    def _try(self, pair: Pair, work: Callable[[Pair], None]) -> None:
        try:
            work(pair)
        except WrongAnswer as error:
            self.failures[pair.key] = str(error)
            self._say(f"failed: {pair.who}: {error}")

    def _prepare(self, pair: Pair) -> None:
        size = self._sizes[pair.key] = pair.scenario.asks[pair.contender.name].verify(pair.contender.url)
        if pair.contender.name in self._warm:
            self._load(pair, size, self._warm_seconds)

    def _round(self, number: int, pair: Pair) -> None:
        sample = self._measure(pair, self._sizes[pair.key])
        self._samples.setdefault(pair.key, []).append(sample)
        shown = sample.mib_per_second if pair.scenario.unit == MIB else sample.rate
        self._say(
            f"round {number + 1}/{self._settings.rounds}  {pair.scenario.name:16}{pair.contender.label:30}"
            f"{shown:9.0f} {pair.scenario.unit}"
        )

    def _load(self, pair: Pair, size: int, seconds: int) -> tuple[wrk.WrkResult, float]:
        settings = self._settings
        result, used = wrk.run(
            self._wrk, pair.shot(), seconds=seconds, connections=settings.connections, cores=settings.other_core
        )
        for program in pair.contender.programs:
            program.check()
            program.trim()
        judge(result, size)
        return result, used

    def _measure(self, pair: Pair, size: int) -> Sample:
        contender, settings, helpers = pair.contender, self._settings, self._field.helpers
        upstream, sessions = helpers.get("upstream"), helpers.get("session service")
        watched = [contender.cpu_seconds, *(p.cpu_seconds if p else float for p in (upstream, sessions))]
        before = [seconds() for seconds in watched]
        cores = core_times(settings.core), core_times(settings.other_core)
        begun = time.perf_counter()
        result, wrk_used = self._load(pair, size, settings.seconds)
        took = time.perf_counter() - begun
        own, upstream_used, sessions_used = (now() - past for now, past in zip(watched, before, strict=True))
        is_upstream = contender.name == UPSTREAM
        load_idle, load_stolen = core_times(settings.other_core).shares_since(cores[1])
        own_shares = load_idle, load_stolen
        if not is_upstream:
            own_shares = core_times(settings.core).shares_since(cores[0])
        return Sample(
            rate=result.rate,
            mib_per_second=result.received / result.seconds / 2**20,
            p50_ms=result.p50_ms,
            p99_ms=result.p99_ms,
            cpu=own / took,
            cpu_us=own / result.requests * 1e6,
            idle=own_shares[0],
            stolen=own_shares[1],
            wrk=wrk_used / took,
            upstream=upstream_used / took,
            sessions=sessions_used / took,
            load_idle=load_idle,
        )


def _any(scenario: Scenario, samples: Mapping[tuple[str, str], list[Sample]]) -> bool:
    return any((scenario.name, name) in samples for name in scenario.asks)


def _table(scenario: Scenario, field: Field, samples: Mapping[tuple[str, str], list[Sample]]) -> Table:
    rows = tuple(
        Row(name, field.contenders[name].label, tuple(samples[scenario.name, name]))
        for name in scenario.asks
        if (scenario.name, name) in samples
    )
    return Table(scenario.name, scenario.title, scenario.unit, rows)


def limits(tables: Sequence[Table]) -> tuple[str, ...]:
    """What limited whom, for those who were limited, and at the end who was disturbed."""
    lines, robbed, noisy = [], [], []
    for table in tables:
        for row in table.rows:
            usual, who, is_upstream = middle(row.samples), f"{table.scenario}, {row.label}", row.contender == UPSTREAM
            if reason := limit(usual, is_upstream=is_upstream):
                lines.append(f"{who}: {reason}")
            if part := taken(usual, is_upstream=is_upstream):
                robbed.append(f"{who} {part:.0%}")
            if count := disturbed(row.samples):
                noisy.append(f"{who} {count} of {len(row.samples)}")
    if robbed:
        lines.append(
            f"{DISTURBED}other programs, or the hypervisor, took part of the core, so that rates are too low and "
            f"ratios may be: {'; '.join(robbed)}"
        )
    if noisy:
        lines.append(f"rounds in which other programs took more of the core than in the rest: {'; '.join(noisy)}")
    return tuple(lines)


def judge(result: wrk.WrkResult, size: int) -> None:
    """Raise WrongAnswer unless all answers were right, as far as their count and mean size tell."""
    failure = result.failure()
    if failure:
        raise WrongAnswer(f"{failure} ({result.requests} answers)")
    # What was received of an answer when time was up counts in bytes, but not as an answer.
    unfinished = size * result.connections / result.requests
    allowed = size * _SIZE_TOLERANCE + _HEADER
    if not -allowed <= result.bytes_each - size <= allowed + unfinished:
        raise WrongAnswer(f"answers of {result.bytes_each:.0f} bytes on average, the right one has {size}")
