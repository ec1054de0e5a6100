"""Servers that are not what the options of a load run say: one line before the run, and samples go on."""

from __future__ import annotations

import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from load.preflight import check, check_calls
from load.processes import Process, Programs, StackError
from load.sampler import Sampler
from load.scenario import load_scenario, names
from load.settings import Settings
from mock_pytest import MockAuth0, MockNoetl
from tests.e2e.processes import ROOT, clean_environment

METRICS = "# TYPE noetl_gateway_sessions gauge\nnoetl_gateway_sessions 3\n"


@pytest.fixture
def server(noetl_here: MockNoetl) -> MockNoetl:
    """The same, without rules."""
    noetl_here.reset()
    return noetl_here


def _respond(server: MockNoetl, path: str, status: int, text: str = "") -> None:
    server.rule(path, response={"status": status, "text": text})


def _settings(gateway: str, auth0: str) -> Settings:
    return Settings("soak", 1, 1.0, (gateway,), auth0)


def test_url_of_another_server_ends_the_run_before_it_starts_with_status_2(
    server: MockNoetl, auth0_here: MockAuth0, tmp_path: Path
) -> None:
    options = ["--url", server.url, "--auth0", auth0_here.url, "--output", str(tmp_path)]
    command = [sys.executable, "-m", "load.run", *options]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=60)
    assert done.returncode == 2
    text = f"load: {server.url} is not a gateway: /health has the response 200 "
    assert done.stderr.startswith(text)
    assert done.stderr.count("\n") == 1
    assert not (tmp_path / "locust.log").exists()


@pytest.mark.parametrize(
    ("gateway", "text"),
    [("http://127.0.0.1:1", "does not answer"), ("gateway", "does not answer"), ("http://a:b", "is not a URL")],
)
def test_url_without_a_server_is_one_line(gateway: str, text: str) -> None:
    with pytest.raises(StackError, match=text):
        check(_settings(gateway, "http://127.0.0.1:1"))


def test_health_of_a_gateway_is_not_enough(auth0_here: MockAuth0) -> None:
    assert httpx.get(f"{auth0_here.url}/health").text == "ok"
    with pytest.raises(StackError, match="is not a gateway: /metrics has the response 404"):
        check(_settings(auth0_here.url, auth0_here.url))


def test_server_that_is_no_identity_provider_is_reported(server: MockNoetl) -> None:
    _respond(server, "/health", 200, "ok")
    _respond(server, "/metrics", 200, METRICS)
    with pytest.raises(StackError, match=r"jwks.json has no key set \(404\): correct --auth0"):
        check(_settings(server.url, server.url))


def test_gateway_whose_metrics_are_not_allowed_is_accepted_with_a_note(
    server: MockNoetl, auth0_here: MockAuth0
) -> None:
    _respond(server, "/health", 200, "ok")
    _respond(server, "/metrics", 404)
    _respond(server, "/api/auth/me", 401)
    notes = check(_settings(server.url, auth0_here.url))
    assert len(notes) == 1
    assert "/metrics can't be read (404)" in notes[0]


@pytest.mark.parametrize(
    ("status", "text", "problem"),
    [(403, "no", "status 403"), (200, '{"detail":"Not Found"}', "malformed"), (200, METRICS + "{", "malformed")],
)
def test_metrics_that_cannot_be_read_do_not_end_the_sampling(
    server: MockNoetl, status: int, text: str, problem: str
) -> None:
    _respond(server, "/metrics", status, text)
    sampler = Sampler({}, [server.url], {})
    sampler.start()
    _wait_for(sampler, 1)
    server.remove_rules()
    _respond(server, "/metrics", 200, METRICS)
    _wait_for(sampler, len(sampler.samples) + 2)
    sampler.stop()
    assert list(sampler.problems) == [f"{server.url}/metrics: {problem}"]
    assert sampler.samples[0].metrics == {}
    assert sampler.samples[-1].metrics == {"noetl_gateway_sessions": 3.0}


def _wait_for(sampler: Sampler, count: int) -> None:
    deadline = time.monotonic() + 20
    while len(sampler.samples) < count:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_call_that_the_control_plane_does_not_have_ends_the_run_with_status_2(tmp_path: Path) -> None:
    scenario = tmp_path / "mine.yaml"
    fault = "{name: x, at: 1s, target: noetl, call: {path: /keys/rotat}}"
    scenario.write_text(f"description: d\nthresholds: [lost_results == 0]\nfaults: [{fault}]\n")
    command = [sys.executable, "-m", "load.run", "--scenario", str(scenario), "--output", str(tmp_path / "out")]
    done = subprocess.run(command, cwd=ROOT, env=clean_environment(), capture_output=True, text=True, timeout=120)
    assert done.returncode == 2, done.stdout + done.stderr
    text = "load: faults[0].call: fault x: the control plane of noetl has no /keys/rotat (known: /accept, /clock, "
    assert done.stderr.startswith(text)
    assert not (tmp_path / "out" / "locust.log").exists()


@pytest.mark.parametrize("name", names())
def test_calls_of_committed_scenarios_exist(auth0_here: MockAuth0, noetl_here: MockNoetl, name: str) -> None:
    def process(name: str, url: str) -> Process:
        return Process(name, ("true",), url, "/", Path("log"))

    programs = Programs(process("auth0", auth0_here.url), process("noetl", noetl_here.url), [])
    check_calls(load_scenario(name), programs)
