"""`noetl-edge serve`: run the gateway until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import errno
import os
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

import click

from proxy.commands.common import CONFIG, Failed, read
from proxy.config.compile import Compiled
from proxy.config.lint import lint
from proxy.gateway import Gateway, open_store
from proxy.observe import logs
from proxy.server import run
from proxy.sessions.store import StoreError


@click.command(epilog="Example: noetl-edge serve --config gateway.yaml")
@CONFIG
def serve(config: Path) -> None:
    """Run the gateway until ctrl-C or SIGTERM.

    The configuration is checked first, with its acl.tests; with a mistake in it nothing starts.
    """
    compiled = read(config)
    gateway = compiled.loaded.gateway
    logs.configure(gateway.logging.format, gateway.logging.level)
    _tell(compiled)
    try:
        run_loop(_main(compiled))
    except StoreError as error:
        raise Failed(f"session store: {error}") from None
    except OSError as error:
        where = f"{gateway.server.host}:{gateway.server.port}"
        raise Failed(f"can't listen on {where}: {_reason(error)}") from None


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is already in use; is another program using the port?"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


def _tell(compiled: Compiled) -> None:
    log = logs.get_logger()
    if compiled.loaded.overrides:
        log.info("config.environment", overrides=list(compiled.loaded.overrides))
    for warning in lint(compiled):
        log.warning("config.warning", place=str(warning.place), key=warning.key, text=warning.text)


async def _main(compiled: Compiled) -> None:
    log = logs.get_logger()
    gateway = Gateway(compiled, open_store(compiled))
    await run(gateway, ready=lambda name: log.info("gateway.listening", url=f"http://{name[0]}:{name[1]}"))


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop, or on asyncio's own loop where uvloop is missing."""
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
