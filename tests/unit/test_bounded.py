"""The bounded cache."""

from __future__ import annotations

import random

import pytest

from proxy.bounded import BoundedCache


def test_number_of_entries_is_bounded() -> None:
    cache: BoundedCache[int, int] = BoundedCache(10)
    for number in range(1000):
        cache.put(number, number)
    assert 10 <= len(cache) <= 20
    assert cache.get(999) == 999


@pytest.mark.parametrize("entries", range(1, 12))
def test_exact_number_of_entries_is_never_exceeded(entries: int) -> None:
    cache: BoundedCache[int, int] = BoundedCache(entries, 1000, exact=True)
    chosen = random.Random(entries)
    largest = 0
    for _ in range(2000):
        number = chosen.randrange(3 * entries)
        if cache.get(number) is None or chosen.random() < 0.2:
            cache.put(number, number, 1)
        assert cache.get(number) == number
        largest = max(largest, len(cache))
    assert largest == entries


def test_size_in_bytes_is_bounded() -> None:
    cache: BoundedCache[int, bytes] = BoundedCache(1000, max_bytes=1000)
    for number in range(100):
        cache.put(number, bytes(100), 100)
    held = [value for key in cache if (value := cache.get(key)) is not None]
    assert sum(map(len, held)) <= 2000


def test_value_larger_than_the_cache_is_not_kept() -> None:
    cache: BoundedCache[str, int] = BoundedCache(10, max_bytes=100)
    cache.put("a", 1, 101)
    assert cache.get("a") is None


def test_entry_that_is_used_stays() -> None:
    cache: BoundedCache[int, int] = BoundedCache(10)
    cache.put(-1, -1)
    for number in range(1000):
        cache.put(number, number)
        assert cache.get(-1) == -1


def test_dropped_entry_is_gone() -> None:
    cache: BoundedCache[str, int] = BoundedCache(1)
    cache.put("a", 1)
    cache.put("b", 2)
    cache.drop("a")
    assert (cache.get("a"), cache.get("b")) == (None, 2)


def test_cleared_cache_is_empty() -> None:
    cache: BoundedCache[str, int] = BoundedCache(5, 100)
    cache.put("a", 1, 10)
    cache.clear()
    assert (len(cache), cache.get("a")) == (0, None)
