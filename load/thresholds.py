"""Thresholds of a scenario: one line each, such as `p99(login) < 250ms` or `errors(5xx) == 0 outside faults`.

    p50 p75 p90 p95 p99 p999 max (operation)   durations of an operation; of all requests for `*`
    count(operation)  rate(operation)          how many, and how many each second
    errors(kind)                               5xx, 4xx, 429, connection, timeout, wrong, or any; also of waits
    share(kind)                                errors of that kind, as a share of all requests: `5%` or `0.05`
    lost_results  lost_sessions  attacks_succeeded  ...   counters of the users
    cpu(process)  memory(process)              the highest CPU, in cores, and the highest memory
    growth(process)  descriptors(process)  tasks(process)  how much memory, descriptors and tasks grew: the slope of a
                                               line through the second half of the run, times its length

`outside faults` leaves out the times of faults and of the recovery behind them; `during faults` is the opposite.
"""

from __future__ import annotations

import operator
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Protocol

_LINE = re.compile(
    r"(?P<name>[a-z][a-z0-9_]*)(?:\((?P<argument>[^()]*)\))?\s*(?P<operator><=|>=|==|<|>)\s*"
    r"(?P<number>\d+(?:\.\d+)?)\s*(?P<unit>ms|s|%|/s|MiB|)(?:\s+(?P<when>outside|during)\s+faults)?"
)
_UNITS = {"ms": 0.001, "s": 1.0, "%": 0.01, "/s": 1.0, "MiB": 1024.0 * 1024, "": 1.0}
_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt, "<=": operator.le, ">": operator.gt, ">=": operator.ge, "==": operator.eq,
}  # fmt: skip
DURATIONS = {"p50": 0.5, "p75": 0.75, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p999": 0.999, "max": 1.0}
KINDS = ("5xx", "4xx", "429", "connection", "timeout", "wrong", "any")
OF_OPERATIONS = frozenset({*DURATIONS, "count", "rate"})
OF_KINDS = frozenset({"errors", "share"})
OF_PROCESSES = frozenset({"cpu", "memory", "growth", "descriptors", "tasks"})
COUNTERS = frozenset({
    "lost_results", "duplicate_results", "lost_sessions", "ended_sessions_accepted", "attacks_succeeded", "results",
})  # fmt: skip
_COMPARED_WITH: Mapping[str, tuple[tuple[str, ...], str]] = {
    **dict.fromkeys(DURATIONS, (("ms", "s"), "a duration, such as 250ms")),
    **dict.fromkeys(("memory", "growth"), (("MiB",), "a size, such as 100MiB")),
    "rate": (("", "/s"), "a number each second, such as 100/s"),
    "share": (("", "%"), "a share of at most 100%, such as 5%"),
    "cpu": (("", "%"), "a number of cores, such as 1.5"),
}
_COUNT = (("",), "a number without a unit")
"""What has no entry above is compared with this."""
EVERYWHERE, OUTSIDE, DURING = "everywhere", "outside", "during"


class Measured(Protocol):
    """What thresholds are compared with."""

    def quantile(self, operation: str, share: float, when: str) -> float | None:
        """Return a quantile of the durations of an operation, in seconds."""

    def count(self, operation: str, when: str) -> int:
        """Return the number of requests of an operation; of all for `*`."""

    def seconds(self, when: str) -> float:
        """Return the length of the times that count."""

    def errors(self, kind: str, when: str) -> int:
        """Return the number of errors of a kind, of requests and of waits."""

    def share(self, kind: str, when: str) -> float | None:
        """Return the share of the requests that had an error of a kind; None without requests."""

    def counter(self, name: str) -> int:
        """Return a counter of the users."""

    def process(self, name: str, process: str) -> float | None:
        """Return the highest CPU or memory of a process, or a growth."""


@dataclass(frozen=True, slots=True)
class Threshold:
    """A threshold.

    Args:
        text: the line.
        name: what is measured.
        argument: the operation, the kind of errors, or the process.
        operator: the comparison.
        number: the limit, in seconds, bytes, or as a share.
        when: `everywhere`, `outside` or `during` faults.
    """

    text: str
    name: str
    argument: str
    operator: str
    number: float
    when: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """A threshold with what was measured; `value` is None if there was nothing to measure, which is a failure."""

    threshold: Threshold
    value: float | None
    holds: bool


def parse(text: str) -> Threshold:
    """Return a threshold. Raises ValueError, which says what is expected."""
    match = _LINE.fullmatch(text.strip())
    if match is None:
        raise ValueError(f"{text!r}: a threshold is like `p99(login) < 250ms` or `errors(5xx) == 0 outside faults`")
    name, argument, unit = match["name"], (match["argument"] or "").strip(), match["unit"]
    _check(text, name, argument)
    units, expected = _COMPARED_WITH.get(name, _COUNT)
    number = float(match["number"]) * _UNITS[unit]
    if unit not in units or (name == "share" and (number > 1 or (number == 1 and not unit))):
        raise ValueError(f"{text!r}: {name} is compared with {expected}")
    return Threshold(text.strip(), name, argument, match["operator"], number, match["when"] or EVERYWHERE)


def _check(text: str, name: str, argument: str) -> None:
    if name in OF_OPERATIONS and not argument:
        raise ValueError(f"{text!r}: {name} needs an operation, such as {name}(login), or {name}(*) for all")
    if name in OF_KINDS and argument not in KINDS:
        raise ValueError(f"{text!r}: {name} needs one of {', '.join(KINDS)}")
    if name in OF_PROCESSES and not argument:
        raise ValueError(f"{text!r}: {name} needs a process, such as {name}(gateway)")
    if name in COUNTERS and argument:
        raise ValueError(f"{text!r}: {name} has no argument")
    if name not in OF_OPERATIONS | OF_KINDS | OF_PROCESSES | COUNTERS:
        known = sorted(OF_OPERATIONS | OF_KINDS | OF_PROCESSES | COUNTERS)
        raise ValueError(f"{text!r}: {name} is unknown; there are {', '.join(known)}")


def judge(threshold: Threshold, measured: Measured) -> Verdict:
    """Compare a threshold with what was measured."""
    value = _value(threshold, measured)
    holds = value is not None and _COMPARE[threshold.operator](value, threshold.number)
    return Verdict(threshold, value, holds)


def _value(threshold: Threshold, measured: Measured) -> float | None:
    name, argument, when = threshold.name, threshold.argument, threshold.when
    if name in DURATIONS:
        return measured.quantile(argument, DURATIONS[name], when)
    if name == "count":
        return measured.count(argument, when)
    if name == "rate":
        return measured.count(argument, when) / seconds if (seconds := measured.seconds(when)) else None
    if name == "errors":
        return measured.errors(argument, when)
    if name == "share":
        return measured.share(argument, when)
    if name in COUNTERS:
        return measured.counter(name)
    return measured.process(name, argument)
