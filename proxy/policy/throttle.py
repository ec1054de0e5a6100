"""Failed logins, slowed down: after so many failures each further try has to wait, twice as long each time. Pure.

Counted by the client's address, and by the account only where the token had proved whose it is: counting by a name
that anyone can claim would let anyone lock anyone out.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from proxy.bounded import BoundedCache

MAX_KEYS = 50_000


@dataclass(frozen=True, slots=True)
class ThrottleSettings:
    """`after` failures within `window` seconds; then `delay` seconds, doubled with each failure up to `max_delay`."""

    after: int
    window: float
    delay: float
    max_delay: float


class Throttle:
    """What failed lately. A failure counts until nothing has failed for a window."""

    __slots__ = ("_failed", "_settings")

    def __init__(self, settings: ThrottleSettings, max_keys: int = MAX_KEYS) -> None:
        self._settings = settings
        self._failed: BoundedCache[Hashable, tuple[int, float]] = BoundedCache(max_keys)

    def wait(self, key: Hashable, now: float) -> float:
        """How many seconds the next try has to wait; 0 if none."""
        if not self._settings.after:
            return 0.0
        count, last = self._failed.get(key) or (0, 0.0)
        over = count - self._settings.after
        if over < 0 or now - last >= self._settings.window:
            return 0.0
        delay = min(self._settings.max_delay, self._settings.delay * float(1 << min(over, 30)))
        return max(0.0, last + delay - now)

    def failed(self, key: Hashable, now: float) -> None:
        """A try failed."""
        count, last = self._failed.get(key) or (0, now)
        self._failed.put(key, (1 if now - last >= self._settings.window else count + 1, now))

    def succeeded(self, key: Hashable) -> None:
        """A try succeeded: what failed before is forgotten."""
        self._failed.drop(key)
