"""The clock of a sandbox, which can be moved, set and stopped; programs read the time only here."""

from __future__ import annotations

import time
from datetime import UTC, datetime

MAX_INSTANT = 253_402_300_799.0  # the end of the year 9999


class Clock:
    """Seconds since 1970, from the system's clock and an offset, or from one instant while the clock is stopped."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._stopped: float | None = None
        self._start: tuple[float, float | None] = (0.0, None)

    def now(self) -> float:
        """Return the time in seconds since 1970. Lifetimes are counted with it too, so moving the clock ends them."""
        return time.time() + self._offset if self._stopped is None else self._stopped

    def moment(self) -> datetime:
        """Return the time as an aware datetime in UTC."""
        return datetime.fromtimestamp(self.now(), UTC)

    @property
    def stopped(self) -> bool:
        """True while the clock is stopped."""
        return self._stopped is not None

    @property
    def offset(self) -> float:
        """The seconds that the clock is ahead of the system's."""
        return self.now() - time.time()

    def move(self, seconds: float) -> None:
        """Move the clock; negative seconds move it back. Raises ValueError if it leaves the years 1970 to 9999."""
        self.set(self.now() + seconds)

    def set(self, instant: float) -> None:
        """Set the clock, which goes on from there unless it is stopped. Raises ValueError as `move` does."""
        if not 0.0 <= instant <= MAX_INSTANT:
            raise ValueError("the clock must stay in the years 1970 to 9999")
        if self._stopped is None:
            self._offset = instant - time.time()
        else:
            self._stopped = instant

    def stop(self) -> None:
        """Stop the clock at the current instant."""
        self._stopped = self.now()

    def go_on(self) -> None:
        """Let a stopped clock go on from where it is."""
        if self._stopped is not None:
            instant, self._stopped = self._stopped, None
            self.set(instant)

    def is_the_start(self) -> None:
        """Let `reset` return to the clock as it is now."""
        self._start = (self._offset, self._stopped)

    def reset(self) -> None:
        """Return to the system's clock, or to the one of the start."""
        self._offset, self._stopped = self._start
