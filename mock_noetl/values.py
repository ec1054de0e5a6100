"""Values for all modules: bounded JSON data, ids and times."""

from __future__ import annotations

import json
import math
import random
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any

from pydantic_core import from_json, to_json

from mock_server.clock import Clock

MAX_DEPTH = 64
MAX_INT_BITS = 1024
SPAN = 1 << 22
"""Ids of one execution and of its events are in a span of this size."""

_NODE_BYTES = 16
_LISTS = (list, tuple)
_EPOCH_MS = 1_704_067_200_000
_SPAN_MS = 150_000_000_000
_FIRST = 10**17


def plain(value: Any, depth: int = 0) -> Any:
    """Return a deep copy of a value as JSON data. Raises ValueError for other types, or if it is nested too deeply."""
    if depth > MAX_DEPTH:
        raise ValueError(f"nested more than {MAX_DEPTH} levels deep")
    if value is None or isinstance(value, bool | str):
        return value
    if isinstance(value, int):
        if value.bit_length() > MAX_INT_BITS:
            raise ValueError("a number is too large")
        return value
    if isinstance(value, float):
        if not math.isfinite(value):
            raise ValueError("a number is not finite")
        return value
    if isinstance(value, list | tuple):
        return [plain(item, depth + 1) for item in value]
    if isinstance(value, dict):
        return {_key(key): plain(item, depth + 1) for key, item in value.items()}
    raise ValueError(f"a value of type {type(value).__name__} can't be JSON")


def _key(key: Any) -> str:
    if isinstance(key, str):
        return key
    if isinstance(key, bool | int | float) or key is None:
        return json.dumps(key)
    raise ValueError("a key is not a string")


def size_of(value: Any, most: int) -> int:
    """Return about how many bytes JSON data takes; at most about `most`, behind which it is not counted further."""
    size = 0
    waiting = [value]
    while waiting and size < most:
        part = waiting.pop()
        size += _NODE_BYTES
        if type(part) is str:
            size += len(part)
        elif type(part) is dict:
            for name, item in part.items():
                size += len(name)
                waiting.append(item)
        elif type(part) in _LISTS:
            waiting.extend(part)
    return size


def packed(value: Any) -> bytes:
    """Return JSON data as JSON without spaces."""
    try:
        return to_json(value)
    except ValueError:  # a lone surrogate
        return json.dumps(value, separators=(",", ":")).encode()


def unpacked(data: bytes) -> Any:
    """Return the JSON data that `packed` has made a text of."""
    try:
        return from_json(data)
    except ValueError:
        return json.loads(data)


def iso(instant: float, end: str = "+00:00") -> str:
    """Return an instant in seconds as text of RFC 3339, with the given spelling of UTC."""
    fraction, whole = math.modf(instant)
    carry, micros = divmod(round(fraction * 1e6), 1_000_000)
    second = int(whole) + carry
    return f"{_second(second)}.{micros:06}{end}" if micros else f"{_second(second)}{end}"


@lru_cache(maxsize=1024)
def _second(number: int) -> str:
    return datetime.fromtimestamp(number, UTC).replace(tzinfo=None).isoformat()


def is_id(value: str) -> bool:
    """Return whether a text is a decimal number that has 63 bits at most."""
    return value.isascii() and value.isdigit() and len(value) <= 19 and int(value) < 2**63


class IdSource:
    """A source of unique, increasing integers of 18 digits, above what JavaScript can count exactly.

    Ids of different things are at least `SPAN` apart. With a seeded source they do not depend on the time.
    """

    def __init__(self, clock: Clock | None = None, source: random.Random | None = None) -> None:
        self._clock = clock or Clock()
        seeded = source is not None and not isinstance(source, random.SystemRandom)
        self._last = 0
        self._timed = not seeded
        if source is not None and seeded:
            self._last = _FIRST + source.randrange(1, 10**11) * SPAN

    def next(self) -> int:
        """Return a new id."""
        self._last += SPAN
        if self._timed:
            milliseconds = (int(self._clock.now() * 1000) - _EPOCH_MS) % _SPAN_MS
            self._last = max(self._last, _FIRST + milliseconds * SPAN)
        return self._last
