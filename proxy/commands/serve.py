"""`noetl-edge serve`: run the gateway until SIGINT or SIGTERM."""

from __future__ import annotations

import asyncio
import contextlib
import errno
import gc
import os
import resource
import sys
import tempfile
from collections.abc import Callable, Coroutine
from contextlib import closing
from pathlib import Path
from typing import Any

import click

from proxy.commands.common import all_warnings, configuration_loader, load_configuration
from proxy.commands.output import CONFIG, Failed
from proxy.config.compile import Compiled
from proxy.config.diff import fingerprint
from proxy.config.model import Gateway
from proxy.config.problems import ConfigError
from proxy.observe import logs
from proxy.server.aiohttp_release import UnknownAiohttp, check_aiohttp
from proxy.server.certificate import CertificateError
from proxy.server.file_watch import Changes
from proxy.server.lifecycle import Load, Running
from proxy.server.shared_port import reserve_port
from proxy.server.state_file import StateFile
from proxy.server.supervisor import Supervisor, ready_note, worker_count
from proxy.server.worker import run
from proxy.sessions.store import StoreError

_OTHER_FILES = 100


@click.command(epilog="Example: noetl-edge serve --config gateway.yaml --watch")
@CONFIG
@click.option("--host", help="Address to listen on, instead of server.host.")
@click.option("--port", type=click.IntRange(0, 65535), help="Port to listen on, instead of server.port.")
@click.option("--watch", is_flag=True, help="Reload when the files of the configuration change.")
def serve(config: Path, host: str | None, port: int | None, watch: bool) -> None:
    """Run the gateway until ctrl-C or SIGTERM; SIGHUP reloads the configuration.

    The configuration is checked first, with its acl.tests; if there is a mistake, the gateway does not start. A reload
    with a mistake changes nothing.
    """
    try:
        check_aiohttp()
    except UnknownAiohttp as error:
        raise Failed(str(error)) from None
    options = {"host": host, "port": port}
    compiled = load_configuration(config, options)
    settings = compiled.loaded.gateway
    logs.configure(settings.logging.format, settings.logging.level)
    _log_configuration(compiled)
    raise_limit(compiled)
    load = configuration_loader(config, options)
    if settings.server.workers == 1:
        _serve_alone(compiled, load, watch)
    else:
        sys.exit(_supervise(compiled, load, watch))


def raise_limit(compiled: Compiled) -> None:
    """Raise the limit on open files to its maximum; log a warning if that is too low."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))
        soft = hard
    wanted = files_needed(compiled.loaded.gateway)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        logs.get_logger().warning("limits.files", allowed=soft, needed=wanted, remedy=f"ulimit -n {wanted}")


def files_needed(gateway: Gateway) -> int:
    """Return the maximum number of open files of a process: connections of clients and upstreams, and others.

    The number of upstream connections is limited by that of clients, not only by the sizes of the pools.
    """
    clients = gateway.server.limits.max_connections
    upstreams = sum(len(upstream.urls) * upstream.max_connections for upstream in gateway.upstreams.values())
    return clients + min(upstreams, clients) + _OTHER_FILES


def _serve_alone(compiled: Compiled, load: Load, watch: bool) -> None:
    log = logs.get_logger()

    state = StateFile(compiled.loaded.file)

    def ready(host: str, port: int) -> None:
        log.info("gateway.listening", url=_url(compiled, host, port))
        state.write(fingerprint(compiled.loaded.gateway))

    with _failures_in_one_line(compiled), closing(state):
        run_loop(run(compiled, Running(_logging_warnings(load), ready, watch=watch, report=state.write)))


def _supervise(compiled: Compiled, load: Load, watch: bool) -> int:
    settings = compiled.loaded.gateway.server
    with _failures_in_one_line(compiled):
        held = reserve_port(settings.host, settings.port)
    host, port = held.getsockname()[:2]

    def work(number: int, current: Compiled, parent: int, ready: int) -> int:
        def notify_supervisor(_host: str, _port: int) -> None:
            os.write(ready, ready_note(number))

        how = Running(
            load,
            notify_supervisor,
            shared=True,
            port=port,
            worker=number,
            metrics=Path(metrics),
            parent=parent,
        )
        try:
            with _failures_in_one_line(current):
                run_loop(run(current, how))
        except Failed as failure:
            failure.show()
            return failure.exit_code
        return 0

    state = StateFile(compiled.loaded.file)
    with closing(held), closing(state), tempfile.TemporaryDirectory(prefix="noetl-edge-") as metrics:
        changed = _changed(compiled) if watch else None
        state.write(fingerprint(compiled.loaded.gateway))
        watched = _logging_warnings(load)
        supervisor = Supervisor(compiled, watched, work, changed, Path(metrics), state.write)
        return supervisor.run(worker_count(compiled), _url(compiled, host, port))


def _changed(compiled: Compiled) -> Callable[[Compiled], bool]:
    changes = Changes(compiled.loaded)
    return lambda current: changes.detected(current.loaded)


class _failures_in_one_line:
    """A context manager that converts errors at the start to one line on stderr and exit status 2."""

    def __init__(self, compiled: Compiled) -> None:
        server = compiled.loaded.gateway.server
        self._where = f"{server.host}:{server.port}"

    def __enter__(self) -> None: ...

    def __exit__(self, kind: object, error: BaseException | None, trace: object) -> None:
        if isinstance(error, StoreError):
            raise Failed(f"session store: {error}") from None
        if isinstance(error, CertificateError | ConfigError):
            raise Failed(str(error)) from None
        if isinstance(error, OSError):
            raise Failed(f"can't listen on {self._where}: {_reason(error)}") from None


def _url(compiled: Compiled, host: str, port: int) -> str:
    scheme = "https" if compiled.loaded.gateway.server.tls is not None else "http"
    return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}"


def _reason(error: OSError) -> str:
    if error.errno == errno.EADDRINUSE:
        return "the address is already in use; is another program using the port?"
    return os.strerror(error.errno) if error.errno and error.errno > 0 else error.strerror or str(error)


_NEW_OBJECTS = 10_000
"""How many new objects there are before the garbage collector looks at them."""


def _log_configuration(compiled: Compiled) -> None:
    log = logs.get_logger()
    if compiled.loaded.overrides:
        log.info("config.environment", overrides=list(compiled.loaded.overrides))
    _log_warnings(compiled)


def _log_warnings(compiled: Compiled) -> None:
    for warning in all_warnings(compiled):
        logs.get_logger().warning("config.warning", place=str(warning.place), key=warning.key, text=warning.text)


def _logging_warnings(load: Load) -> Load:
    """Return what loads the configuration again, and logs its warnings as the start does."""

    def load_and_log() -> Compiled:
        compiled = load()
        _log_warnings(compiled)
        return compiled

    return load_and_log


def run_loop(main: Coroutine[Any, Any, None]) -> None:
    """Run a coroutine on uvloop, or on the loop of asyncio if uvloop is not installed.

    Objects that exist now are excluded from garbage collection, because scanning them would delay requests. A request
    makes some hundred objects and no cycle, so that the collector runs less often than Python's default.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(_NEW_OBJECTS, 10, 10)
    try:
        import uvloop
    except ImportError:
        asyncio.run(main)
    else:
        uvloop.run(main)
