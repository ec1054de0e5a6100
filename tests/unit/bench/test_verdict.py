"""What two runs tell, goals kept or not, and results as a file."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import verdict
from bench.goals import Load, findings
from bench.programs import BenchError
from bench.results import MIB, Results, Row, Table, load
from bench.scenarios import AUTH_REQUEST, AUTH_REQUEST_TUNED, EDGE, PLAIN
from bench.stats import Spread
from bench.verdict import Verdict
from tests.unit.bench.made import delay, results, sample, table

LOW = [1.0, 1.05, 1.1, 1.15, 1.2]


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        (LOW, [1.5, 1.6, 1.7, 1.8, 1.9], Verdict.BETTER),
        ([1.5, 1.6, 1.7, 1.8, 1.9], LOW, Verdict.WORSE),
        (LOW, [1.19, 1.3, 1.4, 1.5, 1.6], Verdict.SAME),
        (LOW, [0.8, 0.85, 0.9, 0.95, 1.01], Verdict.SAME),
        ([1.0] * 5, [1.02] * 5, Verdict.SAME),
        (LOW, [2.0, 2.1, 2.2, 2.3], Verdict.UNKNOWN),
        ([0.1], LOW, Verdict.UNKNOWN),
    ],
)
def test_a_verdict_needs_ranges_that_do_not_touch(before: list[float], after: list[float], expected: Verdict) -> None:
    assert verdict.judge(before, after) is expected


def relay(edge: float, base: float = 1000) -> Results:
    return results(table("relay", {AUTH_REQUEST: [base] * 5, EDGE: [edge, edge * 1.01, edge * 0.99, edge, edge]}))


def test_a_faster_machine_is_no_better_gateway() -> None:
    (found,) = verdict.compare(relay(2000), relay(6000, base=3000))
    assert found.verdict is Verdict.SAME


def test_a_slower_gateway_is_worse() -> None:
    (found,) = verdict.compare(relay(2000), relay(1500))
    assert (found.verdict, found.after) == (Verdict.WORSE, Spread(1.5, 1.485, 1.515))


@pytest.mark.parametrize(
    ("before", "after", "cpu_before", "cpu_after", "expected"),
    [
        (2000, 1500, (0.99, 0.99), (0.7, 0.99), "can't be told: in the second run noetl-edge had only 70% of its core"),
        (2000, 1500, (0.99, 0.7), (0.99, 0.99), "can't be told: in the first run nginx + auth_request had only 70% of"),
        (2000, 1500, (0.7, 0.99), (0.99, 0.7), "worse"),
        (1500, 2000, (0.7, 0.99), (0.99, 0.99), "can't be told: in the first run noetl-edge had only 70% of its core"),
        (
            1500,
            2000,
            (0.99, 0.99),
            (0.99, 0.7),
            "can't be told: in the second run nginx + auth_request had only 70% of",
        ),
        (1500, 2000, (0.99, 0.7), (0.7, 0.99), "better"),
    ],
)
def test_nothing_is_made_of_a_contender_that_was_kept_from_its_core(
    before: float, after: float, cpu_before: tuple[float, float], cpu_after: tuple[float, float], expected: str
) -> None:
    def run(rate: float, cpu: tuple[float, float]) -> Results:
        own = Row(EDGE, "", (sample(rate=rate, cpu=cpu[0]),) * 5)
        return results(Table("relay", "", "req/s", (own, Row(AUTH_REQUEST, "", (sample(cpu=cpu[1]),) * 5))))

    (found,) = verdict.compare(run(before, cpu_before), run(after, cpu_after))
    assert ": ".join(filter(None, (found.verdict.value, found.why))).startswith(expected)


def test_a_scenario_that_one_run_lacks_can_not_be_told() -> None:
    (found,) = verdict.compare(results(), relay(2000))
    assert (found.verdict, found.why) == (Verdict.UNKNOWN, "not in the first run, or without what it is held against")


def test_a_scenario_of_ours_alone_is_held_against_another_one_of_the_same_round() -> None:
    def run(login: float) -> Results:
        return results(
            table("relay", {AUTH_REQUEST: [100, 200, 300, 100, 100]}),
            table("login", {EDGE: [login, login * 2, login * 3, login, login]}),
        )

    assert [one.verdict for one in verdict.compare(run(10), run(5)) if one.scenario == "login"] == [Verdict.WORSE]


# Goals


@pytest.mark.parametrize(("edge", "met"), [(1600, True), (1500, True), (1400, False)])
def test_a_goal_is_kept_if_the_median_reaches_it(edge: float, met: bool) -> None:
    found = findings(results(table("relay", {AUTH_REQUEST: [1000], EDGE: [edge]})))
    assert [one.met for one in found] == [met]


def test_a_goal_is_told_on_the_tuned_baseline_too() -> None:
    rates = {AUTH_REQUEST: [1000], AUTH_REQUEST_TUNED: [4000], PLAIN: [8000], EDGE: [2000]}
    found = {one.goal.base[1]: one for one in findings(results(table("relay", rates)))}
    assert (found[AUTH_REQUEST].met, found[PLAIN].met) == (True, False)
    assert found[AUTH_REQUEST].tuned == Spread(0.5, 0.5, 0.5)


def test_large_answers_are_held_by_bytes() -> None:
    (found,) = findings(results(table("relay_large", {PLAIN: [500], EDGE: [250]}, MIB)))
    assert (found.ratio.median, found.met) == (0.5, False)


def test_half_load_is_half_of_our_peak_or_half_of_the_peak_of_each() -> None:
    run = results(
        table("relay", {AUTH_REQUEST: [800], EDGE: [2000]}),
        delays=[
            delay(EDGE, [3.0, 3.3]),
            delay(AUTH_REQUEST, [300.0, 330.0]),
            delay(AUTH_REQUEST, [1.0, 1.1], peak_of=AUTH_REQUEST, rate=400),
        ],
    )
    found = {one.goal.latency: one for one in findings(run) if one.goal.latency}
    assert found[Load.OURS].ratio.median == pytest.approx(0.01)
    assert (found[Load.OURS].met, found[Load.OURS].note) == (True, "more than it can do")
    assert found[Load.ITS_OWN].ratio.median == pytest.approx(3)
    assert (found[Load.ITS_OWN].met, found[Load.ITS_OWN].note) == (False, "")


# The file


def test_results_come_back_from_their_file(tmp_path: Path) -> None:
    made = results(table("relay", {EDGE: [1.5, 2.5]}), delays=[delay(EDGE, [3.0])], failures=("x",), limits=("y",))
    file = tmp_path / "run.json"
    file.write_text(made.to_json())
    assert load(file) == made


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{", "not a file of results"),
        ("{}", "not a file of results"),
        ('{"schema": 1}', "schema 1, this program reads"),
    ],
)
def test_another_file_is_refused(tmp_path: Path, text: str, said: str) -> None:
    file = tmp_path / "run.json"
    file.write_text(text)
    with pytest.raises(BenchError, match=said):
        load(file)
    with pytest.raises(BenchError, match="No such file"):
        load(tmp_path / "none.json")
