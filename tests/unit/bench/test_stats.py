"""Medians, ratios, and remarks on what limited a contender; rounds."""

from __future__ import annotations

import dataclasses

import pytest

from bench.measure import rotated
from bench.stats import Spread, by_cpu, middle, remark
from tests.unit.bench.made import SATURATED


def test_ratio_is_computed_within_each_round() -> None:
    assert Spread.of_ratios([2, 30], [1, 10]) == Spread(2.5, 2, 3)


@pytest.mark.parametrize(("values", "base"), [([], []), ([2], [1, 10]), ([2], [])])
def test_sides_with_different_rounds_have_no_ratio(values: list[float], base: list[float]) -> None:
    assert Spread.of_ratios(values, base) is None


def test_spread_is_the_median_with_the_extremes() -> None:
    assert Spread.of([3, 1, 10]) == Spread(3, 1, 10)
    assert str(Spread.of([0.5, 1, 2])) == "1.00 (0.50-2.00)"


def test_middle_is_the_median_of_each_field() -> None:
    samples = [dataclasses.replace(SATURATED, rate=rate, cpu_us=cost) for rate, cost in ((1, 30), (2, 10), (9, 20))]
    assert middle(samples) == dataclasses.replace(SATURATED, rate=2, cpu_us=20)


def test_ratio_by_cpu_does_not_depend_on_rates() -> None:
    cheap, dear = (dataclasses.replace(SATURATED, cpu_us=cost, rate=cost) for cost in (100, 400))
    assert by_cpu([cheap], [dear]) == Spread(4, 4, 4)


@pytest.mark.parametrize(
    ("cpu", "idle", "load_idle", "said"),
    [
        (0.95, 0.01, 0.0, ""),
        (0.5, 0.1, 0.5, "DISTURBED: others took 40% of its core"),
        (0.6, 0.35, 0.01, "used 60% of its core: the core of load and upstream was full"),
        (
            0.6,
            0.35,
            0.4,
            "used 60% of its core: not saturated (others on the machine, or too few connections)",
        ),
    ],
)
def test_remark_names_what_limited_a_contender(cpu: float, idle: float, load_idle: float, said: str) -> None:
    assert remark(dataclasses.replace(SATURATED, cpu=cpu, idle=idle, load_idle=load_idle)) == said


def test_each_round_starts_one_pair_later() -> None:
    assert [rotated("abc", by) for by in range(4)] == [list("abc"), list("bca"), list("cab"), list("abc")]
    assert rotated([], 3) == []
