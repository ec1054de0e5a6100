"""The gateway of one process: listening, reloads without losing a request, and the drain before the end.

Current requests finish with the configuration with which they began. An invalid configuration is rejected, and the
current one stays in use.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Coroutine
from pathlib import Path
from typing import Any

from proxy.config.compile import Compiled
from proxy.config.diff import differences, fingerprint
from proxy.config.model import Server
from proxy.config.problems import ConfigError
from proxy.config.replace import check_replacement
from proxy.gateway import Gateway
from proxy.live.hub import Hub
from proxy.observe.access import AccessLog
from proxy.observe.audit import local_event
from proxy.observe.exposition import MetricsFolder
from proxy.observe.logs import configure, get_logger, place_of
from proxy.observe.metrics import Collected, add, counters
from proxy.process import Process
from proxy.rate_limits import share
from proxy.server.background import logged
from proxy.server.certificate import Certificate
from proxy.server.connection_limits import ConnectionLimits
from proxy.server.dispatcher import Dispatcher
from proxy.server.lifecycle import Load, Reloads, Report, log_rejection, no_report
from proxy.server.listener import Listener
from proxy.server.peers import Peers
from proxy.server.startup import warn_of_unreachable
from proxy.sessions.opening import open_store, place_of_store
from proxy.sessions.store import SessionStore, SharedStore, StoreError

_PURGE_SECONDS = 30.0
_IDLE_GRACE = 3.0
_SHARE_SECONDS = 1.0
_LIMITS_SECONDS = 0.1
_BACKLOG = 4096
_FIXED = ("host", "port", "workers")


class Serving:
    """The gateway of this process, with its listener and its current configuration."""

    def __init__(
        self,
        compiled: Compiled,
        store: SessionStore,
        *,
        worker: int | None = None,
        report: Report = no_report,
        fast: bool = True,
        log: AccessLog | None = None,
    ) -> None:
        """Make the gateway of a process.

        Args:
            compiled: the configuration.
            store: the session store.
            worker: the number of this worker; None: there is no supervisor, which controls the number of workers.
            report: receives the result of each reload.
            fast: True to use the fast path; see `Dispatcher`.
            log: the access log; see `Dispatcher`.

        Raises:
            CertificateError: the certificate or its key can't be used.
        """
        config = compiled.loaded.gateway
        self._started_with = config.server
        self._fixed = [name for name in _FIXED if name != "workers" or worker is None]
        self._worker, self._report = worker, report
        self.process = Process()
        self.process.hub.process = secrets.token_hex(8) if isinstance(store, SharedStore) else str(worker or 0)
        self.process.measures.sources.append(self._measure)
        self._fast, self._log = fast, log
        self.current = Dispatcher(Gateway(compiled, store, self.process), fast=fast, log=log)
        self._in_use = [self.current]
        self.limits = ConnectionLimits(config.server.limits, compiled.trusted_proxies)
        self.listener = Listener(self.current, self.limits)
        self.certificate = Certificate.of(config.server, compiled.loaded.file.parent)
        self.reloads = Reloads(fingerprint(config), time.time())
        self._sockets: asyncio.Server | None = None
        self._peers: Peers | None = None
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
        hub = self.process.hub
        self.current.gateway.start()
        await self._resume_live(hub)
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

    async def _resume_live(self, hub: Hub) -> None:
        """Go on with the live executions of an earlier process of this name."""
        try:
            await hub.store.forget_streams(hub.process)
            if self.current.gateway.api is not None:
                await self.process.follower.resume(self.current.gateway.api)
        except StoreError as error:
            if not isinstance(self.current.gateway.store, SharedStore):
                raise
            get_logger().error("sessions.unavailable", reason=str(error))  # it is used once it is there

    async def reload(self, load: Load) -> bool:
        """Load the configuration again and use it. If it is rejected, log the reason and return False."""
        async with self._reloading:
            problems = await self._reload(load)
            self._report(self.reloads.fingerprint, problems)
            return not problems

    async def _reload(self, load: Load) -> tuple[str, ...]:
        """Load the configuration again and use it; return why it was rejected, if it was."""
        try:
            compiled = await asyncio.to_thread(load)
            check_replacement(self.current.gateway.compiled.loaded, compiled.loaded)
            changed = self._use(compiled)
        except ConfigError as error:
            return self._reject(tuple(map(str, error.problems)))
        except (OSError, StoreError) as error:
            return self._reject(reason=str(error))
        except Exception as error:  # its text may contain a value of the configuration
            return self._reject(reason=place_of(error))
        self.reloads.succeeded(fingerprint(compiled.loaded.gateway))
        who = {} if self._worker is None else {"worker": self._worker}
        audit = self.current.gateway.audit
        if audit is not None:
            audit.append(local_event("config.reload", "success", f"configuration {self.reloads.fingerprint}"))
        changes = list(changed) or "nothing"
        get_logger().info("reload.done", config=self.reloads.fingerprint, changed=changes, **who)
        self.warn_of_unreachable()
        return ()

    def _reject(self, problems: tuple[str, ...] = (), reason: str = "") -> tuple[str, ...]:
        self.reloads.failed()
        return log_rejection(self.reloads.fingerprint, problems, reason)

    def warn_of_unreachable(self) -> None:
        """Log in a task what can't be reached with the current configuration; of several workers, the first does it."""
        if not self._worker:
            self._run_in_task(warn_of_unreachable(self.current.gateway))

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
        """Return a store in use at the same place, or a new store, so that no folder is opened twice."""
        wanted = _place(compiled)
        gateways = (server.gateway for server in reversed(self._in_use))
        known = (gateway.store for gateway in gateways if _place(gateway.compiled) == wanted)
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
        if self._peers is not None:
            self._peers.close()
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
        for outcome, count in self.reloads.counts.items():
            add(out, "noetl_gateway_config_reloads", (outcome,), count)
        if self.certificate is not None:
            add(out, "noetl_gateway_certificate_expiry_timestamp_seconds", (), self.certificate.expires_at)

    def share_metrics(self, folder: Path, worker: int) -> None:
        """Share metrics with the other workers, and continue the counters of the previous worker of this number.

        Args:
            folder: the folder with the metrics of all workers.
            worker: the number of this worker.
        """
        measures = self.process.measures
        measures.metrics_folder = MetricsFolder(folder, worker)
        measures.metrics.add_counters_of(measures.metrics_folder.read_previous())

    def join_workers(self, folder: Path, worker: int) -> None:
        """Exchange messages with the other workers; `folder` is shared, `worker` its own number."""
        messages = self.process.messages
        self._peers = Peers(folder, worker, messages.receive)
        messages.workers = self._peers.send

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

    async def share_limits(self) -> None:
        """Count rate limits together with the other processes of a shared store, until cancelled."""
        while True:
            await asyncio.sleep(_LIMITS_SECONDS)
            store = self.current.gateway.store
            if isinstance(store, SharedStore):
                try:
                    await share(list(self.process.limiters.values()), store)
                except StoreError:
                    await asyncio.sleep(_SHARE_SECONDS)  # until it is back, each process counts for itself

    async def purge(self) -> None:
        """Remove ended sessions from the store periodically, until cancelled."""
        while True:
            gateway = self.current.gateway
            idle = gateway.compiled.loaded.gateway.sessions.idle_timeout
            try:
                await gateway.store.purge(time.time(), idle)
                await self.process.hub.purge()
            except StoreError as error:
                get_logger().warning("sessions.purge_failed", reason=str(error))
            await asyncio.sleep(_PURGE_SECONDS)


def _place(compiled: Compiled) -> tuple[str, object]:
    """Return what tells session stores apart: who makes the sessions, and where they are."""
    config = compiled.loaded.gateway
    return config.auth.provider, place_of_store(compiled)
