"""`noetl-edge init`: write the commented example configuration."""

from __future__ import annotations

from importlib import resources
from pathlib import Path

import click

from proxy.commands.common import Failed


def example() -> bytes:
    """Return the shipped gateway.yaml, without the line for editors that refers to this repository."""
    lines = resources.files("proxy").joinpath("gateway.yaml").read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if b"yaml-language-server" not in line)


@click.command(epilog="Example: noetl-edge init && noetl-edge check")
@click.argument("file", type=click.Path(path_type=Path), default=Path("gateway.yaml"))
def init(file: Path) -> None:
    """Write the commented example configuration to FILE (gateway.yaml). An existing file is not overwritten."""
    try:
        with file.open("xb") as out:
            out.write(example())
    except FileExistsError:
        raise Failed(f"{file} exists already; give another file, or move it away") from None
    except OSError as error:
        raise Failed(f"can't write {file}: {error.strerror}") from None
    click.echo(f"wrote {file}; next: noetl-edge check --config {file}")
