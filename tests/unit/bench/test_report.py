"""Reports: tables, remarks and lists; the list of a profile; the command line; the gateway's configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bench import report
from bench.__main__ import main
from bench.compare import compare
from bench.contenders import configuration
from bench.profiling import most
from bench.scenarios import AUTH_REQUEST, EDGE, FLOOR, WORKERS
from tests.unit.bench.made import SATURATED, latency, results, samples

RUN = results(
    samples("mix", {AUTH_REQUEST: [1000, 1100], FLOOR: [2000, 2000], EDGE: [1500, 3300]}, {EDGE: 0.5}),
    latencies=[latency("mix", EDGE, [2.0, 3.0], unanswered=100, late=0.05)],
    failures=["status nginx: wrong"],
)


@pytest.mark.parametrize(
    "said",
    [
        "commit abc1234, nginx 1.22.1, processor A processor",
        "FAILED, and in no table:\n* status nginx: wrong",
        "mix: the mix of one user",
        "2.25 (1.50-3.00)",
        "* noetl-edge DISTURBED: others took 49% of its core",
        "10% without response, upper bound: the generator was late for 5%",
        ">= 1.7 (aim 2.2)  2.25 (1.50-3.00)",
        "5 interleaved rounds of 1 s, 32 connections",
    ],
)
def test_report_says(said: str) -> None:
    assert said in report.report(RUN)


def test_rates_have_ratios_by_rate_and_by_cpu() -> None:
    rows = report.rates(RUN.samples["mix"], report.MARKDOWN).splitlines()
    cells = [cell.strip() for cell in rows[4].split("|")]
    assert cells[1:6] == ["noetl-edge", "2400", "1500-3300", "242", "2.25 (1.50-3.00)"]
    assert len({row.count("|") for row in rows[:5]}) == 1


def test_cost_of_helpers_stands_apart() -> None:
    assert report.cost(SATURATED) == "900"
    assert report.cost(dataclasses.replace(SATURATED, helper_us=90)) == "900 + 90"


def test_comparison_has_both_ratios_and_the_verdict() -> None:
    line = report.comparison(compare(RUN, RUN)).splitlines()[2]
    assert line.split("  ")[0] == "mix"
    assert "unknown: fewer than 5 rounds" in line


def test_bullets_are_folded() -> None:
    assert report.bullets(["word " * 40]).count("\n  word") == 1


def test_profile_counts_a_function_once_and_leaves_the_idle_thread_out() -> None:
    raw = (
        "main (a.py:1);f (a.py:2);g (a.py:4) 2\nmain (a.py:1);g (a.py:5) 1\nmain (a.py:9);f (a.py:2) 1\n"
        "_worker (concurrent/futures/thread.py:81) 9\n"
    )
    lines = most(raw).splitlines()[2:]
    assert [line.split() for line in lines] == [["g", "(a.py)", "75.0%"], ["f", "(a.py)", "25.0%"]]


def test_variants_of_the_gateway_are_compared_with_the_gateway() -> None:
    table = report.rates(samples("workers", {EDGE: [1000], WORKERS: [1900]})["workers"])
    assert "to noetl-edge" in table.splitlines()[0]
    assert "1.90 (1.90-1.90)" in table.splitlines()[3]


@pytest.mark.parametrize("line", ["quick --rounds 0", "quick --only other", "--seconds x", "profile --only graphql"])
def test_command_line_refuses(line: str) -> None:
    done = CliRunner().invoke(main, line.split())
    assert (done.exit_code, "Error: " in done.output) == (2, True)


def test_commands_of_files_have_reports_and_exit_codes(tmp_path: Path) -> None:
    files = [tmp_path / "fast.json", tmp_path / "slow.json"]
    for file, rate in zip(files, (2000, 1500), strict=True):
        file.write_text(results(samples("mix", {AUTH_REQUEST: [1000] * 5, EDGE: [rate] * 5})).to_json())
    worse = CliRunner().invoke(main, ["compare", *map(str, files)])
    assert (worse.exit_code, "worse" in worse.output) == (1, True)
    assert CliRunner().invoke(main, ["compare", *map(str, files[::-1])]).exit_code == 0
    assert "| noetl-edge" in CliRunner().invoke(main, ["show", str(files[0]), "--markdown"]).output
    assert CliRunner().invoke(main, ["show", str(tmp_path / "none.json")]).exit_code == 1


def test_gateway_runs_with_the_shipped_rules_and_metrics() -> None:
    document = yaml.safe_load(configuration({"server": {"workers": 2}}))
    with open("gateway.yaml") as file:
        shipped = yaml.safe_load(file)
    assert document.pop("metrics") == {"enabled": True}
    assert document["server"].pop("workers") == 2
    assert document["upstreams"]["noetl"].pop("bridge") is False
    assert document == shipped
