"""One serving process: listen, reload the configuration without losing a request, and drain before the end.

Current requests finish with the configuration with which they began. An invalid configuration is rejected, and the
current one stays in use. `supervisor.py` runs several such processes.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

from proxy.config.compile import Compiled
from proxy.config.diff import differences, fingerprint
from proxy.config.model import Server
from proxy.config.problems import ConfigError
from proxy.gateway import Gateway, open_store, session_folder
from proxy.observe.access import AccessLog
from proxy.observe.audit import local_event
from proxy.observe.exposition import MetricsFolder
from proxy.observe.logs import configure, get_logger, place_of
from proxy.observe.metrics import Collected, add, counters
from proxy.process import Process
from proxy.server.background import logged, repeated
from proxy.server.certificate import Certificate
from proxy.server.connection_limits import ConnectionLimits
from proxy.server.dispatcher import Dispatcher
from proxy.server.file_watch import Changes
from proxy.server.lifecycle import Load, Reloads, Running, Stop
from proxy.server.listener import Listener
from proxy.sessions.store import SessionStore, StoreError

_PURGE_SECONDS = 30.0
_IDLE_GRACE = 3.0
_WATCH_SECONDS = 1.0
_SHARE_SECONDS = 1.0
_BACKLOG = 4096
STOP_NOW = signal.SIGUSR1
FORWARDED = (signal.SIGTERM, signal.SIGHUP, STOP_NOW)
"""The signals from the supervisor to a worker. They are blocked in a new worker until it has installed its handlers."""
_FIXED = ("host", "port", "workers")


class Serving:
    """The gateway of this process, with its listener and its current configuration."""

    def __init__(
        self,
        compiled: Compiled,
        store: SessionStore,
        *,
        supervised: bool = False,
        fast: bool = True,
        log: AccessLog | None = None,
    ) -> None:
        """Make the gateway of a process.

        Args:
            compiled: the configuration.
            store: the session store.
            supervised: True if a supervisor controls the number of processes.
            fast: True to use the fast path; see `Dispatcher`.
            log: the access log; see `Dispatcher`.

        Raises:
            CertificateError: the certificate or its key can't be used.
        """
        config = compiled.loaded.gateway
        self._started_with = config.server
        self._fixed = [name for name in _FIXED if name != "workers" or not supervised]
        self.process = Process()
        self.process.measures.sources.append(self._measure)
        self._fast, self._log = fast, log
        self.current = Dispatcher(Gateway(compiled, store, self.process), fast=fast, log=log)
        self._in_use = [self.current]
        self.limits = ConnectionLimits(config.server.limits, compiled.trusted_proxies)
        self.listener = Listener(self.current, self.limits)
        self.certificate = Certificate.of(config.server, compiled.loaded.file.parent)
        self.reloads = Reloads(fingerprint(config), time.time())
        self._sockets: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[object]] = set()
        self._reloading = asyncio.Lock()

    @property
    def configurations(self) -> int:
        """Return the number of configurations in use: the current one, and older ones with current requests."""
        return len(self._in_use)

    async def listen(self, host: str, port: int, *, shared: bool = False) -> tuple[str, int]:
        """Open the listening socket and return its address.

        Args:
            host: the host name or address.
            port: the port; 0: any free port.
            shared: True if other processes listen on the same port.

        Raises:
            OSError: the address can't be used.
        """
        self.current.gateway.start()
        context = self.certificate.context if self.certificate is not None else None
        self._sockets = await asyncio.get_running_loop().create_server(
            self.listener,
            host,
            port,
            backlog=_BACKLOG,
            ssl=context,
            ssl_handshake_timeout=self.limits.limits.header_timeout if context is not None else None,
            reuse_port=shared or None,
        )
        name = self._sockets.sockets[0].getsockname()
        return name[0], name[1]

    async def reload(self, load: Load) -> bool:
        """Load the configuration again and use it. If it is rejected, log the reason and return False."""
        async with self._reloading:
            return await self._reload(load)

    async def _reload(self, load: Load) -> bool:
        log = get_logger()
        try:
            compiled = await asyncio.to_thread(load)
            changed = self._use(compiled)
        except ConfigError as error:
            self.reloads.failed()
            for problem in error.problems:
                log.error("reload.problem", problem=str(problem))
            log.error("reload.rejected", problems=len(error.problems), still=self.reloads.fingerprint)
            return False
        except (OSError, StoreError) as error:
            self.reloads.failed()
            log.error("reload.rejected", reason=str(error), still=self.reloads.fingerprint)
            return False
        except Exception as error:  # its text may contain a value of the configuration
            self.reloads.failed()
            log.error("reload.rejected", reason=place_of(error), still=self.reloads.fingerprint)
            return False
        self.reloads.succeeded(fingerprint(compiled.loaded.gateway))
        audit = self.current.gateway.audit
        if audit is not None:
            audit.append(local_event("config.reload", "success", f"configuration {self.reloads.fingerprint}"))
        log.info("reload.done", config=self.reloads.fingerprint, changed=list(changed))
        return True

    def _use(self, compiled: Compiled) -> tuple[str, ...]:
        old, config = self.current, compiled.loaded.gateway
        before = old.gateway.compiled.loaded.gateway
        gateway = Gateway(compiled, self._store(compiled), self.process, old.gateway)
        try:
            changed = differences(before, config)
            if self.certificate is not None and config.server.tls is not None:
                self.certificate.use(config.server.tls, compiled.loaded.file.parent)
        except Exception:
            self._run_in_task(gateway.close_what_is_left([server.gateway for server in self._in_use]))
            raise
        if config.logging != before.logging:
            configure(config.logging.format, config.logging.level)
        server = Dispatcher(gateway, fast=self._fast, log=self._log)
        gateway.start()
        self.limits.limits, self.limits.trusted = config.server.limits, compiled.trusted_proxies
        self.current = self.listener.dispatcher = server
        self._in_use.append(server)
        self._run_in_task(self._end(old, gateway))
        self._warn_of_restart(config.server)
        return changed

    def _warn_of_restart(self, wanted: Server) -> None:
        """Log the settings that changed since the start and need a restart, at each reload."""
        was = self._started_with
        settings = [name for name in self._fixed if getattr(wanted, name) != getattr(was, name)]
        if (wanted.tls is None) != (was.tls is None):
            settings.append("tls")
        if settings:
            get_logger().warning("reload.needs_restart", settings=[f"server.{name}" for name in settings])

    def _store(self, compiled: Compiled) -> SessionStore:
        """Return a store in use with the same folder, or a new store, so that no folder is opened twice."""
        wanted = _session_folder(compiled)
        gateways = (server.gateway for server in reversed(self._in_use))
        known = (gateway.store for gateway in gateways if _session_folder(gateway.compiled) == wanted)
        return next(known, None) or open_store(compiled)

    async def _end(self, old: Dispatcher, after: Gateway) -> None:
        """Wait for the last request of a configuration, then close what only this configuration used."""
        await old.gateway.retire(after)
        if old.in_flight:
            ended = asyncio.Event()
            old.on_idle = ended.set
            await ended.wait()
        old.flush_log()
        async with self._reloading:
            await self._close(old)

    async def _close(self, old: Dispatcher) -> None:
        self._in_use.remove(old)
        await old.gateway.close_what_is_left([server.gateway for server in self._in_use])

    def reload_soon(self, load: Load) -> None:
        """Start a reload in a task; a signal handler."""
        self._run_in_task(self.reload(load))

    def _run_in_task(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(logged(work))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def stop_listening(self) -> None:
        """Begin the drain: accept no new connections, and finish the current requests."""
        self.process.drain.start()
        if self._sockets is not None:
            self._sockets.close()

    async def finish(self, grace: float, *, keep_idle: bool = True) -> None:
        """Wait for the current requests, and then close all connections.

        Args:
            grace: the maximum time to wait, in seconds.
            keep_idle: True to keep idle connections open for a short time, so that requests in transit are served.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        if keep_idle:
            await self._until_empty(min(end, loop.time() + min(_IDLE_GRACE, grace / 2)))
        self.listener.pre_shutdown()
        await self._until_empty(end)
        await self.cut_off()

    async def cut_off(self) -> None:
        """Close the connections that are left, before the upstreams' are closed: the log says who ended a request."""
        self.process.drain.over = True
        await self.listener.shutdown(0.2)

    async def _until_empty(self, end: float) -> None:
        loop = asyncio.get_running_loop()
        while self.listener.connections and loop.time() < end:  # noqa: ASYNC110 - aiohttp has no such event
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Close the gateways of all configurations."""
        for task in list(self._tasks):
            task.cancel()
        for old in [server for server in self._in_use if server is not self.current]:
            old.flush_log()
            await self._close(old)
        self.current.flush_log()
        await self.current.gateway.close()

    def _measure(self, out: Collected) -> None:
        add(out, "noetl_gateway_connections", (), self.limits.open)
        add(out, "noetl_gateway_connections_limit", (), self.limits.limits.max_connections)
        add(out, "noetl_gateway_connections_refused", (), self.limits.refused)
        add(out, "noetl_gateway_malformed_requests", (), self.limits.malformed)
        add(out, "noetl_gateway_config_info", (self.reloads.fingerprint,), 1)
        add(out, "noetl_gateway_config_loaded_timestamp_seconds", (), self.reloads.at)
        add(out, "noetl_gateway_config_last_reload_successful", (), int(self.reloads.last_ok))

    def share_metrics(self, folder: Path, worker: int) -> None:
        """Share metrics with the other workers, and continue the counters of the previous worker of this number.

        Args:
            folder: the folder with the metrics of all workers.
            worker: the number of this worker.
        """
        measures = self.process.measures
        measures.metrics_folder = MetricsFolder(folder, worker)
        measures.metrics.add_counters_of(measures.metrics_folder.read_previous())

    async def publish_metrics(self) -> None:
        """Write the metrics for the other workers periodically, until cancelled."""
        measures = self.process.measures
        while measures.metrics_folder is not None:
            measures.metrics_folder.write(measures.here(self.current.gateway))
            await asyncio.sleep(_SHARE_SECONDS)

    async def session_lives(self, key: bytes) -> bool:
        """Return True if a session has not ended.

        Raises:
            StoreError: the store is unavailable.
        """
        return await self.current.gateway.principals.still_alive(key)

    def write_counters(self) -> None:
        """Write the final counters for the other workers."""
        measures = self.process.measures
        if measures.metrics_folder is not None:
            measures.metrics_folder.write(counters(measures.here(self.current.gateway)))

    async def purge(self) -> None:
        """Remove ended sessions from the store periodically, until cancelled."""
        while True:
            gateway = self.current.gateway
            idle = gateway.compiled.loaded.gateway.sessions.idle_timeout
            try:
                await gateway.store.purge(time.time(), idle)
            except StoreError as error:
                get_logger().warning("sessions.purge_failed", reason=str(error))
            await asyncio.sleep(_PURGE_SECONDS)


def _session_folder(compiled: Compiled) -> Path | None:
    return None if compiled.loaded.gateway.sessions.store == "memory" else session_folder(compiled)


async def run(compiled: Compiled, how: Running) -> None:
    """Serve until SIGINT or SIGTERM; reload at SIGHUP.

    Raises:
        CertificateError: the certificate or its key can't be used.
        OSError: the process can't listen on the port.
        StoreError: the session store can't be opened.
    """
    config = compiled.loaded.gateway.server
    serving, stop = Serving(compiled, open_store(compiled), supervised=how.parent is not None), Stop()
    if how.metrics is not None:
        serving.share_metrics(how.metrics, how.worker)
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
