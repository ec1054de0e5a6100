"""What was measured, second by second and operation by operation: counts, errors by kind, and durations in buckets.

Buckets grow by a twentieth, so that a quantile is right within 5 %, and windows of many processes can be added up.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import Any

GROWTH = 1.05
FIRST_SECONDS = 0.0001
MAX_WINDOWS = 1_000_000
WAITS = frozenset({"result by events", "result by polling"})
"""Operations that are no requests: waits for the result of a playbook, over several requests. `*` leaves them out."""


def bucket_of(seconds: float) -> int:
    """Return the bucket of a duration."""
    return 0 if seconds <= FIRST_SECONDS else math.ceil(math.log(seconds / FIRST_SECONDS) / math.log(GROWTH))


def seconds_of(bucket: int) -> float:
    """Return the upper end of a bucket."""
    return FIRST_SECONDS * GROWTH**bucket


@dataclass(slots=True)
class Window:
    """One operation in one second."""

    buckets: Counter[int] = field(default_factory=Counter)
    errors: Counter[str] = field(default_factory=Counter)

    @property
    def count(self) -> int:
        """The number of requests."""
        return self.buckets.total()


class Windows:
    """All windows of a run, and the counters of the users."""

    def __init__(self) -> None:
        self.windows: dict[tuple[int, str], Window] = {}
        self.counters: Counter[str] = Counter()

    def add(self, at: float, operation: str, seconds: float, error: str = "") -> None:
        """Add a request, at seconds since 1970."""
        key = (int(at), operation)
        window = self.windows.get(key)
        if window is None:
            if len(self.windows) >= MAX_WINDOWS:
                return
            window = self.windows[key] = Window()
        window.buckets[bucket_of(seconds)] += 1
        if error:
            window.errors[error] += 1

    def take(self) -> dict[str, Any]:
        """Return everything as JSON data, and begin anew."""
        rows = [
            [at, operation, dict(window.buckets), dict(window.errors)]
            for (at, operation), window in self.windows.items()
        ]
        data = {"windows": rows, "counters": dict(self.counters)}
        self.windows, self.counters = {}, Counter()
        return data

    def merge(self, data: dict[str, Any]) -> None:
        """Add what `take` has returned, here or in another process."""
        for at, operation, buckets, errors in data.get("windows", []):
            window = self.windows.setdefault((int(at), operation), Window())
            window.buckets.update({int(bucket): count for bucket, count in buckets.items()})
            window.errors.update(errors)
        self.counters.update(data.get("counters", {}))

    def select(self, operation: str, wanted: Callable[[int], bool]) -> Window:
        """Return the sum over some seconds; of all requests for `*`, without waits."""
        total = Window()
        for (at, name), window in self.windows.items():
            if (name == operation or (operation == "*" and name not in WAITS)) and wanted(at):
                total.buckets.update(window.buckets)
                total.errors.update(window.errors)
        return total

    @property
    def operations(self) -> list[str]:
        """The operations, in the order of their names; waits are behind requests."""
        return sorted({operation for _, operation in self.windows}, key=lambda name: (name in WAITS, name))

    @property
    def span(self) -> tuple[int, int]:
        """The first and the last second."""
        moments = [at for at, _ in self.windows]
        return (min(moments), max(moments)) if moments else (0, 0)


def quantile(buckets: Counter[int], share: float) -> float | None:
    """Return a quantile in seconds; None if there is nothing."""
    total = buckets.total()
    if not total:
        return None
    rank, seen = max(1, math.ceil(share * total)), 0
    for bucket in sorted(buckets):
        seen += buckets[bucket]
        if seen >= rank:
            return seconds_of(bucket)
    return None


def grouped(windows: Windows, seconds: int) -> Iterable[tuple[int, dict[str, Window]]]:
    """Return the windows, added up over groups of seconds, by operation."""
    groups: dict[int, dict[str, Window]] = {}
    for (at, operation), window in windows.windows.items():
        group = groups.setdefault(at - at % seconds, {}).setdefault(operation, Window())
        group.buckets.update(window.buckets)
        group.errors.update(window.errors)
    return sorted(groups.items())
