"""Delays after failed logins: after a number of failures each further attempt must wait, twice as long each time. Pure.

Failures are counted per client address. They are counted per account only if the token's signature was valid: otherwise
an attacker could lock any account by sending its name.
"""

from __future__ import annotations

from collections.abc import Hashable
from dataclasses import dataclass

from proxy.bounded import BoundedCache

MAX_KEYS = 50_000


@dataclass(frozen=True, slots=True)
class ThrottleSettings:
    """A delay of `delay` seconds after `after` failures, doubled with each failure up to `max_delay` seconds; failures
    count until there was none for `window` seconds."""

    after: int
    window: float
    delay: float
    max_delay: float


class Throttle:
    """The failures of each key."""

    __slots__ = ("_failed", "_settings")

    def __init__(self, settings: ThrottleSettings, max_keys: int = MAX_KEYS) -> None:
        self._settings = settings
        self._failed: BoundedCache[Hashable, tuple[int, float]] = BoundedCache(max_keys)

    def wait(self, key: Hashable, now: float) -> float:
        """Return the seconds until the next attempt is allowed; 0 if it is allowed now."""
        if not self._settings.after:
            return 0.0
        count, last = self._failed.get(key) or (0, 0.0)
        over = count - self._settings.after
        if over < 0 or now - last >= self._settings.window:
            return 0.0
        delay = min(self._settings.max_delay, self._settings.delay * float(1 << min(over, 30)))
        return max(0.0, last + delay - now)

    def failed(self, key: Hashable, now: float) -> None:
        """Count a failed attempt."""
        count, last = self._failed.get(key) or (0, now)
        self._failed.put(key, (1 if now - last >= self._settings.window else count + 1, now))

    def succeeded(self, key: Hashable) -> None:
        """Reset the failures of a key after a successful attempt."""
        self._failed.drop(key)
