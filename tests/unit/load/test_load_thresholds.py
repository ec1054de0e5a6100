"""Thresholds: what is accepted, what is refused with which text, and what is compared with which times."""

from __future__ import annotations

import pytest

from load.report import chart_data, operations
from load.results import Results, slope
from load.sampler import Sample, Usage
from load.scenario import Scenario
from load.thresholds import parse
from load.windows import Windows, bucket_of, quantile, seconds_of

MIB = 1024 * 1024


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("p99(login) < 250ms", ("p99", "login", "<", 0.25, "everywhere")),
        ("p95(graphql execute)<=1.5s outside faults", ("p95", "graphql execute", "<=", 1.5, "outside")),
        ("errors(5xx) == 0 during faults", ("errors", "5xx", "==", 0.0, "during")),
        ("share(any) < 1%", ("share", "any", "<", 0.01, "everywhere")),
        ("share(any) <= 100%", ("share", "any", "<=", 1.0, "everywhere")),
        ("share(any) < 0.01", ("share", "any", "<", 0.01, "everywhere")),
        ("rate(*) > 100/s", ("rate", "*", ">", 100.0, "everywhere")),
        ("lost_results == 0", ("lost_results", "", "==", 0.0, "everywhere")),
        ("growth(gateway) < 10MiB", ("growth", "gateway", "<", 10.0 * MIB, "everywhere")),
    ],
)
def test_threshold_is_parsed(text: str, expected: tuple[object, ...]) -> None:
    found = parse(text)
    assert (found.name, found.argument, found.operator, pytest.approx(found.number), found.when) == expected


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("fast enough", "a threshold is like"),
        ("p42(login) < 1s", "p42 is unknown"),
        ("p99 < 1s", "p99 needs an operation"),
        ("p99(login) < 250", "p99 is compared with a duration"),
        ("errors(5xx) < 1s", "errors is compared with a number without a unit"),
        ("errors(5xx) < 5%", "errors is compared with a number without a unit"),
        ("lost_results < 5MiB", "lost_results is compared with a number without a unit"),
        ("share(5xx) < 5", "share is compared with a share of at most 100%, such as 5%"),
        ("share(5xx) < 1", "share is compared with a share of at most 100%, such as 5%"),
        ("share(5xx) < 101%", "share is compared with a share of at most 100%, such as 5%"),
        ("memory(gateway) < 400", "memory is compared with a size, such as 100MiB"),
        ("growth(gateway) < 8%", "growth is compared with a size, such as 100MiB"),
        ("rate(*) > 1s", "rate is compared with a number each second"),
        ("errors(weird) == 0", "errors needs one of 5xx, 4xx"),
        ("lost_results(x) == 0", "lost_results has no argument"),
        ("cpu < 1", "cpu needs a process"),
        ("p99(login) < 250ms inside faults", "a threshold is like"),
    ],
)
def test_wrong_threshold_is_refused(text: str, problem: str) -> None:
    with pytest.raises(ValueError, match=problem.replace("(", r"\(")):
        parse(text)


def _results(*thresholds: str) -> Results:
    """A run of 100 s with a fault from 40 s to 50 s, in which requests failed and were slow, and 5 s of recovery."""
    fault = {"name": "f", "at": 40, "for": 10, "target": "noetl", "rule": {"fault": "empty"}}
    scenario = Scenario.model_validate({
        "name": "t", "description": "", "duration": 100, "settle": 5, "faults": [fault], "thresholds": thresholds,
    })  # fmt: skip
    windows = Windows()
    for second in range(100):
        for _ in range(10):
            windows.add(1000 + second, "login", 0.05)
        if 40 <= second < 54:
            windows.add(1000 + second, "login", 2.0, "5xx")
    windows.counters["results"] = 7
    samples = [
        Sample(
            1000.0 + n, {"gateway-1": Usage(0.5, 100 * MIB + n * MIB, 50, 5), "gateway-2": Usage(0.25, MIB, 5, None)}
        )
        for n in range(100)
    ]
    return Results(scenario, 1000.0, windows, samples, faults=[("f", 1040.0, 1050.0)])


