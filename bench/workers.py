"""What more workers on more cores bring: one worker on one core, and N on N cores, measured in turns.

Where the machine has more cores than N, load and upstream have the rest. Where it has not, they share the workers'
cores: they then take from N workers what they do not take from one, and the measured ratio is a lower bound.
"""

from __future__ import annotations

import os
import time
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench import wrk
from bench.asks import Ask
from bench.cores import core_times
from bench.measure import judge
from bench.programs import Program, cpu_seconds, find
from bench.report import bullets, columns
from bench.run import programs, say
from bench.scenarios import EDGE, Credentials, scenarios
from bench.stats import Spread, ratios
from bench.tables import ratio_text

GOAL = 1.7
SCENARIOS = ("relay", "executionStatus", "validate")
_ROUNDS, _SECONDS = 5, 2
_CONNECTIONS_EACH = 64
_SIGHTINGS = 16
_BUSY = 0.9


@dataclass(frozen=True, slots=True)
class Layout:
    """The cores of one worker, of N workers, and of load and upstream in either case."""

    one: tuple[int, ...]
    many: tuple[int, ...]
    load_beside_one: tuple[int, ...]
    load_beside_many: tuple[int, ...]

    @property
    def apart(self) -> bool:
        """Whether N workers have their cores to themselves."""
        return not set(self.many) & set(self.load_beside_many)


@dataclass(frozen=True, slots=True)
class Turn:
    """One measurement. CPU in seconds per second: of each busy process of the gateway, of wrk, of the upstream;
    `idle` is what nobody used of the cores that load and upstream may use."""

    rate: float
    workers: tuple[float, ...]
    wrk: float
    upstream: float
    idle: float

    @property
    def cpu_us(self) -> float:
        """What a request costs the gateway, in microseconds."""
        return sum(self.workers) / self.rate * 1e6


@dataclass(frozen=True, slots=True)
class Side:
    """A gateway with its workers, and what loads it."""

    workers: int
    gateway: Program
    upstream: Program
    credentials: Credentials
    load: tuple[int, ...]


def layout(cores: Sequence[int], workers: int) -> Layout:
    """Who has which of the cores; load and upstream get those that are left, or all if none are."""
    many = tuple(cores[:workers])
    rest = tuple(cores[workers:])
    return Layout(many[:1], many, rest or tuple(cores[1:]) or many, rest or tuple(cores))


def run(workers: int) -> str:
    """Measure each scenario. Raises BenchError or Missing."""
    nginx, wrk_path = find("nginx", "nginx-light"), find("wrk", "wrk")
    plan = layout(sorted(os.sched_getaffinity(0)), workers)
    with programs(_listed(plan.one), _listed(plan.load_beside_one)) as field:
        sides = []
        for count, cores, load in (1, plan.one, plan.load_beside_one), (workers, plan.many, plan.load_beside_many):
            upstream = field.start_upstream(nginx, _listed(load))
            gateway, credentials = field.gateway(upstream, _listed(cores), {"workers": str(count)})
            sides.append(Side(count, gateway, upstream, credentials, load))
        parts = [_scenario(name, sides, wrk_path, plan) for name in SCENARIOS]
    return "\n\n".join([*parts, bullets(how(plan, workers))])


def _listed(cores: Sequence[int]) -> str:
    return ",".join(map(str, cores))


def _scenario(name: str, sides: Sequence[Side], wrk_path: str, plan: Layout) -> str:
    asks = [_ask(name, side.credentials) for side in sides]
    sizes = []
    for side, ask in zip(sides, asks, strict=True):
        # Each time on a new connection, so that the session is shown to every worker.
        sizes += [[ask.verify(side.gateway.url) for _ in range(_SIGHTINGS)][-1]]
    turns: list[list[Turn]] = [[], []]
    for number in range(_ROUNDS):
        for index in (0, 1) if number % 2 else (1, 0):
            turn = _turn(sides[index], asks[index], sizes[index], wrk_path)
            turns[index].append(turn)
            say(f"round {number + 1}/{_ROUNDS}  {name:16}{sides[index].workers} workers  {turn.rate:9.0f} req/s")
    return report(name, [side.workers for side in sides], turns, plan)


def _ask(name: str, who: Credentials) -> Ask:
    return next(one for one in scenarios(who) if one.name == name).asks[EDGE]


def _turn(side: Side, ask: Ask, size: int, wrk_path: str) -> Turn:
    shot = wrk.Shot(side.gateway.url + ask.path, ask.method, ask.headers, ask.body)
    pids = side.gateway.pids()
    own, others = [cpu_seconds(pid) for pid in pids], side.upstream.cpu_seconds()
    cores, begun = [core_times(core) for core in side.load], time.perf_counter()
    result, used = wrk.run(
        wrk_path,
        shot,
        seconds=_SECONDS,
        connections=_CONNECTIONS_EACH * side.workers,
        cores=_listed(side.load),
        threads=max(len(side.load) - 1, 1),
    )
    took = time.perf_counter() - begun
    side.gateway.check()
    busy = tuple((cpu_seconds(pid) - before) / took for pid, before in zip(pids, own, strict=True))
    upstream = (side.upstream.cpu_seconds() - others) / took
    idle = sum(core_times(core).shares_since(before)[0] for core, before in zip(side.load, cores, strict=True))
    side.gateway.trim()
    judge(result, size)
    return Turn(result.rate, tuple(share for share in busy if share > 0.05), used / took, upstream, idle)


def report(name: str, workers: Sequence[int], turns: Sequence[Sequence[Turn]], plan: Layout) -> str:
    """One scenario: rates, who had how much CPU, the ratio, and what to make of it."""
    rows = [[name, "req/s", "(min-max)", "CPU of the workers", "us/req", "wrk", "upstream", "idle for load"]]
    for count, side in zip(workers, turns, strict=True):
        rates = Spread.of([turn.rate for turn in side])
        middle = sorted(side, key=lambda turn: turn.rate)[len(side) // 2]
        rows.append([
            f"{count} worker{'s' if count > 1 else ''}", f"{rates.median:.0f}", f"{rates.low:.0f}-{rates.high:.0f}",
            " + ".join(f"{share:.0%}" for share in middle.workers), f"{median(t.cpu_us for t in side):.0f}",
            f"{middle.wrk:.0%}", f"{middle.upstream:.0%}", f"{middle.idle:.0%}",
        ])  # fmt: skip
    return f"{columns(rows)}\n{bullets(verdict(workers[1], turns, plan))}"


def verdict(workers: int, turns: Sequence[Sequence[Turn]], plan: Layout) -> list[str]:
    """The ratio against the promise, whether load or upstream was the limit, and what the CPU per request says."""
    one, many = turns
    ratio = Spread.of(ratios([turn.rate for turn in many], [turn.rate for turn in one]))
    cost = Spread.of(ratios([turn.cpu_us for turn in one], [turn.cpu_us for turn in many]))
    scaled = Spread(*(workers * value for value in (cost.median, cost.low, cost.high)))
    kept = "met" if ratio.median >= GOAL else "not met"
    return [
        f"{ratio_text(ratio)} times one worker; goal >= {GOAL}: {kept}{'' if plan.apart else ' (a lower bound)'}",
        *limits(one, many, plan),
        f"by the CPU that a request costs, {workers} workers with {workers} cores to themselves would serve "
        f"{ratio_text(scaled)} times as many",
    ]


def limits(one: Sequence[Turn], many: Sequence[Turn], plan: Layout) -> list[str]:
    """What was the limit on either side: workers that fill their cores were not kept waiting by anyone."""
    said = []
    alone, together = (median(sum(turn.workers) for turn in side) for side in (one, many))
    taken = median(turn.wrk + turn.upstream for turn in many)
    count = len(plan.many)
    if alone < _BUSY:
        said.append(f"the one worker used only {alone:.0%} of its core: {_blame(one)}, and the ratio is too high")
    if together >= _BUSY * count:
        said.append(f"the {count} workers filled their cores: neither load nor upstream was the limit")
    elif not plan.apart and together + taken >= _BUSY * count:
        said.append(
            f"workers, load and upstream filled the {count} cores together, of which load and upstream took "
            f"{taken:.0%} of one: without them there would be more"
        )
    else:
        said.append(
            f"the {count} workers used {together:.0%} of {count} cores: {_blame(many)}, and the ratio is too low"
        )
    return said


def _blame(side: Sequence[Turn]) -> str:
    """Who kept workers from their cores."""
    middle = sorted(side, key=lambda turn: turn.idle)[len(side) // 2]
    if middle.idle > 1 - _BUSY:
        return "more connections may show more"
    known = max(middle.wrk, middle.upstream)
    return "load or upstream was the limit" if known >= _BUSY else "other programs had the cores"


def how(plan: Layout, workers: int) -> list[str]:
    """How it was measured."""
    one, many = f"one worker on core {_listed(plan.one)}", f"{workers} on cores {_listed(plan.many)}"
    beside = f"load and upstream on {_listed(plan.load_beside_one)} beside one, {_listed(plan.load_beside_many)} beside"
    return [
        f"{one}, {many}; {beside} {workers}; {_ROUNDS} rounds of {_SECONDS} s in turns, ratios within a round",
        f"{_CONNECTIONS_EACH} connections for each worker; each gateway has one session, made by one login, and "
        f"accepted it on all of {_SIGHTINGS} new connections",
        "validate asks no upstream, and executionStatus costs the gateway far more than it costs load and upstream: "
        "on a machine with few cores these two tell more than relay",
    ]
