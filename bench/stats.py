"""Medians, spreads and ratios over rounds, and what was the limit. Pure.

Ratios are taken within a round and only then summed up: what disturbs a round disturbs both sides of its ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.results import Sample

BUSY = 0.90
FULL = 0.05


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """The spread of one or more values."""
        return cls(median(values), min(values), max(values))


def ratios(values: Sequence[float], base: Sequence[float]) -> list[float]:
    """`values` by `base`, round by round. Raises ValueError if the rounds differ in number."""
    return [value / other for value, other in zip(values, base, strict=True)]


def middle(samples: Sequence[Sample]) -> Sample:
    """A sample whose every field is the median of that field."""
    names = Sample.__dataclass_fields__
    return Sample(**{name: median([getattr(sample, name) for sample in samples]) for name in names})


def disturbed(samples: Sequence[Sample]) -> int:
    """In how many rounds something took from a contender what it had of its core in the others."""
    usual = middle(samples).cpu
    return sum(sample.cpu < BUSY * usual for sample in samples)


def taken(sample: Sample, *, is_upstream: bool) -> float:
    """The part of the contender's core that other programs, or the hypervisor, took, if that is what kept it busy."""
    if is_upstream or sample.cpu >= BUSY:
        return 0.0
    found = max(1 - sample.cpu - sample.idle - sample.stolen, sample.stolen)
    return found if found > sample.idle else 0.0


def limit(sample: Sample, *, is_upstream: bool) -> str:
    """What of this set-up kept the contender from using its core; empty if nothing did."""
    known = sample.wrk + sample.upstream + sample.sessions
    foreign = max(1 - sample.load_idle - known, 0)
    others = (
        f"wrk {sample.wrk:.0%}, upstream {sample.upstream:.0%}, session service {sample.sessions:.0%}, "
        f"other programs {foreign:.0%}"
    )
    if is_upstream:
        return f"shares its core with the load generator ({others}): this is the ceiling of the set-up"
    if taken(sample, is_upstream=is_upstream):
        return ""
    if sample.cpu >= BUSY:
        full = f"filled its core, but the other one was full too ({others}): it may do more than it shows"
        return full if sample.load_idle < FULL else ""
    text = f"used {sample.cpu:.0%} of its core"
    if sample.load_idle < 1 - BUSY:
        who = "other programs on their core" if foreign > known else "load generator and upstream"
        return f"{text}: {who} were the limit ({others}); it can do more than it shows"
    return f"{text} while neither core was full: more --connections may show more ({others})"
