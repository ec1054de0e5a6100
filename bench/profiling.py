"""Where the gateway's time goes under load: py-spy's samples as a flame graph, and the functions that take the most."""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from bench import wrk
from bench.flamegraph import Stacks, flamegraph, package_times, parse, self_times, total_time
from bench.measure import Pair, judge
from bench.programs import BenchError, Missing, bound_to, find, two_cores
from bench.report import columns
from bench.run import programs, say, shown
from bench.scenarios import EDGE, scenarios

_TOP, _TOP_PACKAGES = 25, 12
# What a document that was seen before must not cost.
_DOCUMENTS = ("parse (graphql/language/parser.py)", "validate (graphql/validation/validate.py)")
_SAMPLES_PER_SECOND = 250
_CONNECTIONS = 32
_LEAD_SECONDS = 2
_EXTRA_SECONDS = 30
_IDLE_THREAD = "sessions"


def profile(scenario: str, seconds: int, folder: Path) -> str:
    """Record, write `profile-<scenario>.svg`, and say what took the time. Raises BenchError or Missing."""
    nginx, wrk_path, spy = find("nginx", "nginx-light"), find("wrk", "wrk"), _spy()
    core, other = two_cores()
    with programs(core, other) as field:
        field.start_gateway(nginx)
        chosen = next(one for one in scenarios(field.credentials) if one.name == scenario)
        pair = Pair(chosen, field.contenders[EDGE])
        size = chosen.asks[EDGE].verify(pair.contender.url)
        say(f"recording {pair.who} for {seconds} s")
        with _recording(spy, pair.contender.programs[0].pid, seconds, other) as raw:
            load = seconds + 2 * _LEAD_SECONDS
            result, _ = wrk.run(wrk_path, pair.shot(), seconds=load, connections=_CONNECTIONS, cores=other)
            judge(result, size)
    stacks = parse(raw.pop(), without_thread=_IDLE_THREAD)
    if not stacks:
        raise BenchError("py-spy saw nothing at work")
    folder.mkdir(parents=True, exist_ok=True)
    title = f"noetl-edge, {scenario}: {result.rate:.0f} req/s while {_SAMPLES_PER_SECOND} samples a second were taken"
    file = folder / f"profile-{scenario}.svg"
    file.write_text(flamegraph(stacks, title))
    return f"{title}\n\n{top(stacks)}\n\nWritten: {shown(file)}"


def _spy() -> str:
    beside = Path(sys.executable).with_name("py-spy")
    path = str(beside) if beside.exists() else shutil.which("py-spy")
    if path is None:
        raise Missing("py-spy was not found: run make setup")
    return path


@contextmanager
def _recording(spy: str, pid: int, seconds: int, core: int) -> Iterator[list[str]]:
    """Record while the body runs; afterwards the list holds py-spy's raw output."""
    found: list[str] = []
    with tempfile.TemporaryDirectory(prefix="noetl-edge-profile-") as folder:
        raw = Path(folder) / "raw.txt"
        # Threads are told apart so that one can be left out; idle ones are left out by py-spy, as far as it can tell.
        command = [
            *bound_to(core), spy, "record", "--pid", str(pid), "--duration", str(seconds), "--rate",
            str(_SAMPLES_PER_SECOND), "--format", "raw", "--threads", "--output", str(raw),
        ]  # fmt: skip
        process = subprocess.Popen(
            command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        try:
            yield found
            output, _ = process.communicate(timeout=_EXTRA_SECONDS)
        finally:
            if process.poll() is None:
                process.terminate()
                process.wait()
        if process.returncode != 0 or not raw.exists():
            raise BenchError(f"py-spy failed: {output.strip()[-300:]}")
        found.append(raw.read_text())


def top(stacks: Stacks) -> str:
    """The functions and packages that took the most, and what parsing and validating took."""
    total = sum(stacks.values())
    parts = [
        _shares("function", self_times(stacks), total, _TOP),
        _shares("package", package_times(stacks), total, _TOP_PACKAGES),
        _shares("GraphQL documents", {name: total_time(stacks, name) for name in _DOCUMENTS}, total, len(_DOCUMENTS)),
    ]
    return "\n\n".join(parts)


def _shares(title: str, times: Mapping[str, int], total: int, most: int) -> str:
    found = sorted(times.items(), key=lambda item: -item[1])[:most]
    return columns([[title, "of all samples"], *([name, f"{count / total:.1%}"] for name, count in found)])
