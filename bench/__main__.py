"""The command line: `python -m bench quick --only mix`, `python -m bench compare a.json b.json`.

Exit code 0 with a report, 1 if the measurement failed or something got worse, 2 if it can't start. Starts all it needs
on 127.0.0.1, and stops it again, also on ctrl-C.
"""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import click

from bench import machine, profiling, report
from bench.compare import Verdict, compare
from bench.contenders import CONDITIONS, testbed
from bench.latency import measure as measure_latencies
from bench.measure import Rounds, pairs_of
from bench.programs import ROOT, BenchError, MissingProgram, find_program, two_cores
from bench.results import Results, Settings, load
from bench.scenarios import EDGE, NOT_QUICK, SPECIAL, TITLES, SignedIn, scenarios

_OUT = ROOT / "var" / "bench"
_DEFAULT = tuple(name for name in TITLES if name not in SPECIAL)
FILE = click.Path(path_type=Path)
POSITIVE = click.IntRange(min=1)


class Bench(click.Group):
    """Commands whose errors are lines and exit codes. Without a command it is `run`."""

    def parse_args(self, ctx: click.Context, args: list[str]) -> list[str]:
        known = args and (args[0] in self.commands or args[0] == "--help")
        return super().parse_args(ctx, args if known else ["run", *args])

    def invoke(self, ctx: click.Context) -> Any:
        signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))
        try:
            return super().invoke(ctx)
        except (BenchError, OSError) as error:
            print(f"bench: {'' if isinstance(error, MissingProgram) else 'failed: '}{error}", file=sys.stderr)
            ctx.exit(2 if isinstance(error, MissingProgram) else 1)


@click.group(cls=Bench)
def main() -> None:
    """Measure noetl-edge beside others."""


def measuring(rounds: int) -> Callable[[Callable[..., None]], Callable[..., None]]:
    """Add the options of a measurement to a command."""
    options = (
        click.option("--json", "file", type=FILE, help="Where the results go; a new file in var/bench if not given."),
        click.option("--connections", type=POSITIVE, default=32, show_default=True),
        click.option("--rounds", type=POSITIVE, default=rounds, show_default=True),
        click.option("--seconds", type=POSITIVE, default=1, show_default=True, help="Length of a measurement."),
        click.option("--only", type=click.Choice(list(TITLES)), multiple=True, help="Measure this scenario only."),
    )

    def decorate(command: Callable[..., None]) -> Callable[..., None]:
        for option in options:
            command = option(command)
        return command

    return decorate


@main.command()
@measuring(rounds=5)
@click.option("--latency/--no-latency", default=True, help="Measure latencies at half load too.")
def run(**options: Any) -> None:
    """Measure scenarios beside nginx and others, with latencies (the default)."""
    _run((), **options)


@main.command()
@measuring(rounds=3)
def quick(**options: Any) -> None:
    """Have a rough look: few contenders, no latencies."""
    _run(NOT_QUICK, latency=False, **options)


def _run(
    without: Sequence[str],
    *,
    only: Sequence[str],
    seconds: int,
    rounds: int,
    connections: int,
    latency: bool,
    file: Path | None,
) -> None:
    settings = Settings(seconds, rounds, connections, *two_cores())
    names = only or _DEFAULT
    programs = {"nginx": find_program("nginx", "nginx-light"), "wrk": find_program("wrk", "wrk")}
    surroundings, begun = machine.machine(), datetime.now(UTC).isoformat(timespec="seconds")
    wanted = {name for each in scenarios(SignedIn()) if each.name in names for name in each.requests} - {*without}
    with testbed(settings.core, settings.other_core) as running:
        running.start({EDGE, *wanted})
        chosen = [scenario for scenario in scenarios(running.who) if scenario.name in names]
        measured = Rounds(pairs_of(chosen, running), running.upstream, settings)
        samples = measured.run()
        failures = [f"{pair}: {why}" for pair, why in measured.failures.items()]
        delays, late = measure_latencies(measured.good, samples, settings) if latency else ([], [])
    missing = [f"{name} was not found" for name in sorted(wanted - set(running.contenders))]
    conditions = (*(() if without else CONDITIONS), *running.notes, *missing)
    versions = machine.versions(programs)
    results = Results(begun, surroundings, versions, settings, samples, tuple(delays), conditions, (*failures, *late))
    print(f"\n{report.report(results)}\n")
    if file is None:
        file = _OUT / f"run-{begun.partition('+')[0].replace(':', '').replace('-', '')}.json"
    file.parent.mkdir(parents=True, exist_ok=True)
    file.write_text(results.to_json())
    print(f"Written: {file}")
    sys.exit(1 if results.failures else 0)


@main.command("compare")
@click.argument("before", type=FILE)
@click.argument("after", type=FILE)
def compare_files(before: Path, after: Path) -> None:
    """Print what changed between two runs; exit code 1 if anything got worse."""
    changes = compare(load(before), load(after))
    print(report.comparison(changes))
    sys.exit(1 if any(change.verdict is Verdict.WORSE for change in changes) else 0)


@main.command()
@click.argument("file", type=FILE)
@click.option("--markdown", is_flag=True)
def show(file: Path, markdown: bool) -> None:
    """Print the report of a results file."""
    print(report.report(load(file), report.MARKDOWN if markdown else report.TEXT))


@main.command()
@click.option("--only", type=click.Choice(_DEFAULT), default="mix", show_default=True, help="The scenario.")
@click.option("--seconds", type=POSITIVE, default=10, show_default=True, help="Length of the recording.")
@click.option("--top", is_flag=True, help="Print the functions that take the most time instead.")
def profile(only: str, seconds: int, top: bool) -> None:
    """Record a flame graph of the gateway in a scenario with py-spy."""
    print(profiling.profile(only, seconds, _OUT, top=top))


if __name__ == "__main__":
    main(prog_name="python -m bench")
