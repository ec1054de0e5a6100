"""Tables in Markdown, for the generated pages."""

from __future__ import annotations

import inspect
from collections.abc import Iterator

import click


def row(*cells: str) -> str:
    """Return a row of a table."""
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def table(*heading: str) -> Iterator[str]:
    """Yield the first two lines of a table."""
    yield row(*heading)
    yield row(*("---" for _ in heading))


def about(name: str, command: click.Command) -> Iterator[str]:
    """Yield the heading of a command, and its help."""
    yield f"### {name}\n"
    yield f"{inspect.cleandoc(command.help or '')}\n"


def options(name: str, command: click.Command) -> Iterator[str]:
    """Yield a table with the options of a command; nothing if it has none."""
    with click.Context(command, info_name=name) as context:
        records = [option.get_help_record(context) for option in command.params]
    shown = [record for record in records if record is not None]
    if shown:
        yield from table("option", "meaning")
        for left, right in shown:
            yield row(f"`{left}`", right)
        yield ""
