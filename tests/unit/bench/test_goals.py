"""Goals, comparisons, and results files."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.compare import Verdict, compare, judge
from bench.goals import GOALS
from bench.programs import BenchError
from bench.results import Results, load
from bench.scenarios import AUTH_REQUEST, EDGE, FLOOR, TRACED, SignedIn, scenarios
from bench.stats import Spread
from tests.unit.bench.made import latency, results, samples

ALL = {scenario.name: scenario for scenario in scenarios(SignedIn())}
LOW = [1.0, 1.05, 1.1, 1.15, 1.2]


def test_every_goal_names_a_scenario_and_contenders() -> None:
    for goal in GOALS:
        assert {goal.base, goal.contender} <= ALL[goal.scenario].requests.keys()


def measured(run: Results) -> dict[str, tuple[float, bool]]:
    """Return the goals that a run measured, each with its ratio and whether it is met."""
    return {str(goal): (ratio.median, goal.met(ratio)) for goal in GOALS if (ratio := goal.ratio(run))}


@pytest.mark.parametrize(("rate", "met"), [(1699, False), (1700, True)])
def test_goal_is_met_if_the_median_reaches_it(rate: float, met: bool) -> None:
    run = results(samples("status", {AUTH_REQUEST: [1000] * 3, EDGE: [rate, 1, 9000]}))
    assert measured(run) == {"status, to nginx + auth_request": (rate / 1000, met)}


@pytest.mark.parametrize(("p99", "met"), [(2.0, True), (2.1, False)])
def test_latency_goal_is_an_upper_bound(p99: float, met: bool) -> None:
    latencies = [latency("mix", AUTH_REQUEST, [2.0] * 3), latency("mix", EDGE, [p99] * 3)]
    assert measured(results(latencies=latencies)) == {"mix, p99 at half load, to nginx + auth_request": (p99 / 2, met)}


def test_tracing_may_cost_a_tenth() -> None:
    run = results(samples("mix", {EDGE: [1000], TRACED: [900]}))
    assert measured(run) == {"mix, noetl-edge, traced, to noetl-edge": (0.9, True)}


def test_goal_is_known_by_cpu_and_beside_what_the_floor_reaches() -> None:
    run = results(samples("me", {AUTH_REQUEST: [1000], FLOOR: [2000], EDGE: [1500]}))
    (goal,) = (goal for goal in GOALS if goal.scenario == "me")
    assert (goal.cpu_ratio(run), goal.floor_ratio(run)) == (Spread(1.5, 1.5, 1.5), Spread(2, 2, 2))


def test_goal_without_its_base_is_not_reported() -> None:
    assert measured(results(samples("status", {FLOOR: [1], EDGE: [1]}))) == {}


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (LOW, [1.5, 1.6, 1.7, 1.8, 1.9], Verdict.BETTER),
        ([1.5, 1.6, 1.7, 1.8, 1.9], LOW, Verdict.WORSE),
        (LOW, [1.19, 1.3, 1.4, 1.5, 1.6], Verdict.SAME),
        ([1.0] * 5, [1.02] * 5, Verdict.SAME),
    ],
)
def test_verdict_needs_ranges_that_do_not_touch(before: list[float], after: list[float], expected: Verdict) -> None:
    assert judge(Spread.of(before), Spread.of(after)) is expected


def a_run(edge: float, base: float = 1000, cpu: float = 0.99) -> Results:
    return results(samples("mix", {AUTH_REQUEST: [base] * 5, EDGE: [edge] * 5}, {EDGE: cpu}))


def test_faster_machine_is_no_better_gateway() -> None:
    (change,) = compare(a_run(2000), a_run(6000, base=3000))
    assert change.verdict is Verdict.SAME


def test_slower_gateway_is_worse() -> None:
    (change,) = compare(a_run(2000), a_run(1500))
    assert (change.verdict, change.after) == (Verdict.WORSE, Spread(1.5, 1.5, 1.5))


def test_difference_of_a_contender_without_its_whole_core_is_unknown() -> None:
    (change,) = compare(a_run(2000), a_run(1500, cpu=0.7))
    assert change.verdict is Verdict.DISTURBED


def test_verdict_needs_five_rounds() -> None:
    few = results(samples("mix", {AUTH_REQUEST: [1000] * 4, EDGE: [1500] * 4}))
    assert [change.verdict for change in compare(a_run(2000), few)] == [Verdict.TOO_FEW]


def test_scenario_of_one_run_only_is_left_out() -> None:
    assert compare(a_run(2000), results(samples("status", {AUTH_REQUEST: [1], EDGE: [1]}))) == []


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    made = results(samples("mix", {EDGE: [1, 2]}), latencies=[latency("mix", EDGE, [1.5])], failures=["x"])
    (tmp_path / "r.json").write_text(made.to_json())
    assert load(tmp_path / "r.json") == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a results file of this version"),
        ("{}", "not a results file of this version: Field required"),
        (results().to_json().replace('"schema_version": 4', '"schema_version": 3'), "version 3, this program reads 4"),
    ],
)
def test_other_files_are_refused(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "r.json").write_text(text)
    with pytest.raises(BenchError, match=said):
        load(tmp_path / "r.json")
    with pytest.raises(BenchError, match="No such file"):
        load(tmp_path / "other.json")
