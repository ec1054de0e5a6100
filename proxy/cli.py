"""The command line: serve and check. Errors go to stderr in one line; a traceback never reaches the user."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

import click

from proxy import __version__
from proxy.config.checks import is_loopback
from proxy.config.compile import Compiled, compile_config
from proxy.config.load import load
from proxy.config.problems import ConfigError
from proxy.gateway import Gateway, open_store
from proxy.observe import logs
from proxy.server import run
from proxy.sessions.store import StoreError

CONFIG = click.option(
    "--config",
    "-c",
    type=click.Path(path_type=Path),
    default=Path("gateway.yaml"),
    show_default=True,
    help="The configuration file.",
)


class Failed(click.ClickException):
    """A failure with its one line and exit status 2."""

    exit_code = 2


@click.group()
@click.version_option(__version__, prog_name="noetl-edge")
def cli() -> None:
    """An API gateway for NoETL. Example: noetl-edge serve --config gateway.yaml"""


def read(config: Path) -> Compiled:
    """Load and compile, or print every problem and exit with 2."""
    try:
        return compile_config(load(config, os.environ))
    except ConfigError as error:
        for problem in error.problems:
            click.echo(str(problem), err=True)
        sys.exit(2)


@cli.command()
@CONFIG
def serve(config: Path) -> None:
    """Run the gateway. Example: noetl-edge serve --config gateway.yaml"""
    compiled = read(config)
    gateway = compiled.loaded.gateway
    refuse_sandbox_in_public(compiled)
    logs.configure(gateway.logging.format, gateway.logging.level)
    log = logs.get_logger()
    if compiled.loaded.overrides:
        log.info("config.environment", overrides=list(compiled.loaded.overrides))

    async def main() -> None:
        await run(
            Gateway(compiled, open_store(compiled)),
            ready=lambda name: log.info("gateway.listening", url=f"http://{name[0]}:{name[1]}"),
        )

    try:
        run_loop(main())
    except StoreError as error:
        raise Failed(f"session store: {error}") from None
    except OSError as error:
        where = f"{gateway.server.host}:{gateway.server.port}"
        raise Failed(f"can't listen on {where}: {error.strerror or error}; is another program using it?") from None


def run_loop(main: object) -> None:
    """Run a coroutine on uvloop, or on asyncio's own loop where uvloop is missing."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)  # type: ignore[arg-type]
    else:
        uvloop.run(main)  # type: ignore[arg-type]


def refuse_sandbox_in_public(compiled: Compiled) -> None:
    """A tenant on plain http is a sandbox; it must not guard a public address."""
    gateway = compiled.loaded.gateway
    sandboxes = [t.domain for t in gateway.auth.tenants if (t.issuer or "https:").startswith("http:")]
    if sandboxes and not is_loopback(gateway.server.host) and not gateway.auth.allow_sandbox_tenants:
        raise Failed(
            f"server.host {gateway.server.host} is public while tenant {sandboxes[0]} is a sandbox (plain http "
            "issuer): listen on 127.0.0.1, or set auth.allow_sandbox_tenants: true"
        )


@cli.command()
@CONFIG
def check(config: Path) -> None:
    """Check a configuration; exit 0 or 2. Example: noetl-edge check --config gateway.yaml"""
    compiled = read(config)
    routes, rules = len(compiled.routes.entries), len(compiled.access.rules)
    click.echo(f"{config}: fine: {routes} routes, {rules} access rules")


def main() -> None:
    """Entry point."""
    try:
        cli(standalone_mode=False)
    except click.ClickException as error:
        click.echo(f"noetl-edge: {error.format_message()}", err=True)
        sys.exit(2)
    except (click.Abort, KeyboardInterrupt):
        sys.exit(130)
