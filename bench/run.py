"""A whole run: programs started, rounds measured, latencies measured, results put together, programs stopped."""

from __future__ import annotations

import contextlib
import signal
import sys
import tempfile
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from pathlib import Path

from bench import latency, page
from bench.contenders import CONDITIONS, Field
from bench.machine import machine, versions
from bench.measure import Rounds, limits, pairs_of
from bench.programs import ROOT, Cores, find
from bench.results import Delay, Results, Settings
from bench.scenarios import EDGE, LABELS, quick, scenarios

OUT = ROOT / "var" / "bench"


@contextlib.contextmanager
def programs(core: Cores, other_core: Cores) -> Iterator[Field]:
    """An empty field in a folder of its own; all that was started on it is stopped at the end, also on ctrl-C."""
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noetl-edge-bench-")))
        # nginx started by root hands its work to another user, who must get at its folders.
        folder.chmod(0o711)
        # Entered last, so left first: a second ctrl-C must not keep the programs from being stopped.
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        try:
            yield Field(stack, folder, core, other_core)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)


def run(settings: Settings, names: Sequence[str], *, latencies: bool = True) -> Results:
    """Measure the gateway beside nginx and haproxy. Raises BenchError or Missing."""
    nginx, wrk = find("nginx", "nginx-light"), find("wrk", "wrk")
    haproxy = find("haproxy", "haproxy")
    where, begun = machine(), now()
    with programs(settings.core, settings.other_core) as field:
        field.start_gateway(nginx)
        field.start_others(nginx, haproxy)
        chosen = [scenario for scenario in scenarios(field.credentials) if scenario.name in names]
        if settings.quick:
            chosen = [scenario for scenario in map(quick, chosen) if scenario.asks]
        rounds = Rounds(wrk, field, settings, {EDGE}, say)
        tables = rounds.run(chosen)
        failures = [f"{scenario}, {LABELS[name]}: {why}" for (scenario, name), why in rounds.failures.items()]
        delays: tuple[Delay, ...] = ()
        if latencies:
            pairs = [pair for pair in pairs_of(chosen, field) if pair.key not in rounds.failures]
            delays, late_failures = latency.measure(pairs, tables, settings, say)
            failures += late_failures
    return Results(
        measured_at=begun,
        machine=where,
        versions=versions({"nginx": nginx, "haproxy": haproxy, "wrk": wrk}),
        settings=settings,
        tables=tables,
        delays=delays,
        limits=limits(tables),
        conditions=CONDITIONS,
        failures=tuple(failures),
    )


def write(results: Results, folder: Path, prefix: str = "run") -> tuple[Path, Path]:
    """Write the JSON file and the page, named by the time; their paths."""
    folder.mkdir(parents=True, exist_ok=True)
    stamp = results.measured_at.replace(":", "").replace("-", "").replace("+0000", "Z")
    file, html = folder / f"{prefix}-{stamp}.json", folder / f"{prefix}-{stamp}.html"
    file.write_text(results.to_json())
    html.write_text(page.page(results))
    return file, html


def shown(path: Path) -> str:
    """A path as the user would write it."""
    path = path.resolve()
    return str(path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path)


def now() -> str:
    """The time in UTC, to the second."""
    return datetime.now(UTC).isoformat(timespec="seconds")


def say(line: str) -> None:
    """Progress, apart from the report."""
    print(line, file=sys.stderr, flush=True)
