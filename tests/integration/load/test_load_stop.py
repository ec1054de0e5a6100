"""Ctrl-C during a run: the first one stops it with its reports, a second one ends everything at once."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import psutil
import pytest

from tests.e2e.processes import ROOT, clean_environment

SCENARIO = """
description: A run that is stopped.
users: 4
duration: 10m
think_time: [0.2, 0.5]
mix: {BrowserPolls: 1, CommandLine: 1}
faults:
  - {name: slow, at: 2s, for: 9m, target: noetl, rule: {match: {path: "/api/**"}, delay: 1ms}}
thresholds: [lost_results == 0, count(login) >= 2]
"""


@contextmanager
def _running(folder: Path, *options: str) -> Iterator[subprocess.Popen[str]]:
    """A run in a process group, as a terminal starts it, whose users work."""
    scenario = folder / "long.yaml"
    scenario.write_text(SCENARIO)
    command = [sys.executable, "-m", "load.run", "--scenario", str(scenario), "--output", str(folder / "out"), *options]
    with subprocess.Popen(
        command, cwd=ROOT, env=clean_environment(), stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
        start_new_session=True,
    ) as process:  # fmt: skip
        try:
            _wait_for_line(process, " of 600 s")
            yield process
        finally:
            process.kill()


def _wait_for_line(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"the run ended without {text}")


@pytest.mark.slow
@pytest.mark.parametrize("options", [[], ["--web", "--workers", "2"]])
def test_interrupt_stops_a_run_and_reports_what_was_measured(tmp_path: Path, options: list[str]) -> None:
    with _running(tmp_path, *options) as process:
        descendants = psutil.Process(process.pid).children(recursive=True)
        os.killpg(process.pid, signal.SIGINT)
        begun = time.monotonic()
        out, err = process.communicate(timeout=60)
        taken = time.monotonic() - begun
    assert process.returncode == 130, out + err
    assert "Traceback" not in out + err
    assert f"report: {tmp_path / 'out' / 'report.html'}\n" in out
    assert "ok    count(login) >= 2" in out
    assert "stopped early, after 1" in out
    assert taken < 25, "a few seconds on a machine with nothing else to do"
    report = (tmp_path / "out" / "report.html").read_text()
    assert 'long <span class="bad">stopped early</span>' in report
    assert "<html" in (tmp_path / "out" / "locust.html").read_text()
    results = json.loads((tmp_path / "out" / "results.json").read_text())
    assert results["stopped_after"] >= 10
    assert results["passed"] is False
    assert not psutil.wait_procs(descendants, timeout=10)[1]
    faults = json.loads(report.partition('id="data">')[2].partition("</script>")[0])["faults"]
    assert faults[0]["end"] - faults[0]["begin"] > 5, "a fault that goes on is shown until the end"


@pytest.mark.slow
def test_second_interrupt_ends_everything_at_once(tmp_path: Path) -> None:
    with _running(tmp_path) as process:
        descendants = psutil.Process(process.pid).children(recursive=True)
        assert len(descendants) >= 4
        os.killpg(process.pid, signal.SIGINT)
        _wait_for_line(process, "ctrl-C again ends at once")
        os.killpg(process.pid, signal.SIGINT)
        _, err = process.communicate(timeout=5)
    assert process.returncode == 130
    assert err == "load: ended at once\n"
    assert not psutil.wait_procs(descendants, timeout=10)[1]
    assert not (tmp_path / "out" / "report.html").exists()
