"""The state of a process: its configuration in use, the result of the last reload, and requests to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from proxy.config.compile import Compiled

Load = Callable[[], Compiled]
"""Loads the configuration again. Raises ConfigError."""


@dataclass(slots=True)
class Reloads:
    """The configuration in use, the time at which it was loaded, and whether the last reload succeeded."""

    fingerprint: str
    at: float
    last_ok: bool = True

    def succeeded(self, fingerprint: str) -> None:
        """Record a new configuration."""
        self.fingerprint, self.at, self.last_ok = fingerprint, time.time(), True

    def failed(self) -> None:
        """Record a rejected reload."""
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
        parent: a file descriptor that is closed when the supervisor ends; None: there is no supervisor.
    """

    load: Load
    ready: Callable[[str, int], None]
    watch: bool = False
    shared: bool = False
    port: int | None = None
    worker: int = 0
    metrics: Path | None = None
    parent: int | None = None
