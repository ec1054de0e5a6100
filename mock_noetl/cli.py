"""The command: run the sandbox."""

from __future__ import annotations

import asyncio
import gc
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any, NoReturn

import click

from mock_noetl.errors import AccountsError, PlaybookError
from mock_noetl.playbook_checks import warnings
from mock_noetl.remembered import MAX_KEPT
from mock_noetl.server import DIALECTS, build
from mock_noetl.state import OVERRIDES, Settings
from mock_server.clock import Clock
from mock_server.loop import run
from mock_server.options import Options, OptionsError, common_options, not_empty
from mock_server.randomness import random_source
from mock_server.recording import Recorder
from mock_server.sandbox import Sandbox

GC_THRESHOLDS = (20_000, 10, 250)
"""Executions are many objects that live long: looking through them seldom halves the time of each."""


class Server:
    """A sandbox with the options of its command line, not started yet. Raises what `build` and the options raise."""

    def __init__(self, dialect: str, settings: Settings, options: Options) -> None:
        self.dialect = dialect
        self.control = options.control(OVERRIDES)
        clock, source = Clock(), random_source(options.seed)
        options.set_clock(clock)
        self.warnings: list[str] = []
        program = build(dialect, settings, clock, source)
        if settings.playbooks is not None:
            self.warnings = warnings(settings.playbooks)
        self._backend = options.backend(program.respond)
        respond = self._backend.respond if self._backend is not None else None
        self._sandbox = Sandbox(program, self.control, clock, source, options.seed, backend=respond)
        self.url = ""

    async def start(self, host: str = "127.0.0.1", port: int = 0) -> None:
        """Listen; `url` is known afterwards. Raises OSError if the address is not available."""
        await self._sandbox.start(host, port)
        self.url = self._sandbox.url

    async def stop(self) -> None:
        """Finish the current requests, and stop."""
        await self._sandbox.stop()
        if isinstance(self._backend, Recorder):
            await self._backend.close()


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--host", default="127.0.0.1", show_default=True, callback=not_empty, help="Address to listen on.")
@click.option(
    "--port",
    type=click.IntRange(0, 65535),
    default=8082,
    show_default=True,
    help="Port to listen on; 0 selects a free port.",
)
@click.option(
    "--dialect",
    type=click.Choice(DIALECTS),
    default="python",
    show_default=True,
    help="The server to answer as: the one in Python or the one in Rust.",
)
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
    "--callback-to",
    multiple=True,
    metavar="URL",
    help="A gateway elsewhere to which callbacks may go; may be given several times.",
)
@click.option(
    "--python-steps/--no-python-steps",
    default=True,
    show_default=True,
    help="Run the code of Python steps, in processes with limits; otherwise registration refuses it.",
)
@click.option(
    "--keep",
    type=click.IntRange(1, MAX_KEPT),
    default=MAX_KEPT,
    show_default=True,
    help="Number of executions to remember; ended ones go first, as they were started. No more can run at once.",
)
@common_options
def main(host: str, port: int, **given: Any) -> None:
    """Run a sandbox NoETL server until SIGINT or SIGTERM."""
    try:
        run(_serve(_server(**given), host, port))
    except (PlaybookError, AccountsError, OptionsError) as error:
        _give_up(str(error))
    except OSError as error:
        reason = os.strerror(error.errno) if error.errno and error.errno > 0 else str(error)
        _give_up(f"cannot listen on {host}:{port}: {reason}")


def server_of(arguments: Sequence[str]) -> Server:
    """Return a server for arguments of this command line, not started yet; `--port` and `--host` are not used.

    Raises:
        click.ClickException: an argument is wrong.
        PlaybookError, AccountsError, OptionsError: a file or an option is wrong.
    """
    given = dict(main.make_context("mock_noetl", list(arguments)).params)
    del given["host"], given["port"]
    return _server(**given)


def _server(
    *,
    dialect: str,
    playbooks: Path | None,
    accounts: Path | None,
    internal_token: str,
    python_steps: bool,
    keep: int,
    callback_to: tuple[str, ...],
    **common: Any,
) -> Server:
    settings = Settings(playbooks, accounts, internal_token, python_steps, keep, callback_to)
    return Server(dialect, settings, Options(**common))


async def _serve(server: Server, host: str, port: int) -> None:
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM):
        loop.add_signal_handler(number, stopping.set)
    await server.start(host, port)
    for warning in server.warnings:
        click.echo(f"mock_noetl: warning: {warning}", err=True)
    gc.freeze()
    gc.set_threshold(*GC_THRESHOLDS)
    click.echo(f"mock_noetl ({server.dialect} dialect) listening on {server.url}")
    if server.control.admin:
        click.echo(f"  control plane: {server.url}/__admin")
    sys.stdout.flush()
    await stopping.wait()
    await server.stop()


def _give_up(problem: str) -> NoReturn:
    click.echo(f"mock_noetl: {problem}", err=True)
    sys.exit(2)
