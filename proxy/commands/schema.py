"""`noetl-edge schema`: the JSON Schema of gateway.yaml, for editors."""

from __future__ import annotations

import json

import click

from proxy.config.jsonschema import gateway_schema


@click.command(epilog="Example: noetl-edge schema > gateway.schema.json")
def schema() -> None:
    """Print the JSON Schema of gateway.yaml.

    An editor with a YAML language server uses the schema to complete and check the file. The first line of the file
    must be "# yaml-language-server: $schema=" followed by the path or url of the schema.
    """
    click.echo(json.dumps(gateway_schema(), indent=2))
