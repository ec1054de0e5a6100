"""The command line: `python -m mock_auth0 --port 8085`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import sys
from pathlib import Path
from typing import NoReturn

import click
import structlog

from .server import Server
from .users import DEFAULT_FILE, Directory, UsersFileError, load

LEVELS = ("debug", "info", "warning", "error")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8085,
    show_default=True,
    help="Port to listen on; 0 selects a free port.",
)
@click.option("--host", default="127.0.0.1", show_default=True, help="Address to listen on.")
@click.option(
    "--users",
    type=click.Path(path_type=Path),
    default=DEFAULT_FILE,
    help="YAML file with users and clients, instead of the built-in ones.",
)
@click.option(
    "--backchannel-logout-uri",
    metavar="URI",
    help="URL for logout tokens, instead of the one in the users file.",
)
@click.option("--log-level", type=click.Choice(LEVELS), default="info", show_default=True)
def main(port: int, host: str, users: Path, backchannel_logout_uri: str | None, log_level: str) -> None:
    """Run a sandbox identity provider that behaves like an Auth0 tenant."""
    _configure_logs(log_level)
    try:
        directory = load(users)
    except UsersFileError as error:
        _give_up(str(error))
    if backchannel_logout_uri is not None:
        directory = directory.with_logout_uri(backchannel_logout_uri)
    try:
        asyncio.run(_serve(directory, host, port))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        _give_up(f"cannot listen on {host}:{port}: {reason}")


async def _serve(directory: Directory, host: str, port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    server = Server(directory)
    await server.start(host, port)
    click.echo(f"mock_auth0 listening on {server.url}")
    sys.stdout.flush()
    await stopping.wait()
    await server.stop()


def _configure_logs(level: str) -> None:
    structlog.configure(
        processors=[
            structlog.processors.add_log_level,
            structlog.processors.TimeStamper(fmt="iso", utc=True),
            structlog.processors.JSONRenderer(),
        ],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
        cache_logger_on_first_use=True,
    )


def _give_up(problem: str) -> NoReturn:
    click.echo(f"mock_auth0: {problem}", err=True)
    sys.exit(2)


if __name__ == "__main__":
    main(prog_name="python -m mock_auth0")
