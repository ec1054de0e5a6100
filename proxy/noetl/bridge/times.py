"""Times of executions, as clients of the Python server read them. Pure."""

from __future__ import annotations

from datetime import UTC, datetime


def parsed(value: object) -> datetime | None:
    """Return the time that a server has sent; one without an offset is in UTC. None if it is not a time."""
    if not isinstance(value, str):
        return None
    try:
        found = datetime.fromisoformat(value)
    except ValueError:
        return None
    return found if found.tzinfo is not None else found.replace(tzinfo=UTC)


def seconds_between(start: object, end: object) -> float | None:
    """Return the duration between two times of a server, in seconds; None if one of them is not a time."""
    begun, ended = parsed(start), parsed(end)
    return round(max(0.0, (ended - begun).total_seconds()), 3) if begun is not None and ended is not None else None


def for_people(seconds: float | None) -> str | None:
    """Return a duration in days, hours, minutes and whole seconds, such as `1h 2m`; None for None."""
    if seconds is None:
        return None
    rest = max(0, round(seconds))
    parts = []
    for unit, size in (("d", 86_400), ("h", 3600), ("m", 60), ("s", 1)):
        count, rest = divmod(rest, size)
        if count:
            parts.append(f"{count}{unit}")
    return " ".join(parts) or "0s"
