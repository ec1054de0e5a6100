"""Ratios within rounds, and what is said to have been the limit."""

from __future__ import annotations

import pytest

from bench.measure import limits, rotated
from bench.results import Row, Table
from bench.scenarios import AUTH_REQUEST, EDGE, UPSTREAM
from bench.stats import Spread, disturbed, limit, middle, ratios, taken
from tests.unit.bench.made import FULL, sample, table


def test_a_ratio_is_taken_within_each_round() -> None:
    # The machine was twice as fast in the second round; the ratio does not know.
    assert ratios([100, 200, 330], [200, 400, 600]) == pytest.approx([0.5, 0.5, 0.55])


def test_rounds_that_do_not_match_are_refused() -> None:
    with pytest.raises(ValueError, match="shorter"):
        ratios([1, 2], [1])


def test_a_spread_is_the_median_with_the_extremes() -> None:
    assert Spread.of([5, 1, 2]) == Spread(2, 1, 5)
    assert Spread.of([7]) == Spread(7, 7, 7)


def test_the_middle_is_the_median_of_each_field() -> None:
    found = middle([sample(rate=10, cpu=0.9), sample(rate=30, cpu=0.8), sample(rate=20, cpu=1.0)])
    assert (found.rate, found.cpu, found.p99_ms) == (20, 0.9, 3)


@pytest.mark.parametrize(
    ("changes", "said"),
    [
        ({}, ""),
        ({"load_idle": 0.01}, "the other one was full too"),
        (
            {"cpu": 0.7, "idle": 0.25, "load_idle": 0.0, "wrk": 0.6},
            "load generator and upstream were the limit (wrk 60%, upstream 20%, session service 10%, other",
        ),
        ({"cpu": 0.7, "idle": 0.25, "load_idle": 0.0, "wrk": 0.1}, "other programs on their core were the limit"),
        ({"cpu": 0.7, "idle": 0.25}, "neither core was full"),
    ],
)
def test_the_limit_is_named(changes: dict[str, float], said: str) -> None:
    found = limit(sample(**changes), is_upstream=False)
    assert said in found
    assert bool(said) == bool(found)


@pytest.mark.parametrize(
    ("changes", "part"),
    [
        ({}, 0),
        ({"cpu": 0.6, "idle": 0.05}, 0.35),
        ({"cpu": 0.6, "idle": 0.05, "stolen": 0.3}, 0.3),
        ({"cpu": 0.6, "idle": 0.3}, 0),
    ],
)
def test_what_others_took_of_the_core_is_told_apart_from_the_limits(changes: dict[str, float], part: float) -> None:
    assert taken(sample(**changes), is_upstream=False) == pytest.approx(part)
    assert taken(sample(**changes), is_upstream=True) == 0
    if part:
        assert limit(sample(**changes), is_upstream=False) == ""


def test_who_was_robbed_of_the_core_is_told_in_one_line() -> None:
    robbed = Row(EDGE, "noetl-edge", (sample(cpu=0.6, idle=0.05),))
    found = limits([Table("relay", "", "req/s", (robbed,)), Table("login", "", "req/s", (robbed,))])
    assert len(found) == 1
    assert found[0].startswith("DISTURBED")
    assert found[0].endswith("may be: relay, noetl-edge 35%; login, noetl-edge 35%")


def test_the_upstream_itself_is_the_ceiling() -> None:
    assert "the ceiling" in limit(FULL, is_upstream=True)


def test_only_those_who_were_limited_are_told_of() -> None:
    found = limits([table("relay", {UPSTREAM: [9], AUTH_REQUEST: [1], EDGE: [2]})])
    assert len(found) == 1
    assert found[0].startswith("relay, upstream direct: shares its core")


def test_a_round_in_which_the_contender_got_less_of_its_core_is_counted() -> None:
    assert disturbed([sample(cpu=0.99), sample(cpu=0.7), sample(cpu=0.98)]) == 1
    assert disturbed([sample(cpu=0.5), sample(cpu=0.49), sample(cpu=0.51)]) == 0


def test_every_round_begins_with_another_pair() -> None:
    assert ["".join(rotated("abc", by)) for by in range(4)] == ["abc", "bca", "cab", "abc"]
    assert rotated([], 2) == []
