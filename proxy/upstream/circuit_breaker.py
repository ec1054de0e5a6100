"""The circuit breaker of one url: opens after many failures, then admits one probe at a time. Pure.

An open circuit stops the requests to a failing server, so that the server can recover. The caller passes the time.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass
from enum import StrEnum


class CircuitState(StrEnum):
    """The state of a circuit: closed admits all requests, open none, half-open one probe."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half_open"


@dataclass(frozen=True, slots=True)
class CircuitBreakerSettings:
    """The settings of a circuit breaker: `failures` within `window` seconds open it for `open` seconds."""

    failures: int
    window: float
    open: float


_HALF_OPEN = CircuitState.HALF_OPEN


class CircuitBreaker:
    """The circuit breaker of one url. `now` is the time of the event loop, in seconds."""

    __slots__ = ("_failed", "_settings", "_until", "state")

    def __init__(self, settings: CircuitBreakerSettings) -> None:
        self._settings = settings
        self._failed: deque[float] = deque(maxlen=settings.failures)
        self._until = 0.0
        self.state = CircuitState.CLOSED

    def would_admit(self, now: float) -> bool:
        """Return True if `admit` would admit a request. This does not change the state."""
        return self.state is CircuitState.CLOSED or now >= self._until

    def admit(self, now: float) -> bool:
        """Return True if this request may be sent. After the open time, the first request becomes the probe.

        A probe without a result blocks the next probe for another `open` seconds.
        """
        if self.state is CircuitState.CLOSED:
            return True
        if now < self._until:
            return False
        self.state = CircuitState.HALF_OPEN
        self._until = now + self._settings.open
        return True

    def seconds_until_probe(self, now: float) -> float:
        """Return the seconds until a request may be sent; 0 if it may be sent now."""
        return 0.0 if self.state is CircuitState.CLOSED else max(0.0, self._until - now)

    def succeeded(self) -> None:
        """Record a successful request. It closes a half-open circuit, but not an open one (an older request)."""
        if self.state is _HALF_OPEN:
            self.state = CircuitState.CLOSED
            self._failed.clear()

    def health_check_succeeded(self, now: float) -> None:
        """Record a successful health check. It replaces the probe of a circuit after its open time."""
        if self.state is not CircuitState.CLOSED and now >= self._until:
            self.state = CircuitState.CLOSED
            self._failed.clear()

    def failed(self, now: float) -> None:
        """Record a failed request."""
        if self.state is CircuitState.OPEN:
            return
        self._failed.append(now)
        too_many = len(self._failed) == self._settings.failures and now - self._failed[0] <= self._settings.window
        if too_many or self.state is CircuitState.HALF_OPEN:
            self.state = CircuitState.OPEN
            self._until = now + self._settings.open
            self._failed.clear()
