"""The one bounded cache: it never holds more than a number of entries, nor more than a number of bytes. Pure.

Two generations: a full one becomes the old one, and what was not used since is dropped with it.
"""

from __future__ import annotations

from collections.abc import Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(dict[K, V | None], Generic[K, V]):
    """Holds at least the entries used last, and at most twice as many. `cache[key]` is None for a missing key.

    The dictionary itself is the young generation, so that reading from it costs nothing more.

    Args:
        entries: the size of a generation.
        max_bytes: the most bytes of a generation, by the sizes given to `put`; None is no limit.
        exact: `entries` is the size of both generations together instead.
    """

    __slots__ = ("_bytes", "_entries", "_max_bytes", "_most", "_old", "_sizes")

    def __init__(self, entries: int, max_bytes: int | None = None, *, exact: bool = False) -> None:
        super().__init__()
        self._most = entries if exact else 2 * entries
        self._entries = -(-self._most // 2)
        self._max_bytes = max_bytes
        self._bytes = 0
        self._old: dict[K, V | None] = {}
        self._sizes: dict[K, int] = {}

    def __missing__(self, key: K) -> V | None:
        """Return the value of a key of the old generation, which is kept by that; None for a missing key."""
        found = self._old.get(key)
        if found is not None:
            self.put(key, found, self._sizes.get(key, 0))
        return found

    def get(self, key: K, default: V | None = None) -> V | None:  # type: ignore[override]
        """Return the value of a key in either generation."""
        found = self[key]
        return default if found is None else found

    def __len__(self) -> int:
        return len(self.all())

    def put(self, key: K, value: V, size: int = 0) -> None:
        """Keep a value. `size` is in bytes; a value larger than a whole generation is not kept."""
        if self._max_bytes is not None and size > self._max_bytes:
            return
        full = dict.__len__(self) >= self._entries and key not in self
        if full or (self._max_bytes is not None and self._bytes + size > self._max_bytes):
            self._age()
        if self._max_bytes is not None:
            self._bytes += size
            self._sizes[key] = size
        self[key] = value
        self._old.pop(key, None)
        if dict.__len__(self) + len(self._old) > self._most:
            del self._old[next(iter(self._old))]

    def _age(self) -> None:
        self._old, self._bytes = dict(self), 0
        dict.clear(self)
        self._sizes = {key: self._sizes[key] for key in self._old if key in self._sizes}

    def drop(self, key: K) -> None:
        """Remove a key."""
        self.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Remove everything."""
        dict.clear(self)
        self._old, self._sizes, self._bytes = {}, {}, 0

    def all(self) -> set[K]:
        """Return the keys of both generations."""
        return self.keys() | self._old.keys()
