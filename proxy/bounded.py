"""The one bounded cache: it never holds more than a number of entries, nor more than a number of bytes. Pure.

Two generations: a full one becomes the old one, and what was not used since is dropped with it.
"""

from __future__ import annotations

from collections.abc import Hashable, Iterator
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
V = TypeVar("V")


class BoundedCache(Generic[K, V]):
    """Holds at least the entries used last, and at most twice as many.

    Args:
        entries: the size of a generation.
        max_bytes: the most bytes of a generation, as far as `put` is told sizes; None is no limit.
    """

    __slots__ = ("_bytes", "_entries", "_max_bytes", "_old", "_sizes", "_young")

    def __init__(self, entries: int, max_bytes: int | None = None) -> None:
        self._entries = entries
        self._max_bytes = max_bytes
        self._bytes = 0
        self._young: dict[K, V] = {}
        self._old: dict[K, V] = {}
        self._sizes: dict[K, int] = {}

    def get(self, key: K) -> V | None:
        """Return the value of a key, or None. Using a key of the old generation keeps it."""
        found = self._young.get(key)
        if found is None and self._old:
            found = self._old.get(key)
            if found is not None:
                self.put(key, found, self._sizes.get(key, 0))
        return found

    def put(self, key: K, value: V, size: int = 0) -> None:
        """Keep a value. `size` is in bytes; a value larger than a whole generation is not kept."""
        if self._max_bytes is not None and size > self._max_bytes:
            return
        full = len(self._young) >= self._entries and key not in self._young
        if full or (self._max_bytes is not None and self._bytes + size > self._max_bytes):
            self._age()
        if self._max_bytes is not None:
            self._bytes += size
            self._sizes[key] = size
        self._young[key] = value

    def _age(self) -> None:
        self._old, self._young, self._bytes = self._young, {}, 0
        self._sizes = {key: self._sizes[key] for key in self._old if key in self._sizes}

    def drop(self, key: K) -> None:
        """Remove a key."""
        self._young.pop(key, None)
        self._old.pop(key, None)

    def clear(self) -> None:
        """Remove everything."""
        self._old, self._young, self._sizes, self._bytes = {}, {}, {}, 0

    def __iter__(self) -> Iterator[K]:
        return iter(self._young.keys() | self._old.keys())

    def __len__(self) -> int:
        return len(self._young.keys() | self._old.keys())
