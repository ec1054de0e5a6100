"""What each command does: from its options to its exit code."""

from __future__ import annotations

import argparse
from pathlib import Path

from bench import idle, large, page, profiling, report, rivals, sessions, verdict, workers
from bench import run as runs
from bench.programs import two_cores
from bench.results import Results, Settings, load
from bench.scenarios import NAMES

_SECONDS, _ROUNDS, _QUICK_ROUNDS = 1, 5, 3
# As many as a verdict needs.
_GATE_ROUNDS = 5


def settings_of(options: argparse.Namespace) -> Settings:
    """The settings of a run; what is not given has a default."""
    quick = bool(getattr(options, "quick", False))
    rounds = options.rounds or (_QUICK_ROUNDS if quick else _ROUNDS)
    return Settings(options.seconds or _SECONDS, rounds, options.connections, *two_cores(), quick)


def run(options: argparse.Namespace) -> int:
    """`run`: measure, print, write."""
    results = runs.run(settings_of(options), options.only or list(NAMES), latencies=not options.no_latency)
    return _tell(results, options.out, options.json)


def graphql(options: argparse.Namespace) -> int:
    """`graphql`: the same beside other GraphQL servers."""
    results = rivals.run(settings_of(options))
    return _tell(results, options.out, options.json, "graphql")


def _tell(results: Results, out: Path, file: Path | None, prefix: str = "run") -> int:
    print(f"\n{report.text(results)}\n")
    written = runs.write(results, out, prefix)
    if file is not None:
        file.write_text(results.to_json())
    print("Written: " + ", ".join(runs.shown(path) for path in written))
    return 1 if results.failures else 0


def compare(options: argparse.Namespace) -> int:
    """`compare`: verdicts; 1 if anything got worse."""
    return _judge(load(options.before), load(options.after))


def gate(options: argparse.Namespace) -> int:
    """`gate`: a quick run against a baseline; 1 if anything got worse."""
    baseline = load(options.baseline)
    settings = Settings(_SECONDS, _GATE_ROUNDS, baseline.settings.connections, *two_cores(), quick=True)
    results = runs.run(settings, list(NAMES), latencies=False)
    runs.write(results, options.out, "gate")
    # What a quick run leaves out is no news.
    code = _judge(baseline.only([table.scenario for table in results.tables]), results)
    print("".join(f"failed: {failure}\n" for failure in results.failures), end="")
    return 1 if results.failures else code


def _judge(before: Results, after: Results) -> int:
    found = verdict.compare(before, after)
    print(report.comparison(found))
    return 1 if any(one.verdict is verdict.Verdict.WORSE for one in found) else 0


def show(options: argparse.Namespace) -> int:
    """`show`: the report of a file, once more."""
    results = load(options.file)
    if options.html:
        options.html.write_text(page.page(results))
    else:
        print(report.markdown(results) if options.markdown else report.text(results))
    return 0


def profile(options: argparse.Namespace) -> int:
    """`profile`: a flame graph, and the functions that take the most time."""
    print(profiling.profile(options.only, options.seconds, options.out))
    return 0


def several_workers(options: argparse.Namespace) -> int:
    """`workers`: what more workers bring."""
    print(f"\n{workers.run(options.workers)}")
    return 0


def idle_connections(options: argparse.Namespace) -> int:
    """`idle`: what idle connections cost."""
    print(f"\n{idle.run(options.connections)}")
    return 0


def stored_sessions(options: argparse.Namespace) -> int:
    """`sessions`: what many stored sessions cost."""
    print(f"\n{sessions.run(options.count)}")
    return 0


def large_bodies(options: argparse.Namespace) -> int:
    """`large`: whether large bodies arrive, and what they cost."""
    print(f"\n{large.run(options.mib)}")
    return 0
