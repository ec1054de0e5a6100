"""The state of a process: its configuration in use, the result of the last reload, and requests to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass


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
