"""Durations (`250ms`, `10s`, `5m`, `8h`, `30d`) and sizes (`512B`, `16KiB`, `10MiB`, `1GiB`)."""

from __future__ import annotations

import re
from decimal import Decimal

_DURATION = re.compile(r"([0-9]{1,12}(?:\.[0-9]{1,6})?)(ms|s|m|h|d)")
_SECONDS = {"ms": Decimal("0.001"), "s": Decimal(1), "m": Decimal(60), "h": Decimal(3600), "d": Decimal(86400)}
_SIZE = re.compile(r"([0-9]{1,12})(B|KiB|MiB|GiB)")
_BYTES = {"B": 1, "KiB": 1024, "MiB": 1024**2, "GiB": 1024**3}


def parse_duration(text: str) -> float:
    """Return a duration in seconds. Raises ValueError with the correct spelling."""
    found = _DURATION.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a duration: write a number and a unit, such as 250ms, 10s, 5m, 8h or 30d')
    return float(Decimal(found[1]) * _SECONDS[found[2]])


def format_duration(seconds: float) -> str:
    """Return the shortest text that `parse_duration` converts to the same value."""
    exact = Decimal(repr(float(seconds)))
    for unit in ("d", "h", "m", "s"):
        if exact and exact % _SECONDS[unit] == 0:
            return f"{exact / _SECONDS[unit]:.0f}{unit}"
    return "0s" if not exact else f"{exact * 1000:.6f}".rstrip("0").rstrip(".") + "ms"


def parse_size(text: str) -> int:
    """Return a size in bytes. Raises ValueError with the correct spelling."""
    found = _SIZE.fullmatch(text)
    if found is None:
        raise ValueError(f'"{text}" is not a size: write a whole number and a unit, such as 512B, 16KiB, 10MiB or 1GiB')
    return int(found[1]) * _BYTES[found[2]]


def format_size(count: int) -> str:
    """Return the shortest text that `parse_size` converts to the same value."""
    for unit in ("GiB", "MiB", "KiB"):
        if count and count % _BYTES[unit] == 0:
            return f"{count // _BYTES[unit]}{unit}"
    return f"{count}B"
