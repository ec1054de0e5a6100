"""Durations: fixed, or drawn from a distribution.

In YAML a duration is `200ms`, `1.5s`, `2m` or a number of seconds, or a mapping with one distribution:

    {uniform: [50ms, 200ms]}
    {normal: {mean: 100ms, deviation: 20ms}}
    {lognormal: {median: 50ms, sigma: 0.5, max: 5s}}
    {exponential: {mean: 100ms, max: 5s}}
"""

from __future__ import annotations

import math
import random
import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

MAX_SECONDS = 3600.0

_TEXT = re.compile(r"([0-9]+(?:\.[0-9]+)?)\s*(ms|s|m|h)?")
_UNITS = {"ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0}
_WANTED = "a duration is a number with ms, s, m or h behind it, such as 200ms"


@dataclass(frozen=True, slots=True)
class Duration:
    """A duration in seconds.

    Args:
        kind: `fixed`, `uniform`, `normal`, `lognormal` or `exponential`.
        first: the seconds, or the lower bound, the mean, the median.
        second: the upper bound, the deviation, or sigma.
        most: the upper limit of every value.
    """

    kind: str
    first: float
    second: float = 0.0
    most: float = MAX_SECONDS

    def draw(self, source: random.Random) -> float:
        """Return a value in seconds, from 0 to `most`."""
        if self.kind == "fixed":
            return self.first
        return min(max(0.0, _DRAW[self.kind](self, source)), self.most)

    @property
    def longest(self) -> float:
        """The largest value in seconds that can be drawn."""
        return {"fixed": self.first, "uniform": self.second}.get(self.kind, self.most)

    @property
    def shortest(self) -> float:
        """A value in seconds below which none is drawn."""
        return self.first if self.kind in ("fixed", "uniform") else 0.0

    def data(self) -> Any:
        """Return the duration as `parse_duration` reads it."""
        first = f"{self.first:g}s"
        if self.kind == "fixed":
            return first
        if self.kind == "uniform":
            return {"uniform": [first, f"{self.second:g}s"]}
        name, second = _NAMES[self.kind]
        settings: dict[str, Any] = {name: first}
        if second:
            settings[second] = f"{self.second:g}s" if second == "deviation" else self.second
        if self.most != MAX_SECONDS:
            settings["max"] = f"{self.most:g}s"
        return {self.kind: settings}


_NAMES: Mapping[str, tuple[str, str]] = {
    "normal": ("mean", "deviation"),
    "lognormal": ("median", "sigma"),
    "exponential": ("mean", ""),
}
_DRAW: Mapping[str, Callable[[Duration, random.Random], float]] = {
    "uniform": lambda duration, source: source.uniform(duration.first, duration.second),
    "normal": lambda duration, source: source.gauss(duration.first, duration.second),
    "lognormal": lambda duration, source: source.lognormvariate(math.log(duration.first), duration.second),
    "exponential": lambda duration, source: source.expovariate(1 / duration.first),
}


def seconds(value: Any) -> float:
    """Return the seconds of a text such as `200ms`, or of a number. Raises ValueError."""
    found = _number(value)
    if found is None or not found >= 0:
        raise ValueError(_WANTED)
    if found > MAX_SECONDS:
        raise ValueError(f"a duration is at most {MAX_SECONDS:.0f} seconds")
    return found


def _number(value: Any) -> float | None:
    """Return the seconds of a text or a number without a limit; None if it is neither."""
    if isinstance(value, str):
        match = _TEXT.fullmatch(value.strip())
        return float(match[1]) * _UNITS[match[2] or "s"] if match is not None else None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        return float(value)
    except OverflowError:
        return math.inf if value > 0 else None


def parse_duration(value: Any) -> Duration:
    """Return the duration that YAML or JSON data describe. Raises ValueError with a text that says what is expected."""
    if not isinstance(value, Mapping):
        return Duration("fixed", seconds(value))
    if len(value) != 1 or (kind := next(iter(value))) not in _DRAW:
        raise ValueError(f"{_WANTED}, or a mapping with one of {', '.join(_DRAW)}")
    settings = value[kind]
    if kind == "uniform":
        return _uniform(settings)
    needed = {name for name in _NAMES[kind] if name}
    if not isinstance(settings, Mapping) or not needed <= set(settings) <= needed | {"max"}:
        raise ValueError(f"{kind} has {' and '.join(sorted(needed))}, and may have max")
    most = seconds(settings.get("max", f"{MAX_SECONDS}s"))
    first = seconds(settings["median" if kind == "lognormal" else "mean"])
    if first == 0.0 and kind != "normal":
        raise ValueError(f"the {'median' if kind == 'lognormal' else 'mean'} of {kind} must be above 0")
    second = seconds(settings["deviation"]) if kind == "normal" else _sigma(settings.get("sigma", 0))
    return Duration(kind, first, second, most)


def _uniform(settings: Any) -> Duration:
    if not isinstance(settings, list | tuple) or len(settings) != 2:
        raise ValueError("uniform has a list of two durations, such as [50ms, 200ms]")
    low, high = seconds(settings[0]), seconds(settings[1])
    if low > high:
        raise ValueError("the first duration of uniform must not be above the second")
    return Duration("uniform", low, high)


def _sigma(value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 10:
        raise ValueError("sigma is a number from 0 to 10")
    return float(value)
