"""`noetl-edge audit`: verification of audit logs."""

from __future__ import annotations

import re
from pathlib import Path

import click

from proxy.commands.common import CONFIG, Failed, load_configuration
from proxy.observe.audit import STDOUT, AuditError, verify


@click.group(epilog="Example: noetl-edge audit verify")
def audit() -> None:
    """Verify the audit log."""


@audit.command("verify", epilog="Example: noetl-edge audit verify --config gateway.yaml")
@CONFIG
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def verify_(config: Path, files: tuple[Path, ...]) -> None:
    """Verify the chain of the configured audit log and its rotated files; or of FILES, oldest first.

    The exit status is 1 if a line was changed, removed, inserted or moved.
    """
    compiled = load_configuration(config)
    block = compiled.loaded.gateway.audit
    if block is None:
        raise Failed("the configuration has no audit log: set audit: {file: …}")
    if block.file == STDOUT and not files:
        raise Failed("the audit log is written to stdout: give the files that contain it, oldest first")
    file = compiled.loaded.file.parent / block.file
    if not files and not file.exists():
        click.echo(f"no audit log at {file} yet")
        return
    chosen = files or chain(file)
    try:
        count = verify(chosen, (block.key or "").encode())
    except AuditError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(1) from None
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from None
    click.echo(f"{count} lines in {len(chosen)} files: valid")


def chain(file: Path) -> tuple[Path, ...]:
    """Return a log and its rotated files, oldest first."""
    rotated = [path for path in file.parent.glob(f"{file.name}.*") if re.fullmatch(r"[0-9]+", path.suffix[1:])]
    older = sorted(rotated, key=lambda path: int(path.suffix[1:]), reverse=True)
    return (*older, file)
