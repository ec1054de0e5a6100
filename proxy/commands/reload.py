"""`noetl-edge reload`: have a running gateway load its configuration again, and print its verdict."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import click

from proxy.commands.output import CONFIG, Failed, printed
from proxy.server.state_file import GatewayState, read_state

_POLL_SECONDS = 0.05


@click.command(epilog="Example: noetl-edge reload --config gateway.yaml")
@CONFIG
@click.option("--timeout", type=click.IntRange(1, 600), default=30, show_default=True, help="Seconds to wait.")
def reload(config: Path, timeout: int) -> None:
    """Have the gateway that runs with this configuration file load it again, and wait for the result.

    The exit status is 0, or 2 if the configuration was refused; the gateway then keeps the one in use. The gateway must
    run on this machine, as this user.
    """
    before = read_state(config)
    if before is None:
        raise Failed(f"no gateway of this user runs with {config.resolve()}; is it the file that serve was given?")
    os.kill(before.pid, signal.SIGHUP)
    after = _wait(config, before, timeout)
    if after.problems:
        for line in printed(after.problems, "problems"):
            click.echo(line, err=True)
        click.echo(f"refused: the gateway still uses configuration {after.fingerprint}", err=True)
        sys.exit(2)
    same = after.fingerprint == before.fingerprint
    note = ", nothing changed (values of secrets are not compared)" if same else ""
    click.echo(f"reloaded: configuration {after.fingerprint}{note}")


def _wait(config: Path, before: GatewayState, timeout: int) -> GatewayState:
    """Return the state after the next reload."""
    end = time.monotonic() + timeout
    while time.monotonic() < end:
        state = read_state(config)
        if state is not None and (state.pid, state.reloads) > (before.pid, before.reloads):
            return state
        if state is None:
            raise Failed("the gateway has ended")
        time.sleep(_POLL_SECONDS)
    raise Failed(f"no result within {timeout} s; see the log of the gateway")
