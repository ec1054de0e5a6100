"""One serving process: signals, background work and the end. `supervisor.py` runs several such processes."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Callable, Coroutine
from typing import Any

from proxy.config.compile import Compiled
from proxy.observe.logs import get_logger
from proxy.server.background import repeated
from proxy.server.file_watch import Changes
from proxy.server.lifecycle import Load, Running, Stop
from proxy.server.serving import Serving
from proxy.sessions.opening import open_store

_WATCH_SECONDS = 1.0
STOP_NOW = signal.SIGUSR1
FORWARDED = (signal.SIGTERM, signal.SIGHUP, STOP_NOW)
"""The signals from the supervisor to a worker. They are blocked in a new worker until it has installed its handlers."""


async def run(compiled: Compiled, how: Running) -> None:
    """Serve until SIGINT or SIGTERM; reload at SIGHUP.

    Raises:
        CertificateError: the certificate or its key can't be used.
        OSError: the process can't listen on the port.
        StoreError: the session store can't be opened.
    """
    config = compiled.loaded.gateway.server
    worker = how.worker if how.parent is not None else None
    serving, stop = Serving(compiled, open_store(compiled), worker=worker, report=how.report), Stop()
    if how.metrics is not None:
        serving.share_metrics(how.metrics, how.worker)
        serving.join_workers(how.metrics, how.worker)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, serving.reload_soon, how.load)
    if how.parent is None:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.on_signal, name)
    else:
        _install_signal_handlers(loop, how.parent, stop)
    background: list[asyncio.Task[None]] = []
    try:
        host, port = await serving.listen(config.host, config.port if how.port is None else how.port, shared=how.shared)
        background = [asyncio.create_task(repeated(work)) for work in _background(serving, how)]
        how.ready(host, port)
        serving.warn_of_unreachable()
        await stop.requested.wait()
        get_logger().info("gateway.stopping", connections=len(serving.listener.connections))
        serving.stop_listening()
        grace = serving.current.gateway.compiled.loaded.gateway.server.shutdown_grace
        finishing = asyncio.ensure_future(serving.finish(grace, keep_idle=stop.keep_idle))
        skip_drain = asyncio.ensure_future(stop.immediately.wait())
        await asyncio.wait([finishing, skip_drain], return_when=asyncio.FIRST_COMPLETED)
        for task in (finishing, skip_drain):
            task.cancel()
        await serving.cut_off()
    finally:
        for task in background:
            task.cancel()
        await serving.close()
        serving.write_counters()
        if how.parent is not None:
            _ignore_signals(loop)


def _install_signal_handlers(loop: asyncio.AbstractEventLoop, parent: int, stop: Stop) -> None:
    """Install the handlers for signals of the supervisor. A second SIGTERM, such as one to the whole process group, has
    no effect; another signal requests the immediate stop."""
    loop.add_signal_handler(signal.SIGTERM, stop.requested.set)
    loop.add_signal_handler(STOP_NOW, stop.stop_now)
    loop.add_reader(parent, _orphaned, loop, parent, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _ignore_signals(loop: asyncio.AbstractEventLoop) -> None:
    """Ignore signals that arrive after the end of serving, so that the exit status stays 0."""
    for name in FORWARDED:
        loop.remove_signal_handler(name)
        signal.signal(name, signal.SIG_IGN)


def _orphaned(loop: asyncio.AbstractEventLoop, parent: int, stop: Stop) -> None:
    loop.remove_reader(parent)
    get_logger().error("worker.orphaned")
    stop.requested.set()


def _background(serving: Serving, how: Running) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    work: list[Callable[[], Coroutine[Any, Any, None]]] = [
        serving.purge,
        serving.share_limits,
        lambda: serving.process.drain.end_with_sessions(serving.session_lives),
    ]
    if serving.certificate is not None:
        work.append(serving.certificate.watch)
    if how.metrics is not None:
        work.append(serving.publish_metrics)
    if how.watch:
        work.append(lambda: _watch(serving, how.load))
    return work


async def _watch(serving: Serving, load: Load) -> None:
    changes = Changes(serving.current.gateway.compiled.loaded)
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        if changes.detected(serving.current.gateway.compiled.loaded):
            await serving.reload(load)
