"""The audits of the npm package graphql-http, run by node against a running gateway."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, Programs

AUDITS = 61
RUNNER = Path(__file__).parent / "audits" / "run.mjs"


@pytest.mark.slow
def test_all_audits_of_graphql_http_pass(programs: Programs, user_token: str, show: Callable[[str], None]) -> None:
    node = shutil.which("node")
    assert node, "node is not installed: run make setup, or apt-get install nodejs npm"
    assert (ROOT / "node_modules" / "graphql-http").is_dir(), "graphql-http is not installed: run make pages"
    run = subprocess.run(
        [node, str(RUNNER), f"{programs.gateway_url}/graphql", user_token],
        capture_output=True,
        text=True,
        timeout=60,
    )
    *audits, summary = run.stdout.splitlines() or [""]
    show(f"graphql-http: {summary}")
    assert [line for line in audits if not line.startswith("ok ")] == [], run.stderr
    assert summary == f"{AUDITS} of {AUDITS} audits ok"
