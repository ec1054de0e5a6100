"""The circuit of one url: open after too many failures, then a probe decides. Pure: the caller brings the time.

It refuses to send into a server that fails, so that it can recover, and lets one request at a time find out.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class CircuitState(StrEnum):
    """Closed lets everything through, open nothing, half-open one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitBreakerSettings:
    """So many failures within `window` seconds open it for `open` seconds."""

    failures: int
    window: float
    open: float


class CircuitBreaker:
    """The state of one url."""

    __slots__ = ("_failed", "_settings", "_until", "state")

    def __init__(self, settings: CircuitBreakerSettings) -> None:
        self._settings = settings
        self._failed: deque[float] = deque(maxlen=settings.failures)
        self._until = 0.0
        self.state = CircuitState.CLOSED

    def would_admit(self, now: float) -> bool:
        """Whether a request may be sent now; nothing changes."""
        return self.state is CircuitState.CLOSED or now >= self._until

    def admit(self, now: float) -> bool:
        """Whether this request is sent; of an open circuit whose time is over the first one is the probe.

        A probe that never tells how it went blocks the next one only for another `open` seconds.
        """
        if self.state is CircuitState.CLOSED:
            return True
        if now < self._until:
            return False
        self.state = CircuitState.HALF_OPEN
        self._until = now + self._settings.open
        return True

    def seconds_until_probe(self, now: float) -> float:
        """How long nothing is sent; 0 if something may be."""
        return 0.0 if self.state is CircuitState.CLOSED else max(0.0, self._until - now)

    def succeeded(self) -> None:
        """A request was answered. What an open circuit hears of older requests does not close it."""
        if self.state is CircuitState.HALF_OPEN:
            self.state = CircuitState.CLOSED
            self._failed.clear()

    def is_well(self, now: float) -> None:
        """A health check succeeded: an open circuit whose time is over needs no other probe."""
        if self.state is not CircuitState.CLOSED and now >= self._until:
            self.state = CircuitState.CLOSED
            self._failed.clear()

    def failed(self, now: float) -> None:
        """A request failed."""
        if self.state is CircuitState.OPEN:
            return
        self._failed.append(now)
        many = len(self._failed) == self._settings.failures and now - self._failed[0] <= self._settings.window
        if many or self.state is CircuitState.HALF_OPEN:
            self.state = CircuitState.OPEN
            self._until = now + self._settings.open
            self._failed.clear()
