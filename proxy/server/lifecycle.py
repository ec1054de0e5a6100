"""The state of a process: its configuration in use, the result of the last reload, and requests to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from proxy.config.compile import Compiled
from proxy.observe.logs import get_logger

Load = Callable[[], Compiled]
"""Loads the configuration again. Raises ConfigError."""
Report = Callable[[str, Sequence[str]], None]
"""Receives the result of a reload: the fingerprint of the configuration in use, and the problems of a refused one."""


def no_report(fingerprint: str, problems: Sequence[str]) -> None:
    """Do nothing: nobody waits for results of reloads."""


def log_rejection(still: str, problems: tuple[str, ...], reason: str) -> tuple[str, ...]:
    """Log why a configuration was rejected, and return the reasons.

    Args:
        still: the fingerprint of the configuration that stays in use.
        problems: the mistakes in the configuration.
        reason: another reason, if there are no mistakes.
    """
    log = get_logger()
    for problem in problems:
        log.error("reload.problem", problem=problem)
    why = {"reason": reason} if reason else {"problems": len(problems)}
    log.error("reload.rejected", still=still, **why)
    return problems or (reason,)


@dataclass(slots=True)
class Reloads:
    """The configuration in use, when it was loaded, whether the last reload succeeded, and how many did."""

    fingerprint: str
    at: float
    last_ok: bool = True
    counts: dict[str, int] = field(default_factory=lambda: {"success": 0, "refused": 0})

    def succeeded(self, fingerprint: str) -> None:
        """Record a new configuration."""
        self.fingerprint, self.at, self.last_ok = fingerprint, time.time(), True
        self.counts["success"] += 1

    def failed(self) -> None:
        """Record a rejected reload."""
        self.counts["refused"] += 1
        self.last_ok = False


class Stop:
    """The requests to stop the process: `requested`, and `immediately` to skip the drain."""

    def __init__(self) -> None:
        self.requested = asyncio.Event()
        self.immediately = asyncio.Event()
        self.keep_idle = True

    def on_signal(self, name: int) -> None:
        """Handle a signal without a supervisor: the first one starts the drain, the second one skips it."""
        if self.requested.is_set():
            self.immediately.set()
        self.keep_idle = self.keep_idle and name == signal.SIGTERM
        self.requested.set()

    def stop_now(self) -> None:
        """Stop without a drain."""
        self.requested.set()
        self.immediately.set()


@dataclass(frozen=True, slots=True)
class Running:
    """How a process runs.

    Args:
        load: loads the configuration again.
        ready: is called with host and port when the process serves.
        watch: True to reload when the files of the configuration change.
        shared: True if other processes listen on the same port.
        port: the port; None: the port of the configuration.
        worker: the number of this worker.
        metrics: the folder with the metrics of all workers; None: do not share them.
        report: receives the result of each reload.
        parent: a file descriptor that is closed when the supervisor ends; None: there is no supervisor.
    """

    load: Load
    ready: Callable[[str, int], None]
    watch: bool = False
    shared: bool = False
    port: int | None = None
    worker: int = 0
    metrics: Path | None = None
    report: Report = no_report
    parent: int | None = None
