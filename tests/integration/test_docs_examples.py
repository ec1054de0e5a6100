"""Every example of the README and of docs/ is run: shell and Python against running programs, YAML through `check`."""

from __future__ import annotations

import configparser
import os
import re
import shlex
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import click
import httpx
import pytest
import yaml

from proxy.cli import cli
from proxy.client import Client
from proxy.commands.serve import files_needed
from proxy.config.builtin import HANDLERS
from proxy.config.compile import compile_config
from proxy.config.environment import fields
from proxy.config.later import Later
from proxy.config.load import load
from proxy.config.model import Gateway, Metrics
from proxy.config.model_upstreams import Upstream
from proxy.noetl.whatif import failing_tests
from tests.e2e.processes import ROOT, Programs, clean_environment

PAGES = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", *sorted((ROOT / "docs").glob("*.md"))]
# tests/integration/test_docs_mocks.py runs the examples of these.
_MOCKS = {"mocks.md", "mock-auth0.md", "mock-noetl.md", "load-testing.md"}
_FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
EXAMPLES = [
    pytest.param(language, text, id=f"{page.name}-{number}-{language}")
    for page in PAGES
    if page.name not in _MOCKS
    for number, (language, text) in enumerate(_FENCE.findall(page.read_text()))
]
_BROWSER = """
globalThis.localStorage = { getItem: () => null, setItem: () => {} };
globalThis.document = { createElement: () => "", body: { append: (text) => {
  console.log(text);
  if (text.startsWith("playbook/result")) process.exit(0);
} } };
"""
"""What a page needs of a browser, as far as node does not have it; ends with the result."""
_SOCKET = 'import WebSocket from "ws"; globalThis.WebSocket ??= WebSocket;'
"""What every browser has, and node from version 22 on."""
# Run by CI itself, or until they are stopped: the end-to-end run and the tests of the commands cover those.
_ELSEWHERE = re.compile(r"noetl-edge (serve|dev|reload)\b|^make ", re.MULTILINE)


def of(language: str) -> list[object]:
    """The examples in one language."""
    return [e for e in EXAMPLES if e.values[0] == language and not _ELSEWHERE.search(str(e.values[1]))]


def test_every_example_is_in_a_language_that_is_run() -> None:
    assert {example.values[0] for example in EXAMPLES} <= {"sh", "python", "yaml", "html", "js", ""}


@pytest.mark.parametrize(("language", "text"), of("sh"))
@pytest.mark.slow
def test_a_shell_example_runs(programs: Programs, tmp_path: Path, language: str, text: str) -> None:
    script = text.replace("http://localhost:8085", programs.auth0_url)
    script = script.replace("http://localhost:8090", programs.gateway_url)
    if not script.startswith("noetl-edge init &&"):
        (tmp_path / "gateway.yaml").write_bytes((ROOT / "gateway.yaml").read_bytes())
    (tmp_path / "var" / "sessions").mkdir(parents=True, mode=0o700)
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    run = subprocess.run(
        ["bash", "-u", "-c", script],
        cwd=tmp_path,
        env={**clean_environment(), "PATH": path},
        capture_output=True,
        text=True,
        timeout=60,
    )
    said = run.stdout + run.stderr
    assert "Traceback" not in said
    assert run.returncode in (0, 1), said
    assert "noetl-edge: " not in run.stderr, said


def test_the_first_five_minutes_end_as_the_readme_says(programs: Programs) -> None:
    first = next(str(e.values[1]) for e in EXAMPLES if "ID_TOKEN" in str(e.values[1]))
    script = first.replace("http://localhost:8085", programs.auth0_url).replace(
        "http://localhost:8090", programs.gateway_url
    )
    run = subprocess.run(["bash", "-eu", "-c", script], capture_output=True, text=True, timeout=60)
    assert '"status":"running"' in run.stdout, run.stderr
    assert '{"status":"ok"}' in run.stdout
    assert '"error":"No access to playbook"' in run.stdout


