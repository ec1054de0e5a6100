"""Latency by percentile as an inline SVG. Both scales are logarithmic: the slowest in a thousand has its room. Pure.

Colours and dashes come from the page's style sheet, by class, so that they follow the reader's light or dark mode.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape

from bench.results import Delay

WIDTH, HEIGHT = 380, 270
_LEFT, _RIGHT, _TOP, _BOTTOM = 44, 18, 12, 34
_MARKS = (50.0, 75.0, 90.0, 99.0, 99.9, 99.99)
_LEAST_MS = 0.01


def bounds(delays: Sequence[Delay]) -> tuple[float, float]:
    """The least and greatest milliseconds to draw, with room around them."""
    values = [max(ms, _LEAST_MS) for delay in delays for _, ms in delay.curve]
    return min(values) / 1.3, max(values) * 1.3


def chart(delays: Sequence[Delay], low: float, high: float) -> str:
    """A line for each contender at one rate of arrivals."""
    furthest = max(_depth(delay.curve[-1][0]) for delay in delays)

    def x(percentile: float) -> float:
        return _LEFT + _depth(percentile) / furthest * (WIDTH - _LEFT - _RIGHT)

    def y(ms: float) -> float:
        part = (math.log(max(ms, _LEAST_MS)) - math.log(low)) / (math.log(high) - math.log(low))
        return HEIGHT - _BOTTOM - part * (HEIGHT - _TOP - _BOTTOM)

    marks = [mark for mark in _MARKS if _depth(mark) <= furthest]
    parts = [f'<svg class="chart" viewBox="0 0 {WIDTH} {HEIGHT}" role="img" aria-label="latency by percentile">']
    for ms in ticks(low, high):
        parts.append(f'<path class="grid" d="M{_LEFT} {y(ms):.1f}H{WIDTH - _RIGHT}"/>')
        parts.append(f'<text x="{_LEFT - 6}" y="{y(ms) + 3.5:.1f}" text-anchor="end">{ms:g}</text>')
    for mark in marks:
        parts.append(f'<path class="grid" d="M{x(mark):.1f} {_TOP}V{HEIGHT - _BOTTOM}"/>')
        parts.append(f'<text x="{x(mark):.1f}" y="{HEIGHT - _BOTTOM + 15}" text-anchor="middle">{mark:g}</text>')
    parts.append(f'<text class="axis" x="{WIDTH - _RIGHT}" y="{HEIGHT - 4}" text-anchor="end">percentile</text>')
    parts.append(f'<text class="axis" x="{_LEFT}" y="{HEIGHT - 4}">ms, log scale</text>')
    parts += [_line(delay, [(x(p), y(ms)) for p, ms in delay.curve]) for delay in delays]
    return "".join([*parts, "</svg>"])


def _line(delay: Delay, points: Sequence[tuple[float, float]]) -> str:
    path = "M" + "L".join(f"{x:.1f} {y:.1f}" for x, y in points)
    told = ", ".join(f"p{p:g} {delay.at(p):.2f} ms" for p in (50.0, 90.0, 99.0) if delay.curve[-1][0] >= p)
    x, y = points[-1]
    return (
        f'<g class="line c-{escape(delay.contender)}"><title>{escape(delay.label)}: {told}</title>'
        f'<path d="{path}"/><circle cx="{x:.1f}" cy="{y:.1f}" r="2.6"/></g>'
    )


def _depth(percentile: float) -> float:
    """How many tenfold steps a percentile is from everyone: 90 is one, 99 is two."""
    return -math.log10(1 - min(percentile, 99.9999) / 100)


def ticks(low: float, high: float) -> list[float]:
    """Round milliseconds between two values: 1, 2, 5 of each decade, or only the decades if that were too many."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    found = [
        round(step * 10.0**decade, 6) for decade in decades for step in (1, 2, 5) if low <= step * 10.0**decade <= high
    ]
    return found if len(found) <= 9 else [ms for ms in found if abs(math.log10(ms) - round(math.log10(ms))) < 1e-9]
