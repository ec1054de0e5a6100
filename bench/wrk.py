"""Runs wrk, a closed-loop load generator: right for the highest rate, useless for latencies at a given rate."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.programs import BenchError, Cores, Program, WrongResponse, find_program, generate_load

_MARK = "bench-result "
_SCRIPT = Path(__file__).with_name("wrk.lua")
# The same response may arrive with one header field more or less.
_SIZE_TOLERANCE, _FIELD_BYTES = 0.02, 32


@dataclass(frozen=True, slots=True)
class Load:
    """The result of a run. `errors` counts connect, read, write and timeout failures, and statuses from 400 on."""

    requests: int
    seconds: float
    received: int
    errors: Mapping[str, int]
    connections: int

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


def parse(output: str, connections: int) -> Load:
    """Parse what wrk.lua prints. Raises BenchError."""
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if len(lines) != 1:
        raise BenchError(f"wrk printed no result: {' / '.join(output.splitlines()[-3:]) or 'nothing'}")
    found = json.loads(lines[0].removeprefix(_MARK))
    return Load(found["requests"], found["duration_us"] / 1e6, found["bytes"], found["errors"], connections)


def run(target: Program, requests: Path, *, seconds: int, connections: int, cores: Cores) -> Load:
    """Send the requests of a file for whole seconds, then check and trim the target. Raises BenchError."""
    options = ["-t1", f"-c{connections}", f"-d{seconds}s", "--timeout=5s", "-s", str(_SCRIPT), target.url]
    command = [find_program("wrk", "wrk"), *options]
    output = generate_load(command, cores, target, seconds, more={"BENCH_REQUESTS": str(requests)})
    return parse(output, connections)
