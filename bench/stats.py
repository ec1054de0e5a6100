"""Medians, spreads and ratios over rounds, and what limited a contender. Pure.

Ratios are computed within a round and only then summarized: what disturbs a round disturbs both sides of its ratio.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from bench.results import Sample

BUSY, FULL = 0.9, 0.05


@dataclass(frozen=True, slots=True)
class Spread:
    """A median with the least and the greatest value."""

    median: float
    low: float
    high: float

    @classmethod
    def of(cls, values: Sequence[float]) -> Spread:
        """Return the spread of one or more values."""
        return cls(median(values), min(values), max(values))

    @classmethod
    def of_ratios(cls, values: Sequence[float], base: Sequence[float]) -> Spread | None:
        """Return the spread of the ratios of each round; None if one side was not measured, or not as often."""
        ratios = [value / other for value, other in zip(values, base, strict=False)]
        return cls.of(ratios) if ratios and len(values) == len(base) else None

    def __str__(self) -> str:
        return f"{self.median:.2f} ({self.low:.2f}-{self.high:.2f})"


def by_cpu(samples: Sequence[Sample], base: Sequence[Sample]) -> Spread | None:
    """Return the ratio of requests per CPU second, which other programs on the machine disturb less than rates."""
    return Spread.of_ratios([each.cpu_us for each in base], [each.cpu_us for each in samples])


def middle(samples: Sequence[Sample]) -> Sample:
    """Return a sample in which every field is the median of that field."""
    names = Sample.__dataclass_fields__
    return Sample(**{name: median(getattr(sample, name) for sample in samples) for name in names})


def remark(sample: Sample) -> str:
    """Return why the rate may be too low; empty if the contender had its whole core, and load was available."""
    if sample.cpu >= BUSY:
        return ""
    taken = 1 - sample.cpu - sample.idle
    if taken > max(1 - BUSY, sample.idle):
        return f"DISTURBED: others took {taken:.0%} of its core"
    if sample.load_idle < FULL:
        return f"used {sample.cpu:.0%} of its core: the core of load and upstream was full"
    return f"used {sample.cpu:.0%} of its core: not saturated (others on the machine, or too few connections)"
