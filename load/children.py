"""Child processes in process groups of their own: ctrl-C reaches the runner only, which decides how they end.

None of them outlives the runner: what still runs when it exits is killed, with its own children.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
from collections.abc import Mapping, Sequence
from contextlib import suppress
from typing import IO

from load.settings import ROOT

_STARTED: list[subprocess.Popen[bytes]] = []


def start(command: Sequence[str], environment: Mapping[str, str], log: IO[bytes]) -> subprocess.Popen[bytes]:
    """Start a program in the folder of the project, with both outputs in a log."""
    process = subprocess.Popen(
        command,
        cwd=ROOT,
        env=dict(environment),
        stdin=subprocess.DEVNULL,
        stdout=log,
        stderr=subprocess.STDOUT,
        process_group=0,
    )
    _STARTED[:] = [process, *(each for each in _STARTED if each.poll() is None)]
    return process


def kill_all() -> None:
    """Kill what still runs, at once."""
    for process in _STARTED:
        if process.poll() is None:
            with suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)


def end_by_signals() -> None:
    """End by signals in order: ctrl-C once, SIGTERM and SIGHUP clean up; ctrl-C twice ends everything at once.

    A signal that is ignored, as by `nohup`, stays ignored.
    """
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) != signal.SIG_IGN:
            signal.signal(number, _interrupt if number == signal.SIGINT else _exit)


def _interrupt(*_: object) -> None:
    signal.signal(signal.SIGINT, _end_at_once)
    raise KeyboardInterrupt


def _end_at_once(*_: object) -> None:
    kill_all()
    os.write(2, b"load: ended at once\n")
    os._exit(128 + signal.SIGINT)


def _exit(number: int, _: object) -> None:
    raise SystemExit(128 + number)


atexit.register(kill_all)
