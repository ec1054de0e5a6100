"""Ratios within rounds, and what is said to have been the limit."""

from __future__ import annotations

import dataclasses

import pytest

from bench.measure import Pair, Sample, rotated
from bench.stats import Spread, disturbed, limit, middle, ratios

FULL = Sample(
    rate=1000, p50_ms=1, p90_ms=2, p99_ms=3, requests=3000, cpu=0.99, cpu_us=900, idle=0.01, stolen=0,
    wrk=0.2, upstream=0.2, sessions=0.1, load_idle=0.5,
)  # fmt: skip


def sample(**changes: float) -> Sample:
    return dataclasses.replace(FULL, **changes)  # type: ignore[arg-type]


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine was twice as fast in the second round; the ratio does not know.
    assert ratios([100, 200, 330], [200, 400, 600]) == Spread(0.5, 0.5, 0.55)


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_the_middle_is_the_median_of_each_field() -> None:
    found = middle([sample(rate=10, cpu=0.9), sample(rate=30, cpu=0.8), sample(rate=20, cpu=1.0)])
    assert (found.rate, found.cpu, found.p99_ms) == (20, 0.9, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"load_idle": 0.01}, "the other one was full too"),
        ({"cpu": 0.7, "idle": 0.25, "load_idle": 0.0}, "load generator and upstream were the limit"),
        ({"cpu": 0.7, "idle": 0.25}, "neither core was full"),
        ({"cpu": 0.6, "idle": 0.05}, "other programs took 35% of it"),
        ({"cpu": 0.6, "idle": 0.05, "stolen": 0.3}, "the hypervisor took 30% of it"),
    ],
)
def test_the_limit_is_named(changes: dict[str, float], said: str) -> None:
    found = limit(sample(**changes), is_upstream=False)
    assert said in found
    assert bool(said) == bool(found)


def test_a_round_in_which_the_contender_got_less_of_its_core_is_counted() -> None:
    assert disturbed([sample(cpu=0.99), sample(cpu=0.7), sample(cpu=0.98)]) == 1
    assert disturbed([sample(cpu=0.5), sample(cpu=0.49), sample(cpu=0.51)]) == 0


def test_the_upstream_itself_is_the_ceiling() -> None:
    assert "the ceiling" in limit(FULL, is_upstream=True)


def test_every_round_begins_with_another_pair() -> None:
    pairs: list[Pair] = ["a", "b", "c"]  # type: ignore[list-item]
    turns: list[list[object]] = [list(rotated(pairs, by)) for by in range(4)]
    assert turns == [list("abc"), list("bca"), list("cab"), list("abc")]
