"""How many users there are at a moment of a run: pure functions of the time."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping

Shape = Callable[[float, float, int], float]
"""From seconds since the start, the duration of the run and the number of users, to the share of users."""


def steady(now: float, duration: float, users: int) -> float:
    """All users, as soon as they can be started."""
    return 1.0


def ramp(now: float, duration: float, users: int) -> float:
    """Ever more users for half of the time, then all of them."""
    return min(1.0, max(now, 1.0) / (duration / 2))


def spike(now: float, duration: float, users: int) -> float:
    """A fifth of the users, and all of them in the middle third."""
    return 1.0 if duration / 3 <= now < duration * 2 / 3 else 0.2


def monday_morning(now: float, duration: float, users: int) -> float:
    """Nearly everybody within the first fifth of the time, along an S-shaped curve; the rest comes later."""
    share = 1 / (1 + math.exp(-12 * (now / duration - 0.12) / 0.2))
    return min(1.0, max(0.02, 0.9 * share + 0.1 * now / duration))


SHAPES: Mapping[str, Shape] = {
    "steady": steady,
    "ramp": ramp,
    "spike": spike,
    "monday-morning": monday_morning,
}


def users_at(shape: str, now: float, duration: float, users: int) -> int:
    """Return the number of users at a moment; at least one."""
    return max(1, min(users, round(users * SHAPES[shape](now, duration, users))))
