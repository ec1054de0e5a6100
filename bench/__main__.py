"""The command line: `python -m bench --quick`. Exit 0 with a report, 1 if the measurement failed, 2 if it can't start.

Starts all it needs on 127.0.0.1, and stops it again, also on ctrl-C.
"""

from __future__ import annotations

import argparse
import contextlib
import json
import signal
import sys
import tempfile
from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from types import FrameType

from bench import report
from bench.contenders import CONDITIONS, Field
from bench.machine import machine, versions
from bench.measure import Settings, measure
from bench.programs import BenchError, Missing, find, two_cores
from bench.scenarios import NAMES, scenarios

_QUICK = (1, 2)
_FULL = (3, 5)


def main(arguments: Sequence[str] | None = None) -> int:
    """Measure and print."""
    options = _parser().parse_args(arguments)
    seconds, rounds = _QUICK if options.quick else _FULL
    core, other = two_cores()
    settings = Settings(options.seconds or seconds, options.rounds or rounds, options.connections, core, other)
    signal.signal(signal.SIGTERM, _leave)
    try:
        return _run(settings, options.only or list(NAMES), options.json)
    except Missing as error:
        print(f"bench: {error}", file=sys.stderr)
        return 2
    except (BenchError, OSError) as error:
        print(f"bench: failed: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("bench: interrupted", file=sys.stderr)
        return 130


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="python -m bench",
        description="Measure noetl-edge side by side with nginx.",
        epilog="Example: python -m bench --only relay --rounds 7 --json relay.json",
    )
    parser.add_argument("--seconds", type=_positive, metavar="N", help=f"length of a measurement ({_FULL[0]})")
    parser.add_argument("--rounds", type=_positive, metavar="N", help=f"how often each is measured ({_FULL[1]})")
    parser.add_argument("--connections", type=_positive, metavar="N", default=32, help="open connections (32)")
    parser.add_argument("--only", choices=NAMES, action="append", metavar="SCENARIO", help=" or ".join(NAMES))
    parser.add_argument("--json", type=Path, metavar="FILE", help="write the numbers of every round to a file")
    parser.add_argument("--quick", action="store_true", help=f"{_QUICK[1]} rounds of {_QUICK[0]} s: a rough look")
    return parser


def _positive(text: str) -> int:
    if not text.isdecimal() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is not a whole number above 0")
    return int(text)


def _leave(number: int, _: FrameType | None) -> None:
    # An exception, so that the programs are stopped on the way out.
    raise SystemExit(128 + number)


def _run(settings: Settings, names: Sequence[str], file: Path | None) -> int:
    nginx, wrk = find("nginx", "nginx-light"), find("wrk", "wrk")
    where, found = machine(), versions(nginx, wrk)
    begun = datetime.now(UTC).isoformat(timespec="seconds")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="noetl-edge-bench-")))
        # nginx started by root hands its work to another user, who must get at its folders.
        folder.chmod(0o711)
        # Entered last, so left first: a second ctrl-C must not keep the programs from being stopped.
        stack.callback(signal.signal, signal.SIGINT, signal.getsignal(signal.SIGINT))
        field = Field(nginx, folder, settings.core, settings.other_core)
        try:
            field.start(stack)
            chosen = [scenario for scenario in scenarios(field.session_token) if scenario.name in names]
            samples = measure(wrk, field, chosen, settings, _say)
        finally:
            signal.signal(signal.SIGINT, signal.SIG_IGN)
    labels = {name: contender.label for name, contender in field.contenders.items()}
    print(f"\n{report.surroundings_text(where, found)}\n")
    print(report.text(chosen, labels, samples, settings, CONDITIONS))
    if file is not None:
        surroundings = {"measured_at": begun, "machine": where, "versions": found}
        document = report.document(chosen, labels, samples, settings, surroundings)
        file.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def _say(line: str) -> None:
    print(line, file=sys.stderr, flush=True)


if __name__ == "__main__":
    sys.exit(main())
