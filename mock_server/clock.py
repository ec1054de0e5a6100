"""The clock of a sandbox, which can be moved, set and stopped; programs read the time only here.

It remembers its last changes, so that what is computed later has the time that it would have had.
"""

from __future__ import annotations

import time
from bisect import bisect_right
from datetime import UTC, datetime
from typing import NamedTuple

MAX_INSTANT = 253_402_300_799.0  # the end of the year 9999
MAX_CHANGES = 100_000


class _Change(NamedTuple):
    """What the clock was set to: when, by the monotonic clock, to which instant, and whether it goes on from there."""

    moment: float
    instant: float
    goes: bool


class Clock:
    """Seconds since 1970, from the system's clock and an offset, or from one instant while the clock is stopped."""

    def __init__(self) -> None:
        self._offset = 0.0
        self._stopped: float | None = None
        self._start: tuple[float, float | None] = (0.0, None)
        self._changes: list[_Change] = []

    def now(self) -> float:
        """Return the time in seconds since 1970. Lifetimes are counted with it too, so moving the clock ends them."""
        return time.time() + self._offset if self._stopped is None else self._stopped

    def later(self, instant: float, began: float, moment: float) -> float:
        """Return what the clock has shown, or will show, at a moment, if it showed an instant at an earlier one.

        Args:
            instant: what it showed, in seconds since 1970.
            began: when it showed that, by `time.monotonic`.
            moment: the moment, by `time.monotonic`.
        """
        if not self._changes:
            return instant + (moment - began)
        before, last = self._before(began), self._before(moment)
        goes = before < 0 or self._changes[before].goes
        known = self._changes[last] if last > before else _Change(began, instant, goes)
        return known.instant + (moment - known.moment if known.goes else 0.0)

    def _before(self, moment: float) -> int:
        """Return the place of the last change until a moment; -1 if there is none."""
        return bisect_right(self._changes, moment, key=lambda change: change.moment) - 1

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
        self._changed()

    def stop(self) -> None:
        """Stop the clock at the current instant."""
        self._stopped = self.now()
        self._changed()

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
        self._changed()

    def _changed(self) -> None:
        self._changes.append(_Change(time.monotonic(), self.now(), self._stopped is None))
        if len(self._changes) > MAX_CHANGES:
            del self._changes[: MAX_CHANGES // 2]
