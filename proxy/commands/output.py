"""What all commands share and costs nothing to import: the option --config, errors in one line, tables."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

import click

CONFIG = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default=Path("gateway.yaml"),
    show_default=True,
    help="The configuration file.",
)
MAX_PROBLEMS = 50
"""The most problems that a command prints; a count stands for the others."""


class Failed(click.ClickException):
    """An error: one line on stderr and exit status 2."""

    exit_code = 2


def printed(lines: Sequence[str], what: str) -> Iterator[str]:
    """Yield the first 50 lines, and one that counts the others of `what`."""
    yield from lines[:MAX_PROBLEMS]
    if len(lines) > MAX_PROBLEMS:
        yield f"and {len(lines) - MAX_PROBLEMS} more {what}"


def table(rows: Sequence[Sequence[str]]) -> str:
    """Return rows as aligned columns; the first row is the heading."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
