"""Programs that the contract runs beside the gateway: found or reported as missing, started, and stopped again."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.e2e.processes import ROOT, clean_environment

FOLDER = ROOT / "var" / "contract"
"""Where everything is set up; it may be removed at any time."""
START_SECONDS = 90.0
STOP_SECONDS = 15.0
_MORE_FOLDERS = ("/usr/sbin", "/usr/local/sbin", str(Path.home() / ".cargo" / "bin"))


class Missing(Exception):
    """A server can't be set up here. The text says what is missing, and how to get it."""


class Failed(Exception):
    """A program ended with an error, or did not answer in time. The text has the end of its log."""


def find(program: str, remedy: str) -> str:
    """Return the path of a program. Raises Missing, with the remedy."""
    found = shutil.which(program, path=os.pathsep.join((os.environ.get("PATH", ""), *_MORE_FOLDERS)))
    if found is None:
        raise Missing(f"{program} not found: {remedy}")
    return found


def run(
    command: Sequence[str], log: Path, *, environment: Mapping[str, str] | None = None, user: str | None = None
) -> None:
    """Run a program to its end. Raises Failed."""
    with log.open("ab") as file:
        done = subprocess.run(
            command,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=subprocess.STDOUT,
            env={**_environment(), **(environment or {})},
            cwd=log.parent,
            user=user,
            group=user,
            extra_groups=[] if user else None,
        )
    if done.returncode:
        raise Failed(f"{Path(command[0]).name} ended with {done.returncode}:\n{tail(log)}")


def _environment() -> dict[str, str]:
    """Return the environment of this process, with its proxies for downloads, without settings of PostgreSQL."""
    return {name: value for name, value in os.environ.items() if not name.startswith("PG")}


def tail(log: Path, lines: int = 12) -> str:
    """Return the end of a log."""
    return "\n".join(log.read_text(errors="replace").splitlines()[-lines:]) if log.exists() else ""


def unprivileged() -> str | None:
    """Return the user that PostgreSQL is to run as; None for the current one. Raises Missing."""
    if os.geteuid() != 0:
        return None
    try:
        return pwd.getpwnam("postgres").pw_name
    except KeyError:
        raise Missing("PostgreSQL does not run as root, and there is no user postgres: install postgresql") from None


def answers(url: str) -> Callable[[], bool]:
    """Return what tells whether a url answers with success."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return bool(response.status < 300)
        except (urllib.error.URLError, OSError):
            return False

    return check


def contains(url: str, text: bytes) -> Callable[[], bool]:
    """Return what tells whether the response of a url contains a text."""

    def check() -> bool:
        try:
            with urllib.request.urlopen(url, timeout=2) as response:
                return text in response.read()
        except (urllib.error.URLError, OSError):
            return False

    return check


@dataclass(slots=True)
class Program:
    """A program in the background.

    Args:
        name: what it is called in messages.
        command: the program and its arguments.
        log: where its output goes.
        environment: added to that of this process.
        ready: whether it can be used.
        user: whom it runs as; None for the current user.
        stop_with: the signal that stops it.
    """

    name: str
    command: Sequence[str]
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    ready: Callable[[], bool] = lambda: True
    user: str | None = None
    stop_with: signal.Signals = signal.SIGTERM
    _process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it, and wait until it can be used. Raises Failed."""
        with self.log.open("ab") as file:
            self._process = subprocess.Popen(
                self.command,
                stdin=subprocess.DEVNULL,
                stdout=file,
                stderr=subprocess.STDOUT,
                env={**clean_environment(), **self.environment},
                cwd=self.log.parent,
                start_new_session=True,
                user=self.user,
                group=self.user,
                extra_groups=[] if self.user else None,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self.ready():
            if self._process.poll() is not None:
                raise Failed(f"{self.name} ended with {self._process.returncode}:\n{tail(self.log)}")
            if time.monotonic() > deadline:
                raise Failed(f"{self.name} is not ready after {START_SECONDS:g} s:\n{tail(self.log)}")
            time.sleep(0.1)

    def stop(self) -> None:
        """Stop it, and what it has started in its session."""
        process, self._process = self._process, None
        if process is None:
            return
        process.send_signal(self.stop_with)
        try:
            process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
