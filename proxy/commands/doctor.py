"""`noetl-edge doctor`: whether what the gateway needs is there, each with a remedy if it is not."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

import click

from proxy.commands.common import load_configuration
from proxy.commands.examinations import examine_all
from proxy.commands.output import CONFIG
from proxy.commands.serve import files_needed


@click.command(epilog="Example: noetl-edge doctor --config gateway.yaml")
@CONFIG
def doctor(config: Path) -> None:
    """Examine the surroundings of the gateway: upstreams, key sets, the clock, folders, limits, its public address.

    Each line is "ok", "warn" or "FAIL" with a remedy. The exit status is 1 if anything failed. Nothing is changed, and
    a gateway that runs is not disturbed.
    """
    compiled = load_configuration(config)
    findings = asyncio.run(examine_all(compiled, files_needed(compiled.loaded.gateway)))
    for finding in findings:
        click.echo(f"{finding.mark:<5} {finding.what:<28} {finding.text}")
    sys.exit(1 if any(finding.mark == "FAIL" for finding in findings) else 0)