def test_a_page_of_the_docs_follows_its_playbook_to_the_end(programs: Programs, user_token: str) -> None:
    node = shutil.which("node")
    assert node, "node is not installed: run make setup, or apt-get install nodejs npm"
    (page,) = (str(example.values[1]) for example in EXAMPLES if example.values[0] == "html")
    script = page.partition('<script type="module">')[2].partition("</script>")[0]
    script = script.replace("http://localhost:8090", programs.gateway_url).replace(
        'token = "…"', f'token = "{user_token}"'
    )
    assert user_token in script
    command = [node, "--experimental-eventsource", "--input-type=module", "-e", _BROWSER + script]
    run = subprocess.run(command, capture_output=True, text=True, timeout=30)
    assert "playbook/state" in run.stdout, run.stderr
    assert '"status":"COMPLETED"' in run.stdout, run.stderr
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("language", "text"), of("js"))
@pytest.mark.slow
def test_a_script_of_the_docs_watches_an_execution_to_its_end(
    programs: Programs, user_token: str, language: str, text: str
) -> None:
    node = shutil.which("node")
    assert node, "node is not installed: run make setup, or apt-get install nodejs npm"
    with Client(programs.gateway_url, session_token=user_token) as client:
        execution_id = client.execute_playbook("data_pipeline/transform_data")
    script = text.replace("http://localhost:8090", programs.gateway_url)
    script = script.replace('token = "…", executionId = "…"', f'token = "{user_token}", executionId = "{execution_id}"')
    assert execution_id in script
    command = [node, "--input-type=module", "-e", _SOCKET + script]
    run = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=30)
    assert run.stdout.splitlines()[-2:] == ["completed", "complete"], run.stdout + run.stderr
    assert run.returncode == 0, run.stderr


@pytest.mark.parametrize(("language", "text"), of("python"))
def test_a_python_example_runs(
    programs: Programs, capsys: pytest.CaptureFixture[str], language: str, text: str
) -> None:
    form = {
        "grant_type": "password",
        "client_id": "noetl-gateway",
        "username": "user@example.com",
        "password": "password",
    }
    with httpx.Client(trust_env=False) as client:
        id_token = client.post(f"{programs.auth0_url}/oauth/token", data=form).json()["id_token"]
    exec(text.replace("http://localhost:8090", programs.gateway_url), {"id_token": id_token})
    assert capsys.readouterr().out == "completed\n"


@pytest.mark.parametrize(("language", "text"), of("yaml"))
def test_a_yaml_example_is_a_sound_configuration(tmp_path: Path, language: str, text: str) -> None:
    file = tmp_path / "gateway.yaml"
    upstream = "" if "upstreams:" in text else 'upstreams: {noetl: {urls: ["http://localhost:8082"]}}\n'
    file.write_text(upstream + text)
    assert failing_tests(compile_config(load(file, {}))) == ()


def test_the_example_for_a_prometheus_elsewhere_keeps_the_built_in_networks() -> None:
    text = next(str(e.values[1]) for e in EXAMPLES if "metrics:" in str(e.values[1]))
    assert set(yaml.safe_load(text)["metrics"]["allow_from"]) > set(Metrics().allow_from)


def test_the_service_file_starts_the_gateway_and_leaves_it_time_to_stop() -> None:
    unit = configparser.ConfigParser(interpolation=None, strict=False)
    unit.read_string((ROOT / "deploy" / "noetl-edge.service").read_text())
    service = unit["Service"]
    program, command, *arguments = shlex.split(service["ExecStart"])
    assert program.endswith("/noetl-edge")
    found = cli.get_command(click.Context(cli), command)
    assert found is not None
    found.make_context(command, arguments)
    assert float(service["TimeoutStopSec"]) > Gateway().server.shutdown_grace + 5
    assert int(service["LimitNOFILE"]) >= files_needed(Gateway(upstreams={"noetl": Upstream(urls=("http://a",))}))


def test_the_readme_names_all_that_is_not_there_yet_and_nothing_else() -> None:
    marks = {mark.what for _, info in fields() for mark in info.metadata if isinstance(mark, Later)}
    wanted = marks | {facts.later for facts in HANDLERS.values() if facts.later}
    start = r"^The following features are not available yet.*?\n\n"
    paragraph = re.search(start, (ROOT / "README.md").read_text(), re.MULTILINE | re.DOTALL)
    assert paragraph is not None
    text = re.sub(r" \(nor .*?\)", "", " ".join(paragraph[0].replace("`", "").split()).rpartition("are rejected: ")[2])
    assert set(text.rstrip(".").split(", ")) == wanted


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.name)
def test_links_between_pages_lead_somewhere(page: Path) -> None:
    targets = re.findall(r"\]\(([^)#:]+)(?:#[^)]*)?\)", page.read_text())
    assert [target for target in targets if not (page.parent / target).exists()] == []


def test_every_dependency_has_its_reason() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    wanted = [*project["dependencies"], *(d for e in project["optional-dependencies"].values() for d in e)]
    page = (ROOT / "docs" / "dependencies.md").read_text()
    names = [re.split(r"[^A-Za-z0-9._-]", text)[0] for text in wanted]
    assert [name for name in names if not re.search(rf"(\| |, ){re.escape(name)}[ ,|]", page)] == []


@pytest.mark.parametrize("target", re.findall(r"^([a-z0-9-]+):.*##", (ROOT / "Makefile").read_text(), re.MULTILINE))
def test_every_make_target_says_what_it_does(target: str) -> None:
    listed = subprocess.run(["make", "-s", "help"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    assert re.search(rf"^{target} +\S", listed, re.MULTILINE)
