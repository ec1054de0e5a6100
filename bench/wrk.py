"""Runs wrk, a closed-loop load generator, and reads its result.

wrk.lua sends one request again and again; latencies are those of a loop that waits for each answer before it asks
again, so they tell about saturation, not about a given rate of arrivals.
"""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from bench.programs import BenchError, Cores, bound_to, clean_environment

_MARK = "bench-result "
_SCRIPT = Path(__file__).with_name("wrk.lua")
_TIMEOUT_SECONDS = 5
_EXTRA_SECONDS = 20.0
_ERRORS = ("connect", "read", "write", "status", "timeout")


@dataclass(frozen=True, slots=True)
class WrkResult:
    """What wrk counted. `errors` holds connect, read, write and timeout failures, and `status` for 400 and above."""

    requests: int
    seconds: float
    received: int
    p50_ms: float
    p99_ms: float
    errors: Mapping[str, int]
    connections: int = 0

    @property
    def rate(self) -> float:
        """Answers per second."""
        return self.requests / self.seconds

    @property
    def bytes_each(self) -> float:
        """Mean size of an answer with its head."""
        return self.received / self.requests if self.requests else 0.0

    def failure(self) -> str:
        """What went wrong, in words; empty if nothing did."""
        if not self.requests:
            return "no answers at all"
        return ", ".join(f"{name} errors: {count}" for name, count in self.errors.items() if count)


@dataclass(frozen=True, slots=True)
class Shot:
    """A request as wrk sends it. `unlike`: each with an id of its own, so that none is like another."""

    url: str
    method: str = "GET"
    headers: Mapping[str, str] | None = None
    body: str = ""
    unlike: bool = False


def parse(output: str, connections: int = 0) -> WrkResult:
    """Read what wrk.lua prints about a run of so many connections. Raises BenchError."""
    lines = [line for line in output.splitlines() if line.startswith(_MARK)]
    if len(lines) != 1:
        raise BenchError(f"wrk printed no result: {' / '.join(output.splitlines()[-3:]) or 'nothing'}")
    found = json.loads(lines[0].removeprefix(_MARK))
    return WrkResult(
        requests=found["requests"],
        seconds=found["duration_us"] / 1e6,
        received=found["bytes"],
        p50_ms=found["p50_us"] / 1000,
        p99_ms=found["p99_us"] / 1000,
        errors={name: found[name] for name in _ERRORS},
        connections=connections,
    )


def run(
    wrk: str, shot: Shot, *, seconds: int, connections: int, cores: Cores, threads: int = 1
) -> tuple[WrkResult, float]:
    """Load `shot` for whole seconds; the result and wrk's own CPU seconds. Raises BenchError."""
    command = [
        *bound_to(cores), wrk, f"-t{threads}", f"-c{connections}", f"-d{seconds}s", f"--timeout={_TIMEOUT_SECONDS}s",
        "-s", str(_SCRIPT), shot.url,
    ]  # fmt: skip
    environment = {
        **clean_environment(),
        "BENCH_METHOD": shot.method,
        "BENCH_HEADERS": "\n".join(f"{name}: {value}" for name, value in (shot.headers or {}).items()),
        "BENCH_BODY": shot.body,
        "BENCH_UNLIKE": "1" if shot.unlike else "",
    }
    before = os.times()
    process = subprocess.Popen(
        command,
        env=environment,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        start_new_session=True,
    )
    try:
        output, _ = process.communicate(timeout=seconds + _EXTRA_SECONDS)
    except subprocess.TimeoutExpired:
        raise BenchError(f"wrk did not end within {seconds + _EXTRA_SECONDS:g} s") from None
    finally:
        if process.poll() is None:
            process.kill()
            process.wait()
    after = os.times()
    if process.returncode != 0:
        raise BenchError(f"wrk ended with exit code {process.returncode}: {output.strip()[-300:]}")
    used = after.children_user + after.children_system - before.children_user - before.children_system
    return parse(output, connections), used
