"""Where the gateway's time goes in a scenario: py-spy records it under load."""

from __future__ import annotations

import subprocess
import sys
from collections import Counter
from pathlib import Path

from bench import report, wrk
from bench.contenders import testbed
from bench.measure import pairs_of
from bench.programs import BenchError, find_program, pinned, say, two_cores
from bench.scenarios import EDGE, Scenario, scenarios

# The thread that writes sessions, while it has nothing to write.
_IDLE = "_worker (concurrent/futures/thread.py)"
_TOP, _SAMPLES_PER_SECOND, _CONNECTIONS, _EXTRA_SECONDS = 40, 250, 32, 30


def profile(name: str, seconds: int, folder: Path, *, top: bool = False) -> str:
    """Record a scenario. Return the path of the flame graph, or with `top` the functions that take the most time.

    Raises:
        BenchError: a program failed or is not installed.
    """
    spy = find_program("py-spy", "py-spy, or run make setup", str(Path(sys.executable).parent))
    core, other = two_cores()
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / f"profile-{name}.{'txt' if top else 'svg'}"
    with testbed(core, other) as running:
        running.start((), many_users=name == "mix_many_users")
        chosen = next(each for each in scenarios(running.who) if each.name == name)
        (pair,) = pairs_of([Scenario(name, chosen.title, {EDGE: chosen.requests[EDGE]})], running)
        gateway = pair.program
        wrk.run(gateway, pair.file, seconds=1, connections=_CONNECTIONS, cores=other)
        command = [
            *pinned(other), spy, "record", "--pid", str(gateway.pid), "--duration", str(seconds), "--format",
            "raw" if top else "flamegraph", "--rate", str(_SAMPLES_PER_SECOND), "--output", str(file),
        ]  # fmt: skip
        say(f"recording {name} for {seconds} s")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            load = wrk.run(gateway, pair.file, seconds=seconds + 2, connections=_CONNECTIONS, cores=other)
            output, _ = process.communicate(timeout=_EXTRA_SECONDS)
        if process.returncode != 0:
            raise BenchError(f"py-spy failed: {output.strip()[-300:]}")
    title = f"{name}: {load.rate:.0f} req/s while it was recorded"
    return f"{title}\n\n{most(file.read_text())}" if top else f"{title}\nWritten: {file}"


def most(raw: str) -> str:
    """Return the functions that were on top of the stack, and those that were anywhere in it, by their share."""
    own, total = Counter[str](), Counter[str]()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        # "name (path.py:12)": all lines of a function are counted together.
        functions = [frame.rpartition(":")[0] + ")" if ":" in frame else frame for frame in stack.split(";")]
        if functions[-1] == _IDLE:
            continue
        own[functions[-1]] += int(count)
        total.update({function: int(count) for function in functions})
    every = sum(own.values()) or 1
    return "\n\n".join(
        report.grid(["", title], [[name, f"{count / every:.1%}"] for name, count in counts.most_common(_TOP)])
        for title, counts in (("itself", own), ("with what it calls", total))
    )
