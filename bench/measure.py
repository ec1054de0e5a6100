"""The rounds: each measures every contender of every scenario once, and starts one further than the round before.

Before the first measurement responses are verified, a second of load warms the contender up, and the requests that
arrive upstream are counted, so that a cache would be noticed. After each measurement nothing may have failed, and the
mean size of responses must be the verified one, since an error can come with status 200. A contender that fails is
measured no further and is in no table.
"""

from __future__ import annotations

import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from bench import requests, wrk
from bench.contenders import Testbed
from bench.programs import Program, WrongResponse, idle_seconds, say
from bench.requests import Request
from bench.results import Sample, Settings
from bench.scenarios import Scenario

T = TypeVar("T")
Samples = Mapping[str, Mapping[str, tuple[Sample, ...]]]
# The JIT of Node takes its time, and many sessions are read once each.
_WARM_SECONDS = {"graphql": 3, "sessions": 5}


@dataclass(frozen=True, slots=True, eq=False)
class Pair:
    """A scenario with one of its contenders, and the file with the requests for it."""

    scenario: Scenario
    contender: str
    program: Program
    file: Path

    @property
    def requests(self) -> Sequence[Request]:
        """What the contender receives."""
        return self.scenario.requests[self.contender]

    def __str__(self) -> str:
        return f"{self.scenario.name:16} {self.contender}"


def pairs_of(chosen: Sequence[Scenario], testbed: Testbed) -> list[Pair]:
    """Return every scenario with each of its running contenders, and write their requests."""
    pairs = []
    for scenario in chosen:
        for name, own in scenario.requests.items():
            if program := testbed.contenders.get(name):
                file = testbed.folder / f"{scenario.name}-{program.port}.requests"
                requests.write(own, f"127.0.0.1:{program.port}", file)
                pairs.append(Pair(scenario, name, program, file))
    return pairs


def rotated(things: Sequence[T], by: int) -> list[T]:
    """Return the same things in their order, started `by` later."""
    start = by % max(len(things), 1)
    return [*things[start:], *things[:start]]


class Rounds:
    """The measurement of pairs at saturation; `failures` are the reasons of those that failed."""

    def __init__(self, pairs: Sequence[Pair], upstream: Program, settings: Settings) -> None:
        self._pairs, self._upstream, self._settings = list(pairs), upstream, settings
        self._sizes: dict[Pair, float] = {}
        self._samples: dict[Pair, list[Sample]] = {}
        self.failures: dict[Pair, str] = {}

    @property
    def good(self) -> list[Pair]:
        """The pairs that have not failed."""
        return [pair for pair in self._pairs if pair not in self.failures]

    def run(self) -> Samples:
        """Measure all rounds. Raises BenchError if a program ends."""
        for turn in range(-1, self._settings.rounds):
            for pair in rotated(self._pairs, turn):
                if pair in self.failures:
                    continue
                try:
                    self._prepare(pair) if turn < 0 else self._measure(pair, turn)
                except WrongResponse as error:
                    self.failures[pair] = str(error)
                    say(f"failed: {pair}: {error}")
        samples: dict[str, dict[str, tuple[Sample, ...]]] = {}
        for pair in self.good:
            samples.setdefault(pair.scenario.name, {})[pair.contender] = tuple(self._samples[pair])
        return samples

    def _prepare(self, pair: Pair) -> None:
        self._sizes[pair] = requests.verify(pair.requests, pair.program.url)
        self._load(pair, _WARM_SECONDS.get(pair.scenario.name, 1))
        requests.verify_relaying(pair.requests, pair.program.url, pair.program.upstream or self._upstream)

    def _load(self, pair: Pair, seconds: int) -> wrk.Load:
        connections, cores = self._settings.connections, self._settings.other_core
        load = wrk.run(pair.program, pair.file, seconds=seconds, connections=connections, cores=cores)
        load.check(self._sizes[pair])
        return load

    def _measure(self, pair: Pair, turn: int) -> None:
        settings, program = self._settings, pair.program

        def counters() -> tuple[float, ...]:
            cores = idle_seconds(settings.core), idle_seconds(settings.other_core)
            helpers = sum(helper.cpu_seconds() for helper in program.helpers)
            return program.cpu_seconds(), helpers, *cores, time.perf_counter()

        before = counters()
        load = self._load(pair, settings.seconds)
        cpu, helpers, idle, load_idle, took = (now - past for now, past in zip(counters(), before, strict=True))
        shares = cpu / took, idle / took, load_idle / took
        sample = Sample(load.rate, cpu / load.requests * 1e6, *shares, helpers / load.requests * 1e6)
        self._samples.setdefault(pair, []).append(sample)
        say(f"round {turn + 1}/{settings.rounds}  {pair!s:48} {sample.rate:7.0f} req/s  {sample.cpu_us:5.0f} us CPU")
