"""The wheel holds all that the installed command needs, outside the checkout."""

from __future__ import annotations

import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

from tests.e2e.processes import ROOT, clean_environment

SOURCE = ("pyproject.toml", "README.md", "LICENSE", "gateway.yaml", "proxy", "mock_auth0", "mock_noetl")
DATA = {
    "proxy/gateway.yaml",
    "proxy/py.typed",
    "proxy/graphql/schema.graphql",
    "proxy/graphql/assets/graphiql.min.js",
    "mock_auth0/users.yaml",
    "mock_noetl/playbooks/my_playbook.yaml",
}


@pytest.fixture(scope="module")
def installed(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The wheel, built and unpacked, as pip would lay it out.

    It is built from a copy: setuptools writes into the source, where another process may be at the same.
    """
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
    (wheel,) = folder.glob("*.whl")
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(folder / "site")
    return folder / "site"


@pytest.mark.slow
def test_the_wheel_holds_the_data_files(installed: Path) -> None:
    assert [name for name in sorted(DATA) if not (installed / name).is_file()] == []


@pytest.mark.slow
def test_the_wheel_holds_neither_tests_nor_bench(installed: Path) -> None:
    assert sorted(path.name for path in installed.iterdir() if path.suffix != ".dist-info") == [
        "mock_auth0",
        "mock_noetl",
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
