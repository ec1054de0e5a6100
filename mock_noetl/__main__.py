"""The command line: `python -m mock_noetl --port 8082`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from mock_noetl.api import Api
from mock_noetl.dialects import DIALECTS
from mock_noetl.errors import AccountsError, PlaybookError
from mock_noetl.server import build_api, serve


@click.command()
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8082,
    show_default=True,
    help="Port to listen on; 0 selects a free port.",
)
@click.option("--dialect", type=click.Choice(sorted(DIALECTS)), default="python", show_default=True)
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
def main(
    host: str, port: int, dialect: str, playbooks: Path | None, accounts: Path | None, internal_token: str
) -> None:
    """Run a sandbox NoETL server until SIGINT or SIGTERM."""
    try:
        asyncio.run(_run(host, port, build_api(dialect, playbooks, accounts, internal_token)))
    except (PlaybookError, AccountsError) as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"cannot listen on {host}:{port}: {error.strerror or error}")


async def _run(host: str, port: int, api: Api) -> None:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(api, host, port) as listener:
        click.echo(f"mock_noetl ({api.dialect.name} dialect) listening on {listener.url}")
        await stop.wait()


def _give_up(reason: str) -> None:
    click.echo(f"mock_noetl: {reason}", err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main(prog_name="mock_noetl")
