"""The page about mock_auth0: its examples run, its files load, and the tests that it names exist."""

from __future__ import annotations

import asyncio
import os
import re
import sys
from pathlib import Path

import pytest

from mock_auth0.settings_file import load_file, tenant_entries
from mock_server.sandbox import Control
from tests.e2e.processes import ROOT, clean_environment
from tests.integration.mock_auth0.provider import running

PAGE = (ROOT / "docs" / "mock-auth0.md").read_text()
EXAMPLES = re.findall(r"^```sh\n(.*?)^```$", PAGE, re.MULTILINE | re.DOTALL)
FILES = re.findall(r"^    users:\n(?:    .*\n)+", PAGE, re.MULTILINE)


@pytest.mark.slow
@pytest.mark.parametrize("number", range(len(EXAMPLES)))
async def test_an_example_of_the_shell_runs(tmp_path: Path, number: int) -> None:
    async with running(control=Control(admin=True)) as server:
        script = EXAMPLES[number].replace("http://localhost:8085", server.url.rstrip("/"))
        path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
        process = await asyncio.create_subprocess_exec(
            "bash", "-eu", "-c", script.replace("curl -s ", "curl -sS --fail-with-body "),
            cwd=tmp_path, env={**clean_environment(), "PATH": path},
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
        )  # fmt: skip
        async with asyncio.timeout(60):
            said, _ = await process.communicate()
    assert process.returncode == 0, said.decode()
    assert b"error" not in said.replace(b'"broken"', b""), said.decode()


@pytest.mark.parametrize("text", FILES)
def test_an_example_of_a_file_loads(tmp_path: Path, text: str) -> None:
    file = tmp_path / "tenant.yaml"
    file.write_text(text)
    assert all(entry.users and entry.clients for entry in tenant_entries(load_file(file)).values())


def test_there_are_examples() -> None:
    assert (len(EXAMPLES), len(FILES)) == (3, 2)


def test_the_tests_that_the_page_names_exist() -> None:
    named = re.findall(r"`(tests/[\w/]+\.py)`", PAGE)
    assert len(named) >= 7
    assert [name for name in named if not (ROOT / name).is_file()] == []
