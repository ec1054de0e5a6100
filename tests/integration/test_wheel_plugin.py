"""The pytest plugin, installed from the wheel in an empty virtual environment, in the tests of another project."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, clean_environment

TESTS = """
import httpx
import pytest


def test_token_is_signed_by_a_published_key(auth0):
    import jwt

    token = auth0.token("dev@example.com")
    key = jwt.PyJWKClient(f"{auth0.url}/.well-known/jwks.json").get_signing_key_from_jwt(token)
    claims = jwt.decode(token, key.key, algorithms=["RS256"], audience="noetl-gateway", issuer=auth0.issuer)
    assert claims["email"] == "dev@example.com"


def test_expired_token_and_sign_in(auth0):
    import jwt

    expired = jwt.decode(auth0.token(broken="expired"), options={"verify_signature": False})
    assert expired["exp"] < expired["iat"] + 10**9
    assert auth0.sign_in()["id_token"].count(".") == 2
    assert auth0.verify("/oauth/token", exactly=1) == 1


def test_rules_and_journal_begin_anew_in_each_test(auth0):
    assert auth0.requests() == []
    auth0.fail("/oauth/token", times=1)
    from mock_pytest import MockError, VerificationError

    with pytest.raises(MockError, match="POST /oauth/token: 503 "):
        auth0.sign_in()
    auth0.sign_in()

    with pytest.raises(VerificationError, match="2 requests matched, expected exactly 1"):
        auth0.verify("/oauth/token", exactly=1)


def test_clock_ends_tokens(auth0_process):
    import jwt

    token = auth0_process.token("dev@example.com", lifetime=60)
    auth0_process.move_clock(3600)
    later = auth0_process.token("dev@example.com")
    claims = [jwt.decode(t, options={"verify_signature": False}) for t in (token, later)]
    assert claims[0]["exp"] < claims[1]["iat"]


@pytest.mark.parametrize("fixture", ["noetl", "noetl_process"])
def test_playbook_runs(request, fixture):
    import time

    noetl = request.getfixturevalue(fixture)
    execution = noetl.execute("examples/hello_world", {"message": "hi"})
    deadline = time.monotonic() + 20
    while not noetl.status(execution)["completed"]:
        assert time.monotonic() < deadline
        time.sleep(0.05)
    noetl.rule("/api/executions/*/status", fault="reset_before", times=1)
    with pytest.raises(httpx.TransportError):
        noetl.status(execution)
    assert noetl.status(execution)["failed"] is False
"""


@pytest.fixture(scope="module")
def python(tmp_path_factory: pytest.TempPathFactory, wheel: Path) -> Path:
    """The interpreter of a new environment with the wheel and its extra, and nothing else."""
    folder = tmp_path_factory.mktemp("other") / "venv"
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True, timeout=120)
    found = re.findall(r"^([A-Za-z0-9._-]+==[^ ;\\]+)", (ROOT / "requirements.lock").read_text(), re.MULTILINE)
    constraints = folder / "constraints.txt"
    constraints.write_text("\n".join(found))
    install = [str(folder / "bin" / "python"), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    subprocess.run([*install, "-c", str(constraints), f"{wheel}[mocks]"], check=True, timeout=300, capture_output=True)
    return folder / "bin" / "python"


@pytest.mark.slow
def test_plugin_works_in_another_project(python: Path, tmp_path: Path) -> None:
    (tmp_path / "test_other.py").write_text(TESTS)
    command = [str(python), "-m", "pytest", "-q", "-W", "error", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=180, cwd=tmp_path, env=clean_environment())
    assert done.returncode == 0, done.stdout + done.stderr
    assert "6 passed" in done.stdout


@pytest.mark.slow
def test_other_arguments_come_from_a_fixture(python: Path, tmp_path: Path) -> None:
    (tmp_path / "conftest.py").write_text(
        "import pytest\n\n\n@pytest.fixture(scope='session')\n"
        "def auth0_arguments():\n    return ['--generate-users', '7']\n"
    )
    (tmp_path / "test_users.py").write_text(
        "def test_generated(auth0):\n    assert auth0.sign_in('user00007@example.com')['access_token']\n"
    )
    command = [str(python), "-m", "pytest", "-q", "-p", "no:cacheprovider", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, timeout=120, cwd=tmp_path, env=clean_environment())
    assert "1 passed" in done.stdout, done.stdout + done.stderr
