"""`noetl-edge audit`: verification of audit logs."""

from __future__ import annotations

import re
from pathlib import Path

import click
from click.core import ParameterSource

from proxy.commands.common import load_configuration
from proxy.commands.output import CONFIG, Failed
from proxy.observe.audit import STDOUT
from proxy.observe.audit_chain import AuditError, verify


@click.group(epilog="Example: noetl-edge audit verify")
def audit() -> None:
    """Verify the audit log."""


@audit.command("verify", epilog="Example: noetl-edge audit verify --config gateway.yaml")
@CONFIG
@click.option("--key-file", type=click.Path(path_type=Path), help="File with audit.key, instead of the configured key.")
@click.argument("files", nargs=-1, type=click.Path(path_type=Path))
def verify_(config: Path, key_file: Path | None, files: tuple[Path, ...]) -> None:
    """Verify the chain of the configured audit log and its rotated files; or of FILES, oldest first.

    With FILES no configuration is needed. Lines that were not written to their end, by a process that was killed, are
    listed. The exit status is 1 if a line was changed, removed, inserted or moved.
    """
    without = bool(files) and not config.exists() and not _is_given("config")
    configured, key = ((), b"") if without else _configured(config, needed=not files)
    chosen = files or configured
    try:
        if key_file is not None:
            key = key_file.read_bytes().strip()
        found = verify(chosen, key)
    except AuditError as error:
        click.echo(str(error), err=True)
        raise click.exceptions.Exit(1) from None
    except OSError as error:
        raise Failed(f"{error.filename}: {error.strerror}") from None
    for place in found.incomplete:
        click.echo(f"{place}: the line is incomplete: a process was stopped while it wrote", err=True)
    if chosen:
        click.echo(f"{found.lines} lines in {len(chosen)} files: valid")


def _is_given(option: str) -> bool:
    return click.get_current_context().get_parameter_source(option) is not ParameterSource.DEFAULT


def _configured(config: Path, *, needed: bool) -> tuple[tuple[Path, ...], bytes]:
    """Return the files of the configured audit log, oldest first, and its key; no files if there are none yet."""
    compiled = load_configuration(config)
    block = compiled.loaded.gateway.audit
    if block is None:
        if needed:
            raise Failed("the configuration has no audit log: set audit: {file: …}, or give files")
        return (), b""
    key = (block.key or "").encode()
    if block.file == STDOUT:
        if needed:
            raise Failed("the audit log is written to stdout: give the files that contain it, oldest first")
        return (), key
    file = compiled.loaded.file.parent / block.file
    if needed and not file.exists():
        click.echo(f"no audit log at {file} yet")
        return (), key
    return chain(file), key


def chain(file: Path) -> tuple[Path, ...]:
    """Return a log and its rotated files, oldest first."""
    rotated = [path for path in file.parent.glob(f"{file.name}.*") if re.fullmatch(r"[0-9]+", path.suffix[1:])]
    older = sorted(rotated, key=lambda path: int(path.suffix[1:]), reverse=True)
    return (*older, file)
