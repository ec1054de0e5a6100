"""The command line: `python -m mock_noetl --port 8082`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path
from typing import Any

import click

from mock_noetl.errors import AccountsError, PlaybookError
from mock_noetl.server import DIALECTS, NoetlServer, build
from mock_noetl.state import Settings
from mock_server.clock import Clock
from mock_server.options import Options, OptionsError, common_options
from mock_server.randomness import random_source
from mock_server.sandbox import Sandbox


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8082,
    show_default=True,
    help="Port to listen on; 0 selects a free port.",
)
@click.option("--dialect", type=click.Choice(DIALECTS), default="python", show_default=True)
@click.option(
    "--playbooks", type=click.Path(path_type=Path), help="Folder with YAML files, instead of the shipped playbooks."
)
@click.option("--accounts", type=click.Path(path_type=Path), help="YAML file with users, roles and permissions.")
@click.option(
    "--internal-token",
    envvar="NOETL_INTERNAL_TOKEN",
    default="",
    help="What callbacks to the gateway carry: its live.internal_token.",
)
@click.option(
    "--python-steps/--no-python-steps",
    default=True,
    show_default=True,
    help="Run the code of Python steps, in processes with limits; otherwise registration refuses it.",
)
@common_options
def main(
    host: str,
    port: int,
    dialect: str,
    playbooks: Path | None,
    accounts: Path | None,
    internal_token: str,
    python_steps: bool,
    **common: Any,
) -> None:
    """Run a sandbox NoETL server until SIGINT or SIGTERM."""
    options, clock = Options(**common), Clock()
    settings = Settings(playbooks, accounts, internal_token, python_steps)
    try:
        options.set_clock(clock)
        source = random_source(options.seed)
        server = build(dialect, settings, clock, source)
        backend = options.backend(server.respond)
        handler = backend.respond if backend is not None else None
        sandbox = Sandbox(server, options.control(), clock, source, options.seed, backend=handler)
        asyncio.run(_run(sandbox, server, host, port, dialect))
    except (PlaybookError, AccountsError, OptionsError) as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"cannot listen on {host}:{port}: {error.strerror or error}")


async def _run(sandbox: Sandbox, server: NoetlServer, host: str, port: int, dialect: str) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    await sandbox.start(host, port)
    try:
        click.echo(f"mock_noetl ({dialect} dialect) listening on {sandbox.url}")
        await stop.wait()
    finally:
        await sandbox.stop()


def _give_up(reason: str) -> None:
    click.echo(f"mock_noetl: {reason}", err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main(prog_name="mock_noetl")
