"""Processes of a measurement: found, pinned to cores, observed through /proc, and stopped by their id.

Every program listens on a free port of 127.0.0.1. If this process is killed, the kernel ends the programs (util-linux's
`setpriv`, where it is installed).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import httpx

ROOT = Path(__file__).resolve().parents[1]
_START_SECONDS, _STOP_SECONDS = 30.0, 10.0
_TICKS = os.sysconf("SC_CLK_TCK")
_CONFIGURING = ("AUTH0_", "AUTH_PLAYBOOK_", "CORS_", "GATEWAY_", "LOG_", "NATS_", "NOETL_", "ROUTER_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")
_SBIN = "/usr/local/sbin:/usr/sbin:/sbin"

Cores = int | str
"""One core, or several as taskset reads them: `0,1`."""


class BenchError(Exception):
    """The measurement can't continue; the text is shown to the user."""


class WrongResponse(BenchError):
    """A response is missing or not the expected one."""


class MissingProgram(BenchError):
    """A program has to be installed first."""


def find_program(name: str, package: str, extra: str = "") -> str:
    """Return the path of a program, searched in PATH, the sbin folders and `extra`. Raises MissingProgram."""
    path = shutil.which(name, path=f"{os.environ.get('PATH', os.defpath)}:{_SBIN}:{extra}")
    if path is None:
        raise MissingProgram(f"{name} was not found: install it (Debian: apt-get install {package})")
    return path


def say(line: str) -> None:
    """Print progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)


@contextlib.contextmanager
def alone() -> Iterator[None]:
    """Wait until no other bench of this user runs on the machine, since two would measure each other."""
    with Path(tempfile.gettempdir(), f"noetl-edge-bench-{os.getuid()}.lock").open("a") as file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("waiting for another bench to end")
            fcntl.flock(file, fcntl.LOCK_EX)
        yield


def free_port() -> int:
    """Return a port of 127.0.0.1 on which nothing listens now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def clean_environment() -> dict[str, str]:
    """Return this process's environment without variables that would configure the programs."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_CONFIGURING) and name.lower() not in _PROXIES
    }


def two_cores() -> tuple[int, int]:
    """Return the core of the contender and the core of everything else; the same one twice if there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[min(1, len(cores) - 1)]


def pinned(cores: Cores) -> list[str]:
    """Return the words before a command that pin it to cores and end it together with this process."""
    words = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    return [*words, find_program("taskset", "util-linux"), "-c", str(cores)]


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once `condition` holds. Raises BenchError that names `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise BenchError(f"{what}: not within {seconds:g} s")
        time.sleep(0.02)


@dataclass(slots=True)
class Program:
    """One program, which listens on `port` of 127.0.0.1.

    Args:
        ready: the path that responds once it is ready; None if it is ready when it accepts connections.
        log: the file that receives its output.
        environment: variables added to the clean environment.
        growing: files that receive a line per request; `trim` empties them.
        helpers: programs on other cores that it needs for a request; their CPU time is reported separately.
    """

    name: str
    command: Sequence[str]
    port: int
    log: Path
    cores: Cores
    ready: str | None = "/"
    environment: Mapping[str, str] = field(default_factory=dict)
    growing: tuple[Path, ...] = ()
    helpers: tuple[Program, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """Its address, without a path."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def pid(self) -> int:
        """The id of its process. Raises BenchError if it is not running."""
        if self._process is None:
            raise BenchError(f"{self.name} is not running")
        return self._process.pid

    def start(self) -> None:
        """Start it and wait until it responds. Raises BenchError with the end of its output."""
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*pinned(self.cores), *self.command],
                cwd=ROOT,
                env={**clean_environment(), **self.environment},
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        wait_until(self._responds, _START_SECONDS, f"start of {self.name}")

    def _responds(self) -> bool:
        self.check()
        try:
            if self.ready is not None:
                return httpx.get(self.url + self.ready, timeout=2, trust_env=False).status_code < 500
            socket.create_connection(("127.0.0.1", self.port), timeout=2).close()
            return True
        except (httpx.TransportError, OSError):
            return False

    def check(self) -> None:
        """Raise BenchError if the program has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            raise BenchError(f"{self.name} ended with exit code {code}:\n{self.tail()}")

    def stop(self) -> None:
        """Send SIGTERM, and SIGKILL after a deadline."""
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
        """Return the last lines of its output."""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:]) if self.log.exists() else ""

    def trim(self) -> None:
        """Empty the growing files."""
        for path in self.growing:
            os.truncate(path, 0)

    def pids(self) -> list[int]:
        """Return the ids of its process and of all descendants. Raises BenchError if it is not running."""
        return _family(self.pid)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that it and its descendants have used so far."""
        return sum(map(cpu_seconds, self.pids()))


def _family(pid: int) -> list[int]:
    children = [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()]
    return [pid, *(each for child in children for each in _family(child))]


def cpu_seconds(pid: int) -> float:
    """Return the CPU seconds that a process has used so far (proc(5), /proc/pid/stat)."""
    # The name, in parentheses, may contain any character; the fields are counted from its end.
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
    return (int(fields[11]) + int(fields[12])) / _TICKS


def idle_seconds(cores: Cores) -> float:
    """Return the seconds since boot in which cores were idle, added up (proc(5), /proc/stat)."""
    lines = dict(line.split(maxsplit=1) for line in Path("/proc/stat").read_text().splitlines())
    fields = [lines[f"cpu{core}"].split() for core in str(cores).split(",")]
    return sum(int(each[3]) + int(each[4]) for each in fields) / _TICKS


def resident_bytes(pids: Sequence[int]) -> int:
    """Return the bytes that processes hold in memory now."""
    return sum(_memory(pid, "VmRSS") for pid in pids)


def peak_bytes(pids: Sequence[int]) -> int:
    """Return the most bytes that processes held in memory since `reset_peak`, as the kernel recorded it."""
    return sum(_memory(pid, "VmHWM") for pid in pids)


def reset_peak(pids: Sequence[int]) -> None:
    """Reset the recorded peak of memory."""
    for pid in pids:
        Path(f"/proc/{pid}/clear_refs").write_text("5")


def _memory(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+([0-9]+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise BenchError(f"the memory of process {pid} can't be read")
    return int(found[1]) * 1024
