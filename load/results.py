"""The results of a run: what users measured, what the programs used, and the times of faults."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import cast

from load.sampler import Sample, Usage
from load.scenario import Scenario
from load.thresholds import DURING, OUTSIDE, Verdict, judge, parse
from load.windows import WAITS, Window, Windows, quantile

SETTLED = 0.5
_GROWING: Mapping[str, Callable[[Usage], int | None]] = {
    "growth": lambda usage: usage.memory,
    "descriptors": lambda usage: usage.descriptors,
    "tasks": lambda usage: usage.tasks,
}


@dataclass(frozen=True, slots=True)
class Results:
    """The results of a run.

    Args:
        scenario: the scenario as it ran.
        began: when the run began, in seconds since 1970.
        windows: what users measured.
        samples: what the programs used.
        users: moments and numbers of users.
        faults: name, begin and end of each fault, in seconds since 1970.
        failures: what of the schedule did not work.
        stopped: after how many seconds the run was stopped early; None: it was not.
    """

    scenario: Scenario
    began: float
    windows: Windows
    samples: Sequence[Sample]
    users: Sequence[tuple[float, int]] = ()
    faults: Sequence[tuple[str, float, float]] = ()
    failures: Sequence[str] = field(default=())
    stopped: float | None = None

    @property
    def passed(self) -> bool:
        """Whether the run reached its end, every threshold holds, and the whole schedule worked."""
        return self.stopped is None and not self.failures and all(verdict.holds for verdict in self.verdicts())

    def in_fault(self, at: float) -> bool:
        """Return whether a second overlaps a fault, or the recovery behind it."""
        return any(begin - 1 < at < end + self.scenario.settle for _, begin, end in self.faults)

    def _wanted(self, when: str) -> Callable[[int], bool]:
        if when == OUTSIDE:
            return lambda at: not self.in_fault(at)
        return self.in_fault if when == DURING else lambda at: True

    def select(self, operation: str, when: str) -> Window:
        """Return the sum of an operation."""
        return self.windows.select(operation, self._wanted(when))

    def quantile(self, operation: str, share: float, when: str) -> float | None:
        """Return a quantile of the durations of an operation, in seconds."""
        return quantile(self.select(operation, when).buckets, share)

    def count(self, operation: str, when: str) -> int:
        """Return the number of requests of an operation; of all for `*`."""
        return self.select(operation, when).count

    def seconds(self, when: str) -> float:
        """Return the length of the times that count."""
        first, last = self.windows.span
        wanted = self._wanted(when)
        return float(sum(1 for at in range(first, last + 1) if wanted(at)))

    def errors(self, kind: str, when: str) -> int:
        """Return the number of errors of a kind, of requests and of waits, which can time out."""
        return sum(_errors(self.select(name, when), kind) for name in ("*", *WAITS))

    def share(self, kind: str, when: str) -> float | None:
        """Return the share of the requests that had an error of a kind; None without requests."""
        requests = self.select("*", when)
        return _errors(requests, kind) / requests.count if requests.count else None

    def counter(self, name: str) -> int:
        """Return a counter of the users."""
        return self.windows.counters[name]

    def usages(self, process: str) -> list[Usage]:
        """Return what a program used; `gateway` is the sum over all gateways."""
        found = []
        for sample in self.samples:
            parts = [usage for name, usage in sample.usage.items() if name == process or name.startswith(f"{process}-")]
            if parts:
                found.append(_sum(parts))
        return found

    def process(self, name: str, process: str) -> float | None:
        """Return the highest CPU or memory of a program, or how much something grew."""
        usages = self.usages(process)
        if not usages:
            return None
        if name == "cpu":
            return max(usage.cpu for usage in usages)
        if name == "memory":
            return float(max(usage.memory for usage in usages))
        read = _GROWING[name]
        settled = usages[int(len(usages) * SETTLED) :]
        values = [float(value) for usage in settled if (value := read(usage)) is not None]
        return slope(values) * len(values) if values else None

    def verdicts(self) -> list[Verdict]:
        """Return each threshold with what was measured."""
        return [judge(parse(text), self) for text in self.scenario.thresholds]


def _errors(window: Window, kind: str) -> int:
    return window.errors.total() if kind == "any" else window.errors[kind]


def _sum(parts: Iterable[Usage]) -> Usage:
    cpu, memory, descriptors, tasks = 0.0, 0, 0, cast("int | None", None)
    for part in parts:
        cpu, memory, descriptors = cpu + part.cpu, memory + part.memory, descriptors + part.descriptors
        tasks = tasks if part.tasks is None else (tasks or 0) + part.tasks
    return Usage(cpu, memory, descriptors, tasks)


def slope(values: Sequence[float]) -> float:
    """Return the slope of a line through values that are one apart, by the least squares."""
    count = len(values)
    if count < 2:
        return 0.0
    middle, mean = (count - 1) / 2, sum(values) / count
    above = sum((place - middle) * (value - mean) for place, value in enumerate(values))
    return above / sum((place - middle) ** 2 for place in range(count))
