"""The three programs as processes, once per test process, and a session at the gateway."""

from __future__ import annotations

import shutil
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import ROOT, Programs

SOURCE = (
    "pyproject.toml", "README.md", "LICENSE", "gateway.yaml", "proxy", "mock_auth0", "mock_noetl", "mock_pytest",
    "mock_server",
)  # fmt: skip


@pytest.fixture(scope="session")
def wheel(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built from a copy: setuptools writes into the source, where another process may be at the same."""
    folder = tmp_path_factory.mktemp("wheel")
    source = folder / "source"
    source.mkdir()
    for name in SOURCE:
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, source / name, symlinks=True, ignore=shutil.ignore_patterns("__pycache__"))
        else:
            shutil.copy(ROOT / name, source / name)
    build = [sys.executable, "-m", "pip", "wheel", "--quiet", "--no-deps", "--no-build-isolation", "-w", str(folder)]
    subprocess.run([*build, str(source)], check=True, capture_output=True, timeout=120, cwd=folder)
    (found,) = folder.glob("*.whl")
    return found


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
