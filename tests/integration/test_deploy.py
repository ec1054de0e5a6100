"""The service file and the container file, checked as far as can be without their daemons."""

from __future__ import annotations

import os
import re
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import pytest

from tests.e2e.processes import ROOT, Program, free_port
from tests.integration.harness import PATIENCE, RULES, TENANT

UNIT, DOCKERFILE = ROOT / "deploy" / "noetl-edge.service", ROOT / "deploy" / "Dockerfile"
_MOST_EXPOSED = 20
"""In tenths, as systemd-analyze counts: below 2.0 of 10."""
NOBODY = 65534


def analyze(*arguments: str) -> subprocess.CompletedProcess[str]:
    program = shutil.which("systemd-analyze")
    if program is None:
        pytest.skip("systemd-analyze is not installed (Debian: apt-get install systemd)")
    return subprocess.run([program, *arguments], capture_output=True, text=True, check=False)


def test_systemd_reads_the_service_file_without_a_complaint(tmp_path: Path) -> None:
    unit = tmp_path / UNIT.name
    unit.write_text(UNIT.read_text().replace("/opt/noetl-edge/bin/noetl-edge", sys.executable))
    done = analyze("verify", str(unit))
    told = [line for line in (done.stdout + done.stderr).splitlines() if UNIT.name in line]
    assert (done.returncode, told) == (0, [])


def test_systemd_finds_little_exposed(show: Callable[[str], None]) -> None:
    done = analyze("security", "--offline=true", f"--threshold={_MOST_EXPOSED}", str(UNIT))
    if "unrecognized option" in done.stderr:
        pytest.skip("this systemd-analyze is older than 250")
    assert done.returncode == 0, done.stdout.splitlines()[-1:]
    show(f"service file: {done.stdout.strip().splitlines()[-1].strip(' →')}")


def test_nothing_before_the_gateway_itself_can_fail_and_have_it_started_again_and_again() -> None:
    """RestartPreventExitStatus looks at the exit status of ExecStart only."""
    text = UNIT.read_text()
    assert "RestartPreventExitStatus=2" in text
    assert not re.search(r"^ExecStartPre=", text, re.MULTILINE)


def test_the_container_does_not_run_as_root() -> None:
    last = DOCKERFILE.read_text().rpartition("\nFROM ")[2]
    assert re.findall(r"^USER (.*)$", last, re.MULTILINE) == ["10001:10001"]
    assert last.index("USER ") < last.index("ENTRYPOINT ")


def test_the_container_installs_only_what_has_a_hash() -> None:
    """Nor does it build with anything else: an isolated build fetches what builds it."""
    runs = re.findall(r"pip (install|wheel) ([^&\n]*)", DOCKERFILE.read_text())
    assert runs
    for command, words in runs:
        built = "--no-build-isolation" in words if command == "wheel" else ".whl" in words
        assert "--require-hashes" in words or ("--no-deps" in words and built), words


def test_the_container_gets_only_files_that_exist_and_are_not_kept_out() -> None:
    wanted = {
        name
        for line in re.findall(r"^COPY (?!--from)(.*) \S+$", DOCKERFILE.read_text(), re.MULTILINE)
        for name in line.split()
    }
    assert all((ROOT / name).exists() for name in wanted)
    let_in = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert wanted <= let_in


def test_no_secret_stands_in_the_container_file() -> None:
    assert not re.search(r"^(ENV|ARG) .*(SECRET|TOKEN|PASSWORD|KEY)", DOCKERFILE.read_text(), re.MULTILINE)


_JAIL = f"""
set -e
mount --make-rprivate /
for at in / /tmp "{ROOT}" /root /home /var /opt /srv /etc; do
  if [ -d "$at" ]; then mount --bind "$at" "$at" && mount -o remount,bind,ro "$at"; fi
done
mount -t tmpfs -o mode=0700,uid={NOBODY},gid={NOBODY} tmpfs "$0"
exec setpriv --reuid={NOBODY} --regid={NOBODY} --clear-groups --bounding-set=-all --inh-caps=-all --no-new-privs -- "$@"
"""


@pytest.fixture
def folder() -> Iterator[Path]:
    """A folder that nobody may look into."""
    with tempfile.TemporaryDirectory(prefix="noetl-edge-deploy-") as name:
        Path(name).chmod(0o755)
        (Path(name) / "state").mkdir()
        yield Path(name)


@pytest.fixture
def jail(folder: Path) -> tuple[str, ...]:
    """The words before a command that make the file system read-only but for one folder, and root nobody."""
    words = ("unshare", "--mount", "--", "sh", "-c", _JAIL, str(folder / "state"))
    if os.geteuid() != 0 or shutil.which("unshare") is None or shutil.which("setpriv") is None:
        pytest.skip("a read-only file system is made by root, with util-linux")
    done = _run(words, "pass")
    if done.returncode != 0:
        pytest.skip(f"a read-only file system can't be made here: {done.stderr.strip()[-200:]}")
    return words


def _run(words: tuple[str, ...], code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*words, sys.executable, "-c", code], capture_output=True, text=True, check=False, cwd=ROOT)


@pytest.mark.parametrize("where", ["the configuration's folder", "the code", "/tmp", "/var/tmp"])
def test_the_jail_of_these_tests_can_not_be_written(jail: tuple[str, ...], folder: Path, where: str) -> None:
    path = {"the configuration's folder": folder, "the code": ROOT}.get(where, Path(where)) / "probe"
    done = _run(jail, f"open({str(path)!r}, 'w')")
    assert "Read-only file system" in done.stderr or "Permission denied" in done.stderr
    assert not path.exists()


def test_it_serves_as_nobody_with_a_read_only_file_system(jail: tuple[str, ...], folder: Path) -> None:
    port, file, state = free_port(), folder / "gateway.yaml", folder / "state"
    file.write_text(
        f"server: {{port: {port}}}\n{TENANT}{RULES}upstreams: {{noetl: {{urls: ['http://127.0.0.1:1']}}}}\n"
        f"sessions: {{path: {state}/sessions}}\naudit: {{file: {state}/audit.log}}\n"
    )
    url = f"http://127.0.0.1:{port}"
    arguments = ("proxy", "serve", "--config", str(file))
    program = Program("gateway", arguments, f"{url}/health", folder / "gateway.log", before=jail)
    program.start()
    try:
        process = Path("/proc") / str(program.pid)
        status = (process / "status").read_text()
        assert f"Uid:\t{NOBODY}\t{NOBODY}\t{NOBODY}" in status
        assert "CapEff:\t0000000000000000" in status
        body = {"auth0_token": "x.y.z"}
        assert httpx.post(f"{url}/api/auth/login", json=body, trust_env=False).status_code == 401
        written = process / "root" / str(state).lstrip("/")
        until = time.monotonic() + PATIENCE
        while not (written / "audit.log").exists() and time.monotonic() < until:
            time.sleep(0.01)
        assert sorted(one.name for one in written.iterdir()) == ["audit.log", "audit.log.lock", "sessions"]
    finally:
        assert program.stop() == 0
