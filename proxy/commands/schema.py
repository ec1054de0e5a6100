"""`noetl-edge schema`: the JSON Schema of gateway.yaml, for editors."""

from __future__ import annotations

import json

import click

from proxy.config.jsonschema import gateway_schema


@click.command(epilog="Example: noetl-edge schema > gateway.schema.json")
def schema() -> None:
    """Print the JSON Schema of gateway.yaml.

    An editor with a YAML language server completes and checks the file by it, when the file's first line is
    "# yaml-language-server: $schema=" and the schema's place.
    """
    click.echo(json.dumps(gateway_schema(), indent=2))
