"""What more workers bring: one worker on one core, and N workers on N cores, measured in turns.

Load and upstream have the remaining cores; if there are none, they share the workers' cores, and the measured ratio is
a lower bound. The ratio by CPU time is then the better one: N times what a request costs one worker by what it costs N.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import report, requests, wrk
from bench.contenders import testbed
from bench.programs import Program, say
from bench.scenarios import EDGE, scenarios
from bench.stats import Spread, ratios

GOAL = 1.7
SCENARIOS = ("mix", "validate")
_ROUNDS, _SECONDS, _CONNECTIONS_EACH = 5, 2, 64


@dataclass(frozen=True, slots=True)
class Side:
    """A gateway with its workers, the cores of its load, and what the rounds measured."""

    workers: int
    gateway: Program
    load: Sequence[int]
    rates: list[float]
    cpu_us: list[float]

    def measure(self, file: Path) -> None:
        """Measure a round. Raises BenchError."""
        before = self.gateway.cpu_seconds()
        threads = max(len(self.load) - 1, 1)
        connections = _CONNECTIONS_EACH * self.workers
        cores = listed(self.load)
        load = wrk.run(self.gateway, file, seconds=_SECONDS, connections=connections, cores=cores, threads=threads)
        self.rates.append(load.rate)
        self.cpu_us.append((self.gateway.cpu_seconds() - before) / load.requests * 1e6)
        say(f"{file.name:16} {self.workers} workers {load.rate:8.0f} req/s {self.cpu_us[-1]:6.0f} us CPU")


def listed(cores: Sequence[int]) -> str:
    """Return cores as taskset reads them."""
    return ",".join(map(str, cores))


def run(workers: int) -> str:
    """Measure each scenario and return the report. Raises BenchError."""
    cores = sorted(os.sched_getaffinity(0))
    own, rest = cores[:workers], cores[workers:]
    parts = []
    with testbed(listed(own[:1]), listed(rest or cores)) as running:
        gateways = {
            count: running.start_gateway(running.upstream, listed(own[:count]), {"server": {"workers": count}})
            for count in (1, workers)
        }
        running.sign_in(gateways[1])
        chosen = {each.name: each.requests[EDGE] for each in scenarios(running.who)}
        for name in SCENARIOS:
            file = requests.write(chosen[name], "127.0.0.1", running.folder / name)
            sides = [
                Side(count, gateway, rest or (cores[1:] or cores if count == 1 else cores), [], [])
                for count, gateway in gateways.items()
            ]
            for side in sides:
                requests.verify(chosen[name], side.gateway.url)
            for turn in range(_ROUNDS):
                for side in sides if turn % 2 else sides[::-1]:
                    side.measure(file)
            parts.append(table(name, *sides, shared=not rest))
    return "\n\n".join(parts)


def table(name: str, one: Side, many: Side, *, shared: bool) -> str:
    """Return the report of a scenario."""
    ratio = Spread.of(ratios(many.rates, one.rates))
    by_cpu = Spread.of([many.workers * each for each in ratios(one.cpu_us, many.cpu_us)])
    rows = [
        [f"{side.workers} workers", f"{Spread.of(side.rates).median:.0f}", f"{Spread.of(side.cpu_us).median:.0f}"]
        for side in (one, many)
    ]
    note = " (a lower bound: load and upstream share the workers' cores)" if shared else ""
    lines = [f"ratio {ratio}, goal >= {GOAL}: {report.met(ratio.median >= GOAL)}{note}", f"ratio by CPU time {by_cpu}"]
    return f"{name}\n\n{report.grid(['', 'req/s', 'CPU us/req'], rows)}\n\n{report.bullets(lines)}"
