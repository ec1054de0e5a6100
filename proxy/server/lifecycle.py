"""The life of a process: which configuration is in force since when, and how it was asked to end."""

from __future__ import annotations

import asyncio
import signal
import time
from dataclasses import dataclass


@dataclass(slots=True)
class Reloads:
    """Which configuration is in force, since when, and whether the last reload worked."""

    fingerprint: str
    at: float
    last_ok: bool = True

    def succeeded(self, fingerprint: str) -> None:
        """A new configuration is in force."""
        self.fingerprint, self.at, self.last_ok = fingerprint, time.time(), True

    def failed(self) -> None:
        """The old configuration stays."""
        self.last_ok = False


class Stop:
    """How the process has been asked to end."""

    def __init__(self) -> None:
        self.asked = asyncio.Event()
        self.at_once = asyncio.Event()
        self.patient = True

    def by_signal(self, name: int) -> None:
        """A signal to the only process: the first says to end, the second to end at once."""
        if self.asked.is_set():
            self.at_once.set()
        self.patient = self.patient and name == signal.SIGTERM
        self.asked.set()

    def hurry(self) -> None:
        """End at once."""
        self.asked.set()
        self.at_once.set()
