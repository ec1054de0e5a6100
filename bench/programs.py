"""Processes of a measurement: found, pinned to cores, observed through /proc, and stopped by their id.

Every program listens on a free port of 127.0.0.1. If this process is killed, the kernel ends the programs (util-linux's
`setpriv`, where it is installed).
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import resource
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
_START_SECONDS, _STOP_SECONDS, _EXTRA_SECONDS = 30.0, 10.0, 20.0
_TICKS = os.sysconf("SC_CLK_TCK")
# Any other variable could configure the programs.
_KEPT = ("HOME", "LANG", "LD_LIBRARY_PATH", "PATH", "TMPDIR")
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


def print_report(measure: Callable[[], Sequence[str]]) -> int:
    """Measure, and print the lines of the report; return the exit status, 1 if the measurement failed."""
    try:
        lines = measure()
    except (BenchError, OSError, TimeoutError) as error:
        say(f"bench: failed: {error or type(error).__name__}")
        return 1
    print("\n".join(lines))
    return 0


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


def two_cores() -> tuple[int, int]:
    """Return the core of the contender and the core of everything else; the same one twice if there is only one."""
    cores = sorted(os.sched_getaffinity(0))
    return cores[0], cores[min(1, len(cores) - 1)]


def pinned(cores: Cores) -> list[str]:
    """Return the words before a command that pin it to cores and end it together with this process."""
    words = ["setpriv", "--pdeathsig", "TERM", "--"] if shutil.which("setpriv") else []
    return [*words, find_program("taskset", "util-linux"), "-c", str(cores)]


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """Return the environment of a program: what every program needs, and `more`."""
    return {**{name: os.environ[name] for name in _KEPT if name in os.environ}, **(more or {})}


def generate_load(
    command: Sequence[str], cores: Cores, target: Program, seconds: float, *, task: str = "", more: Mapping[str, str]
) -> str:
    """Run a load generator to its end, check and trim its target, and return what it prints. Raises BenchError."""
    name = Path(command[-1]).name if command[0] == sys.executable else Path(command[0]).name
    try:
        done = subprocess.run(
            [*pinned(cores), *command],
            input=task,
            capture_output=True,
            text=True,
            cwd=ROOT,
            env=environment(more),
            timeout=seconds + _EXTRA_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"{name} did not end within {seconds + _EXTRA_SECONDS:g} s") from None
    if done.returncode != 0:
        raise BenchError(f"{name} ended with exit code {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")
    target.check()
    target.trim()
    return done.stdout


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
        log: the file that receives its output.
        ready: the path that responds once it is ready; None if it is ready when it accepts connections.
        environment: variables added to those that every program has.
        growing: files that receive a line per request; `trim` empties them.
        helpers: programs on other cores that it needs for a request; their CPU time is reported separately.
        upstream: where it relays to, if that is not where everyone does.
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
    upstream: Program | None = None
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
                env=environment(self.environment),
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
        """Raise BenchError with the end of its output if the program has ended."""
        code = self._process.poll() if self._process else None
        if code is not None:
            lines = self.log.read_text(errors="replace").splitlines()[-15:]
            raise BenchError("\n".join((f"{self.name} ended with exit code {code}:", *lines)))

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

    def trim(self) -> None:
        """Empty the growing files."""
        for path in self.growing:
            os.truncate(path, 0)

    def cpu_seconds(self) -> float:
        """Return the CPU seconds that it and its descendants have used so far (proc(5), /proc/pid/stat)."""
        # The name, in parentheses, may contain any character; the fields are counted from its end.
        stats = (Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split() for pid in family(self.pid))
        return sum(int(fields[11]) + int(fields[12]) for fields in stats) / _TICKS

    def memory(self) -> int:
        """Return the bytes that it and its descendants hold in memory (proc(5), /proc/pid/statm)."""
        pages = (Path(f"/proc/{pid}/statm").read_text().split()[1] for pid in family(self.pid))
        return sum(map(int, pages)) * resource.getpagesize()


def family(pid: int) -> list[int]:
    """Return the ids of a process and of all its descendants."""
    children = [int(word) for task in Path(f"/proc/{pid}/task").glob("*/children") for word in task.read_text().split()]
    return [pid, *(each for child in children for each in family(child))]


def idle_seconds(core: int) -> float:
    """Return the seconds since boot in which a core was idle (proc(5), /proc/stat)."""
    fields = re.search(rf"^cpu{core} (.+)$", Path("/proc/stat").read_text(), re.MULTILINE)
    assert fields is not None, f"core {core} is in /proc/stat, since this process may use it"
    values = fields[1].split()
    return (int(values[3]) + int(values[4])) / _TICKS
