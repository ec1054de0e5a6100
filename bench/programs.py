"""Programs as processes: found, started on a core of their own, watched, and stopped by the pid we started.

Everything listens on free ports of 127.0.0.1. A program that this one leaves behind, because it was killed, is told
by the kernel to end, where util-linux's `setpriv` is there to ask for that.
"""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS = 30.0
_STOP_SECONDS = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_FOREIGN = ("AUTH0_", "AUTH_PLAYBOOK_", "CORS_", "GATEWAY_", "LOG_", "NOETL_", "ROUTER_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

Cores = int | str
"""One core, or several as taskset reads them: `0,1`."""


class BenchError(Exception):
    """The measurement can't go on; the text is what the user is told."""


class WrongAnswer(BenchError):
    """An answer was not the right one, or there was none; the text says whose."""


class Missing(BenchError):
    """A program has to be installed first."""


def find(name: str, package: str) -> str:
    """The path of a program, also where only root has it on the PATH. Raises Missing."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}")
    if path is None:
        raise Missing(f"{name} was not found: install it (Debian: apt-get install {package})")
    return path


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """This process's environment without what would configure the programs."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }


def two_cores() -> tuple[int, int]:
    """The core of what is measured and the core of everything else; the same one if there is no other."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[min(1, len(cores) - 1)]


def bound_to(cores: Cores) -> list[str]:
    """The words before a command that keep it on its cores, and end it when this process is gone."""
    words = []
    if shutil.which("setpriv"):
        words += ["setpriv", "--pdeathsig", "TERM", "--"]
    return [*words, find("taskset", "util-linux"), "-c", str(cores)]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once `condition` holds. Raises BenchError naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


@dataclass(slots=True)
class Program:
    """One program: its command, the address that tells it is ready, its cores, and the file it writes to.

    `grows` are files that it fills with a line per request; they are emptied between measurements.
    """

    name: str
    command: tuple[str, ...]
    ready_url: str
    log: Path
    cores: Cores
    environment: Mapping[str, str] = field(default_factory=dict)
    grows: tuple[Path, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def port(self) -> int:
        """The port that it listens on."""
        return httpx.URL(self.ready_url).port or 80

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """Its process. Raises BenchError if it does not run."""
        if self._process is None:
            raise BenchError(f"{self.name} does not run")
        return self._process.pid

    def start(self) -> None:
        """Start and wait until it answers. Raises BenchError with the end of its output."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*bound_to(self.cores), *self.command],
                cwd=ROOT,
                env={**clean_environment(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._answers, _START_SECONDS, f"{self.name} answers")

    def _answers(self) -> bool:
        self.check()
        try:
            return httpx.get(self.ready_url, timeout=2, trust_env=False).status_code < 500
        except httpx.TransportError:
            return False

    def check(self) -> None:
        """Raise BenchError if the program has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise BenchError(f"{self.name} ended with exit code {code}:\n{self.tail()}")

    def stop(self) -> None:
        """SIGTERM, and SIGKILL after a deadline."""
        process, self._process = self._process, None
        if process is None or process.poll() is not None:
            return
        process.send_signal(signal.SIGTERM)
        try:
            process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()

    def tail(self, lines: int = 15) -> str:
        """The end of what it printed."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def trim(self) -> None:
        """Empty the files that grow with each request."""
        for path in self.grows:
            os.truncate(path, 0)

    def pids(self) -> list[int]:
        """It and its children. Raises BenchError if it does not run."""
        return _family(self.pid)

    def cpu_seconds(self) -> float:
        """CPU seconds that it and its children have used so far."""
        return sum(cpu_seconds(pid) for pid in self.pids())


def _family(pid: int) -> list[int]:
    found = [pid]
    for task in Path(f"/proc/{pid}/task").glob("*/children"):
        for child in task.read_text().split():
            found += _family(int(child))
    return found


def cpu_seconds(pid: int) -> float:
    """CPU seconds that a process has used so far."""
    # The name, in parentheses, may hold anything; the fields are counted from after it.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS
