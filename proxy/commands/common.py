"""What the commands share: the --config option, reading a configuration, and failing in one line."""

from __future__ import annotations

import os
import sys
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import NoReturn

import click

from proxy.config.compile import Compiled, compile_config
from proxy.config.load import load
from proxy.config.problems import ConfigError, Problem
from proxy.dryrun import failing_tests

CONFIG = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default=Path("gateway.yaml"),
    show_default=True,
    help="The configuration file.",
)


class Failed(click.ClickException):
    """A failure: one line on stderr, exit status 2."""

    exit_code = 2


def read(config: Path) -> Compiled:
    """Load, compile and run `acl.tests`; or print every problem and exit with 2."""
    try:
        return reading(config)()
    except ConfigError as error:
        refuse(error.problems)


def reading(config: Path) -> Callable[[], Compiled]:
    """A function that loads and compiles a file and runs its `acl.tests`. It raises ConfigError with every problem."""

    def read_again() -> Compiled:
        compiled = compile_config(load(config, os.environ))
        failing = failing_tests(compiled)
        if failing:
            raise ConfigError(failing)
        return compiled

    return read_again


def refuse(problems: Iterable[Problem]) -> NoReturn:
    """Print the problems, one line each, and exit with 2."""
    for problem in problems:
        click.echo(str(problem), err=True)
    sys.exit(2)


def table(rows: Sequence[Sequence[str]]) -> str:
    """Columns as wide as their widest cell; the first row is the heading."""
    widths = [max(len(row[index]) for row in rows) for index in range(len(rows[0]))]
    return "\n".join("  ".join(cell.ljust(w) for cell, w in zip(row, widths, strict=True)).rstrip() for row in rows)
