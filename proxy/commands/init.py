"""`noetl-edge init`: write the commented example configuration."""

from __future__ import annotations

import json
from importlib import resources
from pathlib import Path

import click

from proxy.commands.output import Failed
from proxy.config.jsonschema import gateway_schema

_SCHEMA = "gateway.schema.json"


def example() -> bytes:
    """Return the shipped gateway.yaml, without the line for editors that refers to this repository."""
    lines = resources.files("proxy").joinpath("gateway.yaml").read_bytes().splitlines(keepends=True)
    return b"".join(line for line in lines if b"yaml-language-server" not in line)


@click.command(epilog="Example: noetl-edge init && noetl-edge check")
@click.argument("file", type=click.Path(path_type=Path), default=Path("gateway.yaml"))
def init(file: Path) -> None:
    """Write the commented example configuration to FILE (gateway.yaml), and beside it the JSON schema for editors.

    An existing FILE is not overwritten.
    """
    schema = file.parent / _SCHEMA
    try:
        with file.open("xb") as out:
            out.write(f"# yaml-language-server: $schema={_SCHEMA}\n".encode() + example())
        schema.write_text(json.dumps(gateway_schema(), indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    except FileExistsError:
        raise Failed(f"{file} exists already; give another file, or move it away") from None
    except OSError as error:
        raise Failed(f"can't write {error.filename}: {error.strerror}") from None
    click.echo(f"wrote {file} and {schema}; next: noetl-edge check {file}")
