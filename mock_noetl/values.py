"""Values for all modules: bounded JSON data, durations, times and ids.

The only I/O is reading the clock.
"""

from __future__ import annotations

import json
import math
import re
import secrets
import time
from datetime import UTC, datetime
from typing import Any

MAX_DEPTH = 64
MAX_INT_BITS = 1024
MAX_DURATION = 3600.0

_DURATION = re.compile(r"(\d{1,9}(?:\.\d{1,9})?)\s*(ms|s|m)?")
_UNIT_SECONDS = {"ms": 0.001, "s": 1.0, "m": 60.0}
_ID_EPOCH_MS = 1_704_067_200_000
_ID_SPAN_MS = 150_000_000_000


def plain(value: Any, depth: int = 0) -> Any:
    """Return a deep copy of `value`. Raises ValueError for types other than those of JSON, or if it is too deep."""
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


def to_json(value: Any) -> bytes:
    """Return `value` as compact UTF-8 JSON; lone surrogates, which UTF-8 can't encode, are escaped."""
    try:
        return json.dumps(value, separators=(",", ":"), ensure_ascii=False).encode()
    except UnicodeEncodeError:
        return json.dumps(value, separators=(",", ":")).encode()


def parse_duration(value: Any) -> float:
    """Return seconds for `200ms`, `1.5s`, `2m` or a number of seconds. Raises ValueError for other values."""
    match = _DURATION.fullmatch(str(value).strip()) if not isinstance(value, bool) else None
    if match is None:
        raise ValueError("a duration is a number with ms, s or m behind it, such as 200ms")
    seconds = float(match[1]) * _UNIT_SECONDS[match[2] or "s"]
    if seconds > MAX_DURATION:
        raise ValueError(f"a duration is at most {MAX_DURATION:.0f} seconds")
    return seconds


def now() -> datetime:
    """Return the current time in UTC."""
    return datetime.now(UTC)


def rfc3339(instant: datetime | None) -> str | None:
    """Return a time as RFC 3339 text; None for None."""
    return instant.isoformat() if instant is not None else None


class IdSource:
    """A source of unique, increasing 18-digit integers above 2**53, which a client must not parse as doubles."""

    def __init__(self) -> None:
        self._last = 0

    def next(self) -> int:
        milliseconds = (time.time_ns() // 1_000_000 - _ID_EPOCH_MS) % _ID_SPAN_MS
        fresh = 10**17 + ((milliseconds << 22) | secrets.randbits(22))
        self._last = max(self._last + 1, fresh)
        return self._last
