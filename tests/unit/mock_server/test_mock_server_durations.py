"""Durations: what is accepted, what is refused with which text, and what is drawn."""

from __future__ import annotations

import math
import statistics
from typing import Any

import pytest

from mock_server.durations import Duration, parse_duration, seconds
from mock_server.randomness import handle, random_source


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("200ms", Duration("fixed", 0.2)),
        (" 1.5 s", Duration("fixed", 1.5)),
        (3, Duration("fixed", 3.0)),
        ("2m", Duration("fixed", 120.0)),
        ({"uniform": ["50ms", "200ms"]}, Duration("uniform", 0.05, 0.2)),
        ({"normal": {"mean": "1s", "deviation": "100ms"}}, Duration("normal", 1.0, 0.1)),
        ({"lognormal": {"median": "50ms", "sigma": 0.5, "max": "5s"}}, Duration("lognormal", 0.05, 0.5, 5.0)),
        ({"exponential": {"mean": "100ms"}}, Duration("exponential", 0.1)),
    ],
)
def test_duration_is_parsed(value: Any, expected: Duration) -> None:
    assert parse_duration(value) == expected
    assert parse_duration(expected.data()) == expected


@pytest.mark.parametrize(
    "value",
    [
        "fast", -1, True, None, [], "2h ", "1e3", math.nan, {}, {"poisson": 1}, {"uniform": ["1s"]},
        {"uniform": ["2s", "1s"]}, {"normal": {"mean": "1s"}}, {"lognormal": {"median": 0, "sigma": 1}},
        {"lognormal": {"median": "1s", "sigma": -1}}, {"exponential": {"mean": "1s", "min": "1s"}},
        {"uniform": ["1s", "2s"], "normal": {}}, "2h",
    ],
)  # fmt: skip
def test_other_values_are_refused(value: Any) -> None:
    with pytest.raises(ValueError, match=r"duration|uniform|normal|sigma|exponential"):
        parse_duration(value)


@pytest.mark.parametrize("value", ["99999999999s", "1" * 400, 10**400, 1e300, math.inf, "61m", 3600.5, "1.00001h"])
def test_duration_over_the_limit_is_refused_with_the_limit(value: Any) -> None:
    with pytest.raises(ValueError, match="a duration is at most 3600 seconds"):
        seconds(value)


@pytest.mark.parametrize(("value", "expected"), [(1e-7, 1e-7), ("0.0000000000001s", 1e-13), ("3600.0000s", 3600.0)])
def test_number_with_many_digits_is_a_duration(value: Any, expected: float) -> None:
    assert seconds(value) == expected


@pytest.mark.parametrize(
    ("value", "median", "most"),
    [
        ({"uniform": ["100ms", "300ms"]}, 0.2, 0.3),
        ({"normal": {"mean": "200ms", "deviation": "50ms"}}, 0.2, math.inf),
        ({"lognormal": {"median": "200ms", "sigma": 1, "max": "1s"}}, 0.2, 1.0),
        ({"exponential": {"mean": "200ms", "max": "1s"}}, 0.2 * math.log(2), 1.0),
    ],
)
def test_draws_follow_the_distribution_and_stay_below_its_maximum(value: Any, median: float, most: float) -> None:
    source = random_source(7)
    drawn = [parse_duration(value).draw(source) for _ in range(4000)]
    assert statistics.median(drawn) == pytest.approx(median, rel=0.06)
    assert min(drawn) >= 0.0
    assert max(drawn) <= most


def test_seed_makes_draws_and_handles_identical_and_no_seed_does_not() -> None:
    def values(seed: int | None) -> list[Any]:
        source = random_source(seed)
        return [parse_duration({"uniform": [0, 1]}).draw(source), handle(source)]

    assert values(1) == values(1)
    assert values(1) != values(2)
    assert values(None) != values(None)
