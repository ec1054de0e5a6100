"""The command line: `python -m bench --quick`, `python -m bench compare a.json b.json`.

Exit 0 with a report, 1 if the measurement failed or something got worse, 2 if it can't start. Starts all it needs on
127.0.0.1, and stops it again, also on ctrl-C.
"""

from __future__ import annotations

import argparse
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from types import FrameType
from typing import TYPE_CHECKING

from bench import commands
from bench.programs import BenchError, Missing
from bench.run import OUT
from bench.scenarios import NAMES

_COMMANDS = ("run", "compare", "gate", "show", "profile", "graphql", "workers", "idle", "large", "sessions")
if TYPE_CHECKING:
    Subparsers = argparse._SubParsersAction[argparse.ArgumentParser]


def main(arguments: Sequence[str] | None = None) -> int:
    """Do what is asked for."""
    given = list(sys.argv[1:] if arguments is None else arguments)
    if not given or (given[0] not in _COMMANDS and given[0] not in ("-h", "--help")):
        given.insert(0, "run")
    options = parser().parse_args(given)
    signal.signal(signal.SIGTERM, _leave)
    try:
        code: int = options.do(options)
    except Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except (BenchError, OSError) as error:
        print(f"bench: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130
    return code


def parser() -> argparse.ArgumentParser:
    """All commands with their options."""
    top = argparse.ArgumentParser(prog="python -m bench", description="Measure noetl-edge beside what else there is.")
    commands_ = top.add_subparsers(metavar="COMMAND", required=True)
    _comparisons(commands_)
    _of_files(commands_)
    _of_the_gateway_alone(commands_)
    return top


def _comparisons(subparsers: Subparsers) -> None:
    run = subparsers.add_parser("run", help="measure beside nginx and haproxy (the default)")
    _measuring(run)
    run.add_argument("--only", choices=NAMES, action="append", metavar="SCENARIO", help=" or ".join(NAMES))
    run.add_argument("--quick", action="store_true", help="few contenders and rates: a rough look in under a minute")
    run.add_argument("--no-latency", action="store_true", help="peaks only")
    run.set_defaults(do=commands.run)
    graphql = subparsers.add_parser("graphql", help="executionStatus beside other GraphQL servers")
    _measuring(graphql)
    graphql.set_defaults(do=commands.graphql)
    gate = subparsers.add_parser("gate", help="for CI: a quick run, exit 1 if it is worse than the baseline")
    gate.add_argument("--baseline", type=Path, required=True, metavar="FILE", help="the JSON file of a run")
    gate.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where the reports go (var/bench)")
    gate.set_defaults(do=commands.gate)


def _of_files(subparsers: Subparsers) -> None:
    compare = subparsers.add_parser("compare", help="what changed between two runs; exit 1 if anything got worse")
    compare.add_argument("before", type=Path)
    compare.add_argument("after", type=Path)
    compare.set_defaults(do=commands.compare)
    show = subparsers.add_parser("show", help="print the report of a JSON file again")
    show.add_argument("file", type=Path)
    show.add_argument("--markdown", action="store_true", help="only the tables, for docs/performance.md")
    show.add_argument("--html", type=Path, metavar="FILE", help="write the page instead")
    show.set_defaults(do=commands.show)


def _of_the_gateway_alone(subparsers: Subparsers) -> None:
    profile = subparsers.add_parser("profile", help="where the gateway's time goes in a scenario")
    profile.add_argument("--seconds", type=positive, metavar="N", default=10, help="length of the recording (10)")
    profile.add_argument("--only", choices=NAMES, metavar="SCENARIO", default="relay", help="another one than relay")
    profile.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where the picture goes (var/bench)")
    profile.set_defaults(do=commands.profile)
    several = subparsers.add_parser("workers", help="N workers on N cores beside one on one")
    several.add_argument("--workers", type=positive, metavar="N", default=2, help="how many (2)")
    several.set_defaults(do=commands.several_workers)
    idle = subparsers.add_parser("idle", help="what idle connections cost in memory, and the active ones in latency")
    idle.add_argument("--connections", type=positive, metavar="N", default=10_000, help="how many (10000)")
    idle.set_defaults(do=commands.idle_connections)
    large = subparsers.add_parser("large", help="a large download and upload: intact, and with how much memory")
    large.add_argument("--mib", type=positive, metavar="N", default=1024, help="size of each (1024)")
    large.set_defaults(do=commands.large_bodies)
    sessions = subparsers.add_parser("sessions", help="many stored sessions: the start with them, and a lookup")
    sessions.add_argument("--count", type=positive, metavar="N", default=100_000, help="how many (100000)")
    sessions.set_defaults(do=commands.stored_sessions)


def _measuring(command: argparse.ArgumentParser) -> None:
    command.add_argument("--seconds", type=positive, metavar="N", help="length of a measurement (1)")
    command.add_argument("--rounds", type=positive, metavar="N", help="how often each is measured (5; --quick: 3)")
    command.add_argument("--connections", type=positive, metavar="N", default=32, help="open connections (32)")
    command.add_argument("--json", type=Path, metavar="FILE", help="write the JSON file there too")
    command.add_argument("--out", type=Path, default=OUT, metavar="FOLDER", help="where the reports go (var/bench)")


def positive(text: str) -> int:
    """A whole number above 0."""
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _leave(number: int, _: FrameType | None) -> None:
    # An exception, so that the programs are stopped on the way out.
    raise SystemExit(128 + number)


if __name__ == "__main__":
    sys.exit(main())
