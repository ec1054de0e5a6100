"""The wheel holds all that the installed command needs, outside the checkout."""

from __future__ import annotations

import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.processes import clean_environment

DATA = {
    "proxy/gateway.yaml",
    "proxy/py.typed",
    "proxy/graphql/schema.graphql",
    "proxy/graphql/assets/graphiql.min.js",
    "mock_auth0/users.yaml",
    "mock_noetl/accounts.yaml",
    "mock_noetl/playbooks/my_playbook.yaml",
    "mock_server/pages/admin.html",
    "mock_server/pages/admin.js",
}


@pytest.fixture(scope="module")
def installed(wheel: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, unpacked, as pip would lay it out."""
    site = tmp_path_factory.mktemp("installed") / "site"
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(site)
    return site


@pytest.mark.slow
def test_the_wheel_holds_the_data_files(installed: Path) -> None:
    assert [name for name in sorted(DATA) if not (installed / name).is_file()] == []


@pytest.mark.slow
def test_the_wheel_holds_neither_tests_nor_bench(installed: Path) -> None:
    assert sorted(path.name for path in installed.iterdir() if path.suffix != ".dist-info") == [
        "mock_auth0",
        "mock_noetl",
        "mock_pytest",
        "mock_server",
        "proxy",
    ]


@pytest.mark.slow
def test_the_installed_command_works_outside_the_checkout(installed: Path, tmp_path: Path) -> None:
    environment = {**clean_environment(), "PYTHONPATH": str(installed)}
    for command in ("init", "check"):
        run = subprocess.run(
            [sys.executable, "-m", "proxy", command],
            cwd=tmp_path,
            env=environment,
            capture_output=True,
            text=True,
            timeout=60,
        )
        assert run.returncode == 0, run.stderr
    assert run.stdout.startswith("gateway.yaml: valid")
