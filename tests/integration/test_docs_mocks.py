"""Every example of the pages about the sandboxes and the load laboratory is run, or read by what it is for."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

from load.scenario import load_scenario
from load.thresholds import COUNTERS, DURATIONS, OF_KINDS, OF_OPERATIONS, OF_PROCESSES
from mock_server.faults import KINDS
from mock_server.rules import Rule
from mock_server.rules_file import load_faults
from tests.e2e.processes import ROOT, clean_environment, free_port
from tests.integration.mock_server.conftest import running

PAGES = ("mocks.md", "load-testing.md")  # the tests of each sandbox run the examples of its own page
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(language, text, id=f"{page}-{number}-{language}")
    for page in PAGES
    if (ROOT / "docs" / page).exists()
    for number, (language, text) in enumerate(_FENCE.findall((ROOT / "docs" / page).read_text()))
]
# Run by CI itself or on several machines; the tests of the wheel install the package.
_ELSEWHERE = re.compile(r"^make |^pip install|--worker-of", re.MULTILINE)


def of(language: str) -> list[object]:
    """The examples in one language."""
    return [e for e in EXAMPLES if e.values[0] == language and not _ELSEWHERE.search(str(e.values[1]))]


def page(name: str) -> str:
    """A page of the docs."""
    return (ROOT / "docs" / name).read_text()


@pytest.mark.parametrize(("language", "text"), of("sh"))
@pytest.mark.slow
def test_shell_example_runs(tmp_path: Path, language: str, text: str) -> None:
    ports: dict[str, str] = {}
    script = re.sub(r"\b1?80[0-9]{2}\b", lambda found: ports.setdefault(found[0], str(free_port())), text)
    environment = {
        **clean_environment(),
        "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}",
        "PYTHONPATH": str(ROOT),
    }
    run = subprocess.run(
        ["bash", "-eu", "-c", f"trap 'kill $(jobs -p) 2>/dev/null || true' EXIT\n{script}"],
        cwd=tmp_path,
        env=environment,
        capture_output=True,
        text=True,
        timeout=90,
    )
    assert run.returncode == 0, run.stdout + run.stderr
    assert "Traceback" not in run.stdout + run.stderr


@pytest.mark.parametrize(("language", "text"), of("python"))
@pytest.mark.slow
def test_python_example_runs(tmp_path: Path, language: str, text: str) -> None:
    (tmp_path / "test_example.py").write_text(text)
    without = [part for name in ("cacheprovider", "locust") for part in ("-p", f"no:{name}")]
    command = [sys.executable, "-m", "pytest", "-q", *without, str(tmp_path)]
    run = subprocess.run(command, cwd=tmp_path, env=clean_environment(), capture_output=True, text=True, timeout=90)
    assert run.returncode == 0, run.stdout + run.stderr


@pytest.mark.parametrize(("language", "text"), of("yaml"))
def test_yaml_example_is_read_by_what_it_is_for(tmp_path: Path, language: str, text: str) -> None:
    path = tmp_path / "example.yaml"
    path.write_text(text)
    data = yaml.safe_load(text)
    if "thresholds" in data:
        assert load_scenario(str(path)).description
    elif set(data) & {"rules", "listener"}:
        assert load_faults(path)
    else:
        assert data["acl"]["roles"]


def test_every_kind_of_fault_key_of_a_rule_and_threshold_is_on_its_page() -> None:
    mocks, load = page("mocks.md"), page("load-testing.md")
    keys = {info.alias or name for name, info in Rule.model_fields.items()} - {"name"}
    assert {name for name in {*KINDS, *keys} if f"`{name}`" not in mocks} == set()
    words = {*DURATIONS, *OF_OPERATIONS, *OF_KINDS, *OF_PROCESSES, *COUNTERS} - {"results"}
    assert {word for word in words if f"`{word}" not in load} == set()


async def test_every_operation_of_the_control_plane_is_on_its_page() -> None:
    from mock_server.admin import Admin

    async with running() as sandbox:
        operations = {f"`{o.method} {o.path}`" for o in Admin(sandbox).operations}
    assert {name for name in operations if name not in page("mocks.md")} == set()


def test_every_committed_scenario_is_on_its_page() -> None:
    text = page("load-testing.md")
    assert [p.stem for p in (ROOT / "load" / "scenarios").glob("*.yaml") if f"| `{p.stem}` |" not in text] == []


FAULTS, ADMIN, RECORDED = (f"mock_server/test_mock_server_{name}.py" for name in ("faults", "admin", "recording"))
AUTH0 = "mock_auth0/test_mock_auth0_{}.py"
SHOWN = {
    "authorization code with PKCE": (AUTH0.format("spa_js"), "test_a_user_signs_in_silently_again_and_out"),
    "device code": (AUTH0.format("device"), "test_a_confirmed_device_gets_tokens_once"),
    "password, client credentials": (
        AUTH0.format("token_endpoint"), "test_client_credentials_buy_an_access_token_for_the_audience",
    ),
    "implicit, `code id_token`": (AUTH0.format("hybrid"), "test_a_hybrid_response_has_what_was_asked_for"),
    "DPoP": (AUTH0.format("dpop"), "test_tokens_are_bound_to_the_key"),
    "Auth0's own endpoints and SDKs": (
        AUTH0.format("legacy_js"), "test_a_user_signs_up_and_signs_in_on_a_page_of_the_application",
    ),
    "login page": (AUTH0.format("pages"), "test_a_user_signs_in_by_a_click_after_a_wrong_password_and_consents"),
    "several issuers in one process": (AUTH0.format("tenants"), "test_the_host_of_a_request_chooses_the_tenant"),
    "https with an own authority": (
        AUTH0.format("options"), "test_https_has_an_authority_whose_certificate_is_written",
    ),
    "keys: rotate, duplicate, weak, at run time": (
        AUTH0.format("keys"), "test_a_gateway_accepts_tokens_of_both_keys_after_a_rotation",
    ),
    "clock": (ADMIN, "test_clock_is_moved_stopped_and_reset"),
    "broken tokens by name": (AUTH0.format("broken_tokens"), "test_a_broken_token_is_refused"),
    "faults on the wire": (FAULTS, "test_fault_is_seen_on_the_wire_as_often_as_the_rule_says"),
    "journal with checks": (ADMIN, "test_journal_lists_counts_and_verifies"),
    "used from": ("test_wheel_plugin.py", "test_plugin_works_in_another_project"),
    "delays": (FAULTS, "test_delay_comes_before_the_response"),
    "reset before, within head, within body": (FAULTS, "test_fault_is_seen_on_the_wire_as_often_as_the_rule_says"),
    "empty, malformed chunk, garbage": (FAULTS, "test_fault_is_seen_on_the_wire_as_often_as_the_rule_says"),
    "wrong `content-length`": (FAULTS, "test_fault_is_seen_on_the_wire_as_often_as_the_rule_says"),
    "a few bytes at a time": (FAULTS, "test_slow_fault_takes_its_time"),
    "limit of bandwidth": (FAULTS, "test_slow_fault_takes_its_time"),
    "no answer": (FAULTS, "test_fault_is_seen_on_the_wire_as_often_as_the_rule_says"),
    "slow accept, closed port for a while": (
        FAULTS, "test_listener_faults_of_the_start_slow_accepts_and_restart_by_schedule",
    ),
    "probability; the next N; schedule": (FAULTS, "test_schedule_probability_and_order_of_rules"),
    "scenarios with states": (FAULTS, "test_scenario_goes_from_state_to_state"),
    "record and replay": (RECORDED, "test_recorded_responses_are_replayed_without_the_server"),
    "before any server": (RECORDED, "test_recorded_responses_are_replayed_without_the_server"),
    "identity provider": (AUTH0.format("keys"), "test_a_gateway_accepts_tokens_of_both_keys_after_a_rotation"),
    "seed for identical runs": (ADMIN, "test_two_runs_with_one_seed_have_the_same_journal"),
}  # fmt: skip
"""The test that shows each feature of the tables."""


def test_every_feature_of_the_tables_has_a_test_that_exists() -> None:
    tables = page("mocks.md").partition("## Compared with other tools")[2]
    rows = [
        line.strip("| ").split(" | ") for line in tables.splitlines() if line.startswith("| ") and "---" not in line
    ]
    features = {row[0]: row[1] for row in rows if len(row) > 3 and row[0] != "mock_auth0" and row[0] != "mock_server"}
    assert {name for name, ours in features.items() if not ours.startswith("no")} == set(SHOWN)
    for name, (file, function) in SHOWN.items():
        assert f"def {function}(" in (ROOT / "tests" / "integration" / file).read_text(), name
