"""A running gateway whose session store has no room, and one that is started on a folder that can't be written."""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.processes import Program, Programs, clean_environment
from tests.integration.crash import id_token

MOST_LOGINS = 20_000


def _mount(*arguments: str) -> None:
    """Mount something, or skip the test: only root may, and not everywhere."""
    done = subprocess.run(["mount", *arguments], capture_output=True, text=True, check=False)
    if done.returncode:
        pytest.skip(f"mount {' '.join(arguments[:2])} is not allowed here ({done.stderr.strip()}): run as root")


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A file system of a megabyte."""
    if os.geteuid() != 0:
        pytest.skip("a file system of its own needs root")
    folder = tmp_path / "disk"
    folder.mkdir()
    _mount("-t", "tmpfs", "-o", "size=1m", "tmpfs", str(folder))
    yield folder
    subprocess.run(["umount", "-l", str(folder)], check=True)


@contextmanager
def signing_in(sessions: Path | None = None) -> Iterator[tuple[Programs, str]]:
    """The gateway and the identity provider, and a token of the latter."""
    with Programs("python") as programs:
        if sessions is not None:
            programs.sessions = sessions
            programs.gateway.environment = {**programs.gateway.environment, "NOETL_EDGE_SESSIONS": str(sessions)}
        programs.gateway.environment = {**programs.gateway.environment, "LOG_FORMAT": "json"}
        programs.auth0.start()
        programs.gateway.start()
        yield programs, id_token(programs)


def _log_in(client: httpx.Client, token: str) -> httpx.Response:
    return client.post("/api/auth/login", json={"auth0_token": token})


def _fill(client: httpx.Client, token: str) -> tuple[list[str], httpx.Response]:
    """Sign in until that is refused: the sessions, and the refusal."""
    tokens: list[str] = []
    for _ in range(MOST_LOGINS):
        answer = _log_in(client, token)
        if answer.status_code != 200:
            return tokens, answer
        tokens.append(answer.json()["session_token"])
    raise AssertionError(f"{MOST_LOGINS} logins fitted in")


def _valid(client: httpx.Client, token: str) -> bool:
    return bool(client.post("/api/auth/validate", json={"session_token": token}).json()["valid"])


def _logged(program: Program, event: str) -> list[dict[str, Any]]:
    lines = [json.loads(line) for line in program.log.read_text().splitlines() if line.startswith("{")]
    return [line for line in lines if line["event"] == event]


def _full_and_empty_again(programs: Programs, token: str, make_room: Callable[[], object]) -> None:
    with httpx.Client(base_url=programs.gateway_url, trust_env=False, timeout=10) as client:
        tokens, refusal = _fill(client, token)
        assert (refusal.status_code, refusal.json()["error"]) == (503, "Service unavailable")
        assert "retry-after" in refusal.headers
        assert all(_valid(client, one) for one in tokens)
        headers = {"authorization": f"Bearer {tokens[0]}"}
        assert client.get("/api/auth/me", headers=headers).status_code == 200
        make_room()
        tokens.append(_log_in(client, token).raise_for_status().json()["session_token"])
    assert (
        "free some, or set sessions.path to a larger disk"
        in _logged(programs.gateway, "sessions.unavailable")[-1]["reason"]
    )
    programs.gateway.kill()
    programs.gateway.start()
    with httpx.Client(base_url=programs.gateway_url, trust_env=False, timeout=10) as client:
        assert [one for one in tokens if not _valid(client, one)] == []


@pytest.mark.slow
def test_a_file_that_may_not_grow_refuses_logins_and_keeps_sessions_until_it_may_again() -> None:
    with signing_in() as (programs, token):
        pid = programs.gateway.pid
        _, hard = resource.prlimit(pid, resource.RLIMIT_FSIZE)
        size = (programs.sessions / "data.mdb").stat().st_size + 64 * 1024
        resource.prlimit(pid, resource.RLIMIT_FSIZE, (size, hard))
        _full_and_empty_again(programs, token, lambda: resource.prlimit(pid, resource.RLIMIT_FSIZE, (hard, hard)))


@pytest.mark.slow
def test_a_full_disk_refuses_logins_and_keeps_sessions_until_there_is_room(small_disk: Path) -> None:
    with signing_in(small_disk / "sessions") as (programs, token):
        _full_and_empty_again(programs, token, lambda: _mount("-o", "remount,size=32m", str(small_disk)))


@pytest.mark.slow
@pytest.mark.parametrize("form", ["json", "console"])
def test_where_the_log_can_not_be_written_requests_are_answered(form: str) -> None:
    with Programs("python") as programs:
        programs.gateway.log = Path("/dev/full")
        programs.gateway.start(LOG_FORMAT=form)
        with httpx.Client(base_url=programs.gateway_url, trust_env=False, timeout=10) as client:
            answers = [client.get("/api/auth/me").status_code for _ in range(300)]
        assert set(answers) == {401}
        assert programs.gateway.stop() == 0


def _serve(programs: Programs) -> tuple[int, str]:
    """Exit status and output of a gateway that does not start."""
    gateway = programs.gateway
    done = subprocess.run(
        [sys.executable, "-m", *gateway.arguments],
        env={**clean_environment(), **gateway.environment},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    return done.returncode, done.stderr


@pytest.mark.slow
def test_a_read_only_folder_keeps_the_gateway_from_starting_and_loses_nothing(tmp_path: Path) -> None:
    folder = tmp_path / "disk"
    folder.mkdir()
    with signing_in(folder / "sessions") as (programs, token):
        with httpx.Client(base_url=programs.gateway_url, trust_env=False, timeout=10) as client:
            session = _log_in(client, token).raise_for_status().json()["session_token"]
        programs.gateway.stop()
        if os.geteuid() == 0:
            _mount("--bind", str(folder), str(folder))
            _mount("-o", "remount,bind,ro", str(folder))
        else:
            for path in (folder / "sessions").iterdir():
                path.chmod(0o400)
        try:
            status, said = _serve(programs)
        finally:
            if os.geteuid() == 0:
                subprocess.run(["umount", str(folder)], check=True)
            else:
                for path in (folder / "sessions").iterdir():
                    path.chmod(0o600)
        assert status == 2
        assert "it is read-only" in said
        assert "set sessions.path to another folder" in said
        assert "Traceback" not in said
        programs.gateway.start()
        with httpx.Client(base_url=programs.gateway_url, trust_env=False, timeout=10) as client:
            assert _valid(client, session)
