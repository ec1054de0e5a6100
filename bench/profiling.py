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
_TOP, _CONNECTIONS, _EXTRA_SECONDS = 40, 32, 30


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
        running.start({EDGE})
        chosen = next(each for each in scenarios(running.who) if each.name == name)
        (pair,) = pairs_of([Scenario(name, "", {EDGE: chosen.requests[EDGE]})], running)
        wrk.run(pair.program, pair.file, seconds=1, connections=_CONNECTIONS, cores=other)
        command = [*pinned(other), spy, "record", "--pid", str(pair.program.pid), "--duration", str(seconds)]
        command += ["--rate", "250", "--format", "raw" if top else "flamegraph", "--output", str(file)]
        say(f"recording {name} for {seconds} s")
        with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:
            load = wrk.run(pair.program, pair.file, seconds=seconds + 2, connections=_CONNECTIONS, cores=other)
            output, _ = process.communicate(timeout=_EXTRA_SECONDS)
        if process.returncode != 0:
            raise BenchError(f"py-spy failed: {output.strip()[-300:]}")
    title = f"{name}: {load.rate:.0f} req/s while it was recorded"
    return f"{title}\n\n{most(file.read_text())}" if top else f"{title}\nWritten: {file}"


def most(raw: str) -> str:
    """Return the functions that were on top of the stack most often, with their share."""
    counts = Counter[str]()
    for line in raw.splitlines():
        stack, _, count = line.rpartition(" ")
        # "name (path.py:12)": all lines of a function are counted together.
        counts[stack.rpartition(";")[2].rpartition(":")[0] + ")"] += int(count)
    del counts[_IDLE]
    rows = [[name, f"{count / counts.total():.1%}"] for name, count in counts.most_common(_TOP)]
    return report.grid(["", "share"], rows)
