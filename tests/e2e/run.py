"""The published guide against the gateway and both sandboxes: `python -m tests.e2e.run`. Exit 0 if all steps pass."""

from __future__ import annotations

import argparse
import secrets
import signal
import sys
import time
from types import FrameType

from tests.e2e.processes import Programs, StartFailed
from tests.e2e.steps import STEPS, Stage, Step
from tests.redis_server import NoServer

DIALECTS = ("python", "rust")
STORES = {"file": "sessions in a folder", "memory": "sessions in memory", "redis": "sessions in Redis"}
PROVIDERS = ("local", "playbook")


def main() -> int:
    """Run one pass per dialect and print a line per step."""
    parser = argparse.ArgumentParser(prog="python -m tests.e2e.run", description=__doc__)
    parser.add_argument("--dialect", choices=DIALECTS, help="only against a NoETL server of this kind")
    parser.add_argument("--provider", choices=PROVIDERS, default="local", help="who makes the sessions")
    parser.add_argument("--store", choices=STORES, default="file", help="where the gateway has its sessions")
    asked = parser.parse_args()
    chosen = asked.dialect
    signal.signal(signal.SIGTERM, _leave)
    began = time.monotonic()
    failed = 0
    dialects = (chosen,) if chosen else DIALECTS
    for dialect in dialects:
        try:
            failed += _run_pass(dialect, asked.provider, asked.store)
        except NoServer as error:
            print(f"FAIL        {error}", file=sys.stderr)
            return 2
    total = len(STEPS) * len(dialects)
    print(f"\n{total - failed} of {total} steps passed in {time.monotonic() - began:.1f} s")
    return 1 if failed else 0


def _leave(number: int, _: FrameType | None) -> None:
    # An exception, so that the programs are stopped on the way out.
    raise SystemExit(128 + number)


def _run_pass(dialect: str, provider: str, store: str) -> int:
    print(f"\nAgainst a NoETL server of the {dialect} kind, provider: {provider}, {STORES[store]}", flush=True)
    with Programs(dialect, secrets.token_urlsafe(18), provider, store) as programs:
        try:
            programs.start()
        except StartFailed as error:
            print(f"FAIL        start: {error}")
            _print_logs(programs)
            return len(STEPS)
        stage = Stage(programs, dialect, provider)
        try:
            with stage.leaks.listening():
                failed = sum(not _run_step(stage, step) for step in STEPS)
        finally:
            stage.close()
        if failed:
            _print_logs(programs)
    return failed


def _run_step(stage: Stage, step: Step) -> bool:
    began = time.monotonic()
    try:
        step.run(stage)
    except Exception as error:
        reason = str(error) or type(error).__name__
        if not isinstance(error, AssertionError):
            reason = f"{type(error).__name__}: {reason}"
        print(f"FAIL {time.monotonic() - began:6.3f}s  {step.name}: {reason}", flush=True)
        return False
    remark, stage.remark = stage.remark, ""
    print(f"ok   {time.monotonic() - began:6.3f}s  {step.name}{f': {remark}' if remark else ''}", flush=True)
    return True


def _print_logs(programs: Programs) -> None:
    for program in programs.all:
        print(f"\n--- the end of {program.name}'s log\n{program.tail()}")


if __name__ == "__main__":
    sys.exit(main())
