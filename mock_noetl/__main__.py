"""The command line: `python -m mock_noetl --port 8082`."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import click

from mock_noetl.api import Api
from mock_noetl.dialects import DIALECTS
from mock_noetl.errors import PlaybookError
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
def main(host: str, port: int, dialect: str, playbooks: Path | None) -> None:
    """Run a sandbox NoETL server until SIGINT or SIGTERM."""
    try:
        asyncio.run(_run(host, port, dialect, playbooks))
    except PlaybookError as error:
        _give_up(str(error))
    except OSError as error:
        _give_up(f"cannot listen on {host}:{port}: {error.strerror or error}")


async def _run(host: str, port: int, dialect: str, playbooks: Path | None) -> None:
    api: Api = build_api(dialect, playbooks)
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stop.set)
    async with serve(api, host, port) as listener:
        click.echo(f"mock_noetl ({dialect} dialect) listening on {listener.url}")
        await stop.wait()


def _give_up(reason: str) -> None:
    click.echo(f"mock_noetl: {reason}", err=True)
    raise SystemExit(2)


if __name__ == "__main__":
    main(prog_name="mock_noetl")
