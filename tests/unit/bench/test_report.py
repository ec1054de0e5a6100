"""Reports: tables, remarks and lists; the list of a profile; the command line; the gateway's configuration."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import pytest
import yaml
from click.testing import CliRunner

from bench import idle, report, workers
from bench.__main__ import main
from bench.compare import compare
from bench.contenders import configuration
from bench.profiling import most
from bench.programs import Program
from bench.scenarios import AUTH_REQUEST, EDGE, FLOOR
from tests.unit.bench.made import SATURATED, latency, results, table

RUN = results(
    table("mix", {AUTH_REQUEST: [1000, 1100], FLOOR: [2000, 2000], EDGE: [1500, 3300]}, {EDGE: 0.5}),
    latencies=[latency("mix", EDGE, [2.0, 3.0], unanswered=100, late=0.05)],
    failures=["status nginx: wrong"],
)


@pytest.mark.parametrize(
    "said",
    [
        "commit abc1234, nginx 1.22.1, processor A processor",
        "FAILED, and in no table:\n* status nginx: wrong",
        "mix: the title of mix",
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
    rows = report.rates(RUN.tables[0], report.MARKDOWN).splitlines()
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


def test_profile_counts_functions_once_per_stack_and_leaves_the_idle_thread_out() -> None:
    raw = (
        "main (a.py:1);f (a.py:2);f (a.py:3);g (a.py:4) 3\nmain (a.py:9);f (a.py:2) 1\n"
        "_worker (concurrent/futures/thread.py:81) 9\n"
    )
    own, total = (table.splitlines()[2:] for table in most(raw).split("\n\n"))
    assert [line.split() for line in own] == [["g", "(a.py)", "75.0%"], ["f", "(a.py)", "25.0%"]]
    assert [line.split()[-1] for line in total] == ["100.0%", "100.0%", "75.0%"]


def test_idle_connections_have_a_price_each() -> None:
    calm, slow = latency("without", EDGE, [1.0]), latency("beside", EDGE, [2.0])
    text = idle.table(100, 10 * 2**20, 10 * 2**20 + 100 * 5 * 1024, [calm, slow, calm])
    assert "5.00 KiB each; goal < 12 KiB: met" in text.replace("\n  ", " ")
    assert "HARMED" in text


def test_workers_are_compared_by_rate_and_by_cpu() -> None:
    program = Program("x", (), 1, Path("x"), 0)
    one = workers.Side(1, program, (0,), [1000.0], [900.0])
    many = workers.Side(2, program, (0,), [1500.0], [1000.0])
    text = workers.table("mix", one, many, shared=True)
    assert "ratio 1.50 (1.50-1.50), goal >= 1.7: NOT MET (a lower bound" in text
    assert "ratio by CPU time 1.80" in text


@pytest.mark.parametrize("line", ["quick --rounds 0", "quick --only other", "--seconds x", "profile --also floor"])
def test_command_line_refuses(line: str) -> None:
    done = CliRunner().invoke(main, line.split())
    assert (done.exit_code, "Error: " in done.output) == (2, True)


def test_commands_of_files_have_reports_and_exit_codes(tmp_path: Path) -> None:
    files = [tmp_path / "fast.json", tmp_path / "slow.json"]
    for file, rate in zip(files, (2000, 1500), strict=True):
        file.write_text(results(table("mix", {AUTH_REQUEST: [1000] * 5, EDGE: [rate] * 5})).to_json())
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
    assert document == shipped
