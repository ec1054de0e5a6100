"""The three programs as processes, once per test process, and a session at the gateway."""

from __future__ import annotations

from collections.abc import Iterator

import httpx
import pytest

from tests.e2e.processes import Programs


@pytest.fixture(scope="session")
def programs() -> Iterator[Programs]:
    """Both mocks and the gateway, running the repository's gateway.yaml on free ports."""
    with Programs("python") as running:
        running.start()
        yield running


def sign_in(programs: Programs, username: str) -> str:
    """A session token of one of the mock's users."""
    form = {"grant_type": "password", "client_id": "noetl-gateway", "username": username, "password": "password"}
    with httpx.Client(trust_env=False, timeout=10) as client:
        tokens = client.post(f"{programs.auth0_url}/oauth/token", data=form).raise_for_status().json()
        login = client.post(f"{programs.gateway_url}/api/auth/login", json={"auth0_token": tokens["id_token"]})
        token: str = login.raise_for_status().json()["session_token"]
        return token


@pytest.fixture(scope="session")
def user_token(programs: Programs) -> str:
    """A session of the analyst."""
    return sign_in(programs, "user@example.com")