@pytest.mark.parametrize(
    ("text", "holds", "value"),
    [
        ("p99(login) < 100ms", False, 2.0),
        ("p99(login) < 100ms outside faults", True, 0.05),
        ("p50(login) < 100ms during faults", True, 0.05),
        ("max(login) < 1s during faults", False, 2.0),
        ("errors(5xx) == 0", False, 14),
        ("errors(5xx) == 0 outside faults", True, 0),
        ("errors(429) == 0", True, 0),
        ("errors(any) < 15", True, 14),
        ("share(5xx) < 1%", False, 14 / 1014),
        ("count(login) == 1014", True, 1014),
        ("count(logout) == 0", True, 0),
        ("rate(login) > 10/s", True, 10.14),
        ("p99(logout) < 1s", False, None),
        ("results >= 7", True, 7),
        ("lost_results == 0", True, 0),
        ("cpu(gateway) < 1", True, 0.75),
        ("memory(gateway-1) < 150MiB", False, 199 * MIB),
        ("growth(gateway) < 10MiB", False, 50 * MIB),
        ("growth(gateway-2) < 10MiB", True, 0),
        ("descriptors(gateway) < 5", True, 0),
        ("tasks(gateway) < 5", True, 0),
        ("cpu(redis) < 1", False, None),
    ],
)
def test_threshold_is_judged(text: str, holds: bool, value: float | None) -> None:
    verdict = _results(text).verdicts()[0]
    assert verdict.holds is holds
    assert verdict.value == (None if value is None else pytest.approx(value, rel=0.06))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("count(*) == 100", 100),
        ("rate(*) > 0/s", 10),
        ("max(*) < 1s", 0.05),
        ("share(any) < 1%", 0.01),
        ("share(timeout) < 1%", 0.0),
        ("errors(any) == 0", 3),
        ("errors(timeout) == 0", 2),
        ("errors(5xx) == 0", 1),
        ("count(result by polling) == 4", 4),
        ("max(result by polling) < 90s", 60.0),
    ],
)
def test_waits_are_no_requests_and_errors_if_they_time_out(text: str, value: float) -> None:
    scenario = Scenario.model_validate({"name": "t", "description": "", "thresholds": [text]})
    windows = Windows()
    for number in range(100):
        windows.add(1000 + number // 10, "graphql execute", 0.05, "5xx" if number == 7 else "")
    for error in ("", "", "timeout", "timeout"):
        windows.add(1005, "result by polling", 60.0, error)
    found = Results(scenario, 1000.0, windows, [])
    assert found.verdicts()[0].value == pytest.approx(value, rel=0.06)
    rows = {row["name"]: (row["count"], row["errors"], row["wait"]) for row in operations(found)}
    assert rows == {"graphql execute": (100, 1, False), "all": (100, 1, False), "result by polling": (4, 2, True)}
    throughput = next(chart for chart in chart_data(found)["charts"] if chart["title"] == "Throughput")
    assert [sum(series["values"]) for series in throughput["series"]] == [100, 1]


def test_buckets_are_right_within_five_percent_and_add_up() -> None:
    for seconds in (0.00011, 0.003, 0.25, 1.0, 59.0):
        assert seconds <= seconds_of(bucket_of(seconds)) <= seconds * 1.05
    one, other = Windows(), Windows()
    for number in range(1, 101):
        (one if number % 2 else other).add(5, "a", number / 100)
    other.add(6, "b", 1.0, "5xx")
    one.counters["results"] += 1
    total = Windows()
    total.merge(one.take())
    total.merge(other.take())
    assert total.counters == {"results": 1}
    assert one.windows == {}
    assert quantile(total.select("a", lambda at: True).buckets, 0.99) == pytest.approx(0.99, rel=0.05)
    assert total.select("*", lambda at: at == 6).errors == {"5xx": 1}
    assert total.span == (5, 6)
    assert quantile(total.select("c", lambda at: True).buckets, 0.5) is None


def test_slope_ignores_the_level_and_follows_the_trend() -> None:
    assert slope([5.0] * 10) == 0.0
    assert slope([2.0 * n + 7 for n in range(20)]) == pytest.approx(2.0)
    assert slope([1.0]) == 0.0
