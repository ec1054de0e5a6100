"""Runs wrk, a closed-loop load generator: right for the highest rate, useless for latencies at a given rate."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.programs import BenchError, Cores, Program, WrongResponse, clean_environment, find_program, pinned

_MARK = "bench-result "
_SCRIPT = Path(__file__).with_name("wrk.lua")
_TIMEOUT_SECONDS, _EXTRA_SECONDS = 5, 20.0
_ERRORS = ("connect", "read", "write", "status", "timeout")
# The same response may arrive with one header field more or less.
_SIZE_TOLERANCE, _FIELD_BYTES = 0.02, 32


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a run. `errors` counts connect, read, write and timeout failures, and statuses from 400 on."""

    requests: int
    seconds: float
    received: int
    p99_ms: float
    errors: Mapping[str, int]
    connections: int
    generator_cpu_seconds: float = 0.0

    @property
    def rate(self) -> float:
        """Responses per second."""
        return self.requests / self.seconds

    def check(self, mean_size: float) -> None:
        """Raise WrongResponse unless nothing failed and the mean size of responses is the expected one."""
        if failed := ", ".join(f"{name} errors: {count}" for name, count in self.errors.items() if count):
            raise WrongResponse(f"{failed} ({self.requests} responses)")
        if not self.requests:
            raise WrongResponse("no responses")
        # What was received of a response when time was up counts in bytes, but not as a response.
        unfinished = mean_size * self.connections / self.requests
        allowed, found = mean_size * _SIZE_TOLERANCE + _FIELD_BYTES, self.received / self.requests
        if not -allowed <= found - mean_size <= allowed + unfinished:
            raise WrongResponse(f"responses of {found:.0f} bytes on average, expected are {mean_size:.0f}")


def parse(output: str, connections: int, generator_cpu_seconds: float = 0.0) -> Load:
    """Parse what wrk.lua prints. Raises BenchError."""
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if len(lines) != 1:
        raise BenchError(f"wrk printed no result: {' / '.join(output.splitlines()[-3:]) or 'nothing'}")
    found = json.loads(lines[0].removeprefix(_MARK))
    errors = {name: found[name] for name in _ERRORS}
    seconds, p99_ms = found["duration_us"] / 1e6, found["p99_us"] / 1000
    return Load(found["requests"], seconds, found["bytes"], p99_ms, errors, connections, generator_cpu_seconds)


def run(target: Program, requests: Path, *, seconds: int, connections: int, cores: Cores, threads: int = 1) -> Load:
    """Send the requests of a file for whole seconds, then check and trim the target. Raises BenchError."""
    command = [
        *pinned(cores), find_program("wrk", "wrk"), f"-t{threads}", f"-c{connections}", f"-d{seconds}s",
        f"--timeout={_TIMEOUT_SECONDS}s", "-s", str(_SCRIPT), target.url,
    ]  # fmt: skip
    before = os.times()
    try:
        done = subprocess.run(
            command,
            env={**clean_environment(), "BENCH_REQUESTS": str(requests)},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=seconds + _EXTRA_SECONDS,
            check=False,
            start_new_session=True,
        )
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end within {seconds + _EXTRA_SECONDS:g} s") from None
    after = os.times()
    if done.returncode != 0:
        raise BenchError(f"wrk ended with exit code {done.returncode}: {(done.stdout + done.stderr).strip()[-300:]}")
    target.check()
    target.trim()
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return parse(done.stdout, connections, used)
