"""The tables that the contract prints: rows of texts, with a column for each server."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Cell:
    """What one server showed. `ok` is False for what the gateway must not do."""

    text: str
    ok: bool = True

    def __str__(self) -> str:
        return self.text if self.ok else f"{self.text} <-- WRONG"


Row = tuple[str, ...]
Column = dict[Row, Cell]
"""What a server showed, by the first cells of its rows."""


def table(heading: Sequence[str], columns: dict[str, Column]) -> list[str]:
    """Return the lines of a table. Servers may lack rows."""
    keys = list(dict.fromkeys(key for column in columns.values() for key in column))
    rows = [tuple(heading) + tuple(columns)]
    rows += [(*key, *(str(column.get(key, Cell("-"))) for column in columns.values())) for key in keys]
    widths = [max(len(row[place]) for row in rows) for place in range(len(rows[0]))]
    lines = ["  ".join(text.ljust(width) for text, width in zip(row, widths, strict=True)).rstrip() for row in rows]
    return [lines[0], "-" * len(lines[0]), *lines[1:]]


def wrong(columns: dict[str, Column]) -> list[str]:
    """Return what must not be, a line for each cell."""
    return [
        f"{server}: {' / '.join(key)}: {cell.text}"
        for server, column in columns.items()
        for key, cell in column.items()
        if not cell.ok
    ]
