"""A whole run of the load laboratory: the stack, Locust, a fault on a schedule, thresholds, both reports."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, clean_environment

SCENARIO = """
description: A short run.
users: 8
duration: 12s
start_rate: 8
think_time: [0.2, 0.5]
mix: {BrowserPolls: 2, BrowserListens: 3, CommandLine: 2, Attacker: 1}
settle: 2s
faults:
  - {name: errors, at: 4s, for: 3s, target: noetl, rule: {match: {path: "/api/**"}, response: {status: 503}}}
thresholds:
  - count(login) >= 8
  - count(result by events) >= 1
  - count(result by polling) >= 1
  - count(attack) >= 5
  - errors(any) == 0 outside faults
  - errors(5xx) > 0 during faults
  - lost_results == 0
  - duplicate_results == 0
  - lost_sessions == 0
  - ended_sessions_accepted == 0
  - attacks_succeeded == 0
  - cpu(gateway) < 3
  - memory(noetl) < 500MiB
"""


def run(folder: Path, scenario: str, *options: str) -> subprocess.CompletedProcess[str]:
    """Run a scenario."""
    command = [sys.executable, "-m", "load.run", "--scenario", scenario, "--output", str(folder), *options]
    return subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=150)


@pytest.mark.slow
def test_run_with_a_fault_meets_its_thresholds_and_writes_both_reports(tmp_path: Path) -> None:
    scenario = tmp_path / "short.yaml"
    scenario.write_text(SCENARIO)
    done = run(tmp_path / "out", str(scenario), "--workers", "2")
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout.count("ok    ") == len(SCENARIO.partition("thresholds:")[2].strip().splitlines())
    report = (tmp_path / "out" / "report.html").read_text()
    assert 'short <span class="good">passed' in report
    data = json.loads(re.search(r'<script type="application/json" id="data">(.*?)</script>', report, re.S)[1])  # type: ignore[index]
    assert [fault["name"] for fault in data["faults"]] == ["errors"]
    assert {"Throughput", "Latency of login", "Memory", "CPU, in % of a core"} <= {c["title"] for c in data["charts"]}
    assert "uPlot" in report
    assert "<html" in (tmp_path / "out" / "locust.html").read_text()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    rows = {row["name"]: row for row in results["operations"]}
    assert rows["graphql execute"]["errors"] > 0, "NoETL's errors are in GraphQL responses with the status 200"
    assert rows["all"]["count"] == sum(row["count"] for name, row in rows.items() if name != "all" and not row["wait"])
    assert not any("answer" in name for name in rows)
    programs = {row["name"] for row in results["programs"]}
    assert programs == {"auth0", "noetl", "gateway-1"}


@pytest.mark.slow
def test_threshold_that_does_not_hold_fails_the_run(tmp_path: Path) -> None:
    scenario = tmp_path / "failing.yaml"
    scenario.write_text(
        "description: d.\nusers: 2\nduration: 3s\nthink_time: [0.2, 0.5]\n"
        "thresholds: [max(login) < 0ms, lost_results == 0, count(me) > 100000]\n"
    )
    done = run(tmp_path / "out", str(scenario))
    assert done.returncode == 1, done.stdout + done.stderr
    assert re.search(r"^FAIL  max\(login\) < 0ms: ", done.stdout, re.M)
    assert re.search(r"^ok    lost_results == 0: 0$", done.stdout, re.M)
    assert 'failing <span class="bad">failed' in (tmp_path / "out" / "report.html").read_text()


@pytest.mark.parametrize(
    ("options", "text"),
    [
        (["--scenario", "no-such"], "there is no scenario no-such (known: gateway-dies"),
        (["--scenario", "soak", "--users", "0"], "error: --users: must be at least 1\n"),
        (["--scenario", "soak", "--duration", "soon"], "a duration is a number"),
        (["--workers", "-1"], "error: --workers: must be at least 0\n"),
        (["--master", "127.0.0.1", "--expect", "0"], "error: --expect: must be at least 1\n"),
        (["--scenario", "soak", "--worker-of", "127.0.0.1"], "--worker-of needs --url and --auth0"),
        (["--master", "127.0.0.1"], "--master needs --url and --auth0"),
        (["--auth0", "http://localhost:1"], "error: --auth0 needs --url\n"),
        (["--url", "http://localhost:1", "--expect", "2"], "error: --expect needs --master\n"),
        (["--url", "http://localhost:1", "--master", "a", "--worker-of", "a"], "--master and --worker-of exclude each"),
        (
            ["--url", "http://localhost:1", "--master", "a", "--workers", "2"],
            "--master and --workers exclude each other",
        ),
    ],
)
def test_wrong_option_is_refused(options: list[str], text: str) -> None:
    command = [sys.executable, "-m", "load.run", *options]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    assert text in done.stderr
