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
from mock_auth0.reload import Files
from mock_noetl import playbook
from mock_server.faults import KINDS
from mock_server.options import load_faults
from mock_server.rules import Rule
from tests.e2e.processes import ROOT, clean_environment, free_port
from tests.integration.mock_server.conftest import running

PAGES = ("mocks.md", "mock-auth0.md", "mock-noetl.md", "load-testing.md")
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(language, text, id=f"{page}-{number}-{language}")
    for page in PAGES
    if (ROOT / "docs" / page).exists()
    for number, (language, text) in enumerate(_FENCE.findall((ROOT / "docs" / page).read_text()))
]
# Run by CI itself or on several machines; the tests of the wheel install the package.
_ELSEWHERE = re.compile(r"^make |^pip install|--worker-of", re.MULTILINE)
START = """python -m {program} --port {port} --admin >/dev/null 2>&1 &
curl -s --retry 60 --retry-connrefused --retry-delay 1 http://localhost:{port}/ >/dev/null
"""
"""What runs before an example that needs a running sandbox."""


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
    for program, port in (("mock_auth0", "8085"), ("mock_noetl", "8082")):
        if f":{port}" in text and f"python -m {program} --port {port}" not in text:
            text = START.format(program=program, port=port) + text
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
    elif "acl" in data:
        assert data["acl"]["roles"]
    elif "apiVersion" in data:
        assert playbook.compile_program(playbook.load(text))
    else:
        assert Files(path, None, None).load().users or "tenants" in data


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
