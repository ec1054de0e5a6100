"""`kill -9` while users sign in: every login that was answered is kept, and no token is ever written down."""

from __future__ import annotations

import os
import random
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import Program, Programs, free_port, wait_until
from tests.integration import crash
from tests.integration.conftest import sign_in

ROUNDS = 4
WORKERS = 6
CRASHES = int(os.environ.get("CRASH_ROUNDS", "6"))


@pytest.fixture
def own_programs() -> Iterator[Programs]:
    """Programs of this test alone, as they are killed."""
    with Programs("python") as running:
        running.start()
        yield running


def _log_in_until_killed(url: str, id_token: str, answered: list[str], begun: threading.Event) -> None:
    with httpx.Client(trust_env=False, timeout=10) as client:
        try:
            while True:
                login = client.post(f"{url}/api/auth/login", json={"auth0_token": id_token})
                answered.append(login.json()["session_token"])
                begun.set()
        except httpx.TransportError:
            return


def _valid(url: str, token: str) -> bool:
    with httpx.Client(trust_env=False, timeout=10) as client:
        return bool(client.post(f"{url}/api/auth/validate", json={"session_token": token}).json()["valid"])


def _written(folder: Path) -> bytes:
    return b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())


@pytest.mark.slow
def test_every_answered_login_outlives_kill_9_and_no_token_is_on_disk(own_programs: Programs) -> None:
    id_token, tokens = crash.id_token(own_programs), list[str]()
    for _ in range(ROUNDS):
        answered, begun = list[str](), threading.Event()
        with ThreadPoolExecutor(WORKERS) as pool:
            for _ in range(WORKERS):
                pool.submit(_log_in_until_killed, own_programs.gateway_url, id_token, answered, begun)
            assert begun.wait(20)
            goal = len(answered) + random.randint(1, 60)
            wait_until(lambda answered=answered, goal=goal: len(answered) >= goal, 20, "logins")  # type: ignore[misc]
            own_programs.gateway.kill()
        tokens += answered
        own_programs.gateway.start()
    assert len(tokens) > ROUNDS
    assert [token for token in tokens if not _valid(own_programs.gateway_url, token)] == []
    own_programs.gateway.stop()
    on_disk = _written(own_programs.sessions)
    assert on_disk
    assert [token for token in tokens if token.encode() in on_disk or bytes.fromhex(token) in on_disk] == []


@pytest.mark.slow
def test_no_crash_loses_an_answered_login_or_revives_an_ended_session(show: Callable[[str], None]) -> None:
    outcome = crash.run(CRASHES)
    show(outcome.line())
    assert (outcome.lost, outcome.revived) == (0, 0)
    assert len(outcome.book.ended) >= 1


@pytest.mark.slow
def test_a_second_process_on_the_folder_sees_logins_and_logouts_at_once(own_programs: Programs) -> None:
    port = free_port()
    first = own_programs.gateway
    changes = {**first.environment, "GATEWAY_PORT": str(port)}
    second = Program(
        "second", first.arguments, f"http://127.0.0.1:{port}/health", own_programs.sessions.parent / "2", changes
    )
    second.start()
    try:
        token = sign_in(own_programs, "user@example.com")
        assert _valid(f"http://127.0.0.1:{port}", token)
        with httpx.Client(trust_env=False, headers={"authorization": f"Bearer {token}"}) as client:
            client.post(f"http://127.0.0.1:{port}/api/auth/logout").raise_for_status()
            assert client.get(f"{own_programs.gateway_url}/noetl/health").status_code == 401
    finally:
        second.stop()
