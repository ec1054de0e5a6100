"""The program as a process: its start-up line, its clean stop, and its one-line refusals."""

from __future__ import annotations

import signal
import socket
import subprocess
import sys
from pathlib import Path

import httpx
import pytest

DEADLINE = 20.0


def launch(*arguments: str) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "mock_auth0", *arguments],
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def refused(*arguments: str) -> tuple[int, list[str]]:
    with launch(*arguments) as process:
        _, errors = process.communicate(timeout=DEADLINE)
    return process.returncode, errors.splitlines()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_it_says_where_it_listens_and_stops_cleanly(number: signal.Signals) -> None:
    with launch("--port", "0") as process:
        assert process.stdout
        words = process.stdout.readline().split()
        assert words[:3] == ["mock_auth0", "listening", "on"]
        port = httpx.URL(words[3]).port
        assert httpx.get(f"http://127.0.0.1:{port}/health", trust_env=False).text == "ok"
        process.send_signal(number)
        _, errors = process.communicate(timeout=DEADLINE)
    assert process.returncode == 0
    assert "Traceback" not in errors


def test_a_port_in_use_is_one_line() -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        code, lines = refused("--port", str(taken.getsockname()[1]))
    assert (code, len(lines)) == (2, 1)
    assert "Address already in use" in lines[0]


def test_a_mistake_in_the_users_file_is_one_line_naming_file_and_key(tmp_path: Path) -> None:
    file = tmp_path / "people.yaml"
    file.write_text("users: [{email: a@example.com}]\nclients: []\n")
    code, lines = refused("--port", "0", "--users", str(file))
    assert (code, lines) == (2, [f"mock_auth0: {file}: line 1: users[0].password: is missing"])
