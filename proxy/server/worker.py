"""One serving process: it listens, changes to a new configuration without losing a request, and ends in order.

Requests under way finish with the configuration that they began with. A new configuration that can't be used changes
nothing. Several such processes are the business of `workers.py`.
"""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.config.compile import Compiled
from proxy.config.diff import differences, fingerprint
from proxy.config.model import Server
from proxy.config.problems import ConfigError
from proxy.gateway import Gateway, open_store, session_folder
from proxy.observe.access import AccessLog
from proxy.observe.audit import act
from proxy.observe.exposition import Shelf
from proxy.observe.logs import configure, get_logger, place_of
from proxy.observe.metrics import Collected, add, counters
from proxy.process import Process
from proxy.server.background import logged, repeated
from proxy.server.certificate import Certificate
from proxy.server.connection_limits import ConnectionLimits
from proxy.server.dispatcher import Dispatcher
from proxy.server.file_watch import Changes
from proxy.server.lifecycle import Reloads, Stop
from proxy.server.listener import Listener
from proxy.sessions.store import SessionStore, StoreError

_PURGE_SECONDS = 30.0
_LAME_DUCK = 3.0
_WATCH_SECONDS = 1.0
_SHARE_SECONDS = 1.0
_BACKLOG = 4096
HURRY = signal.SIGUSR1
FORWARDED = (signal.SIGTERM, signal.SIGHUP, HURRY)
"""What workers are told by. A new worker starts with these blocked, and unblocks them when it can act on them."""
_FIXED = ("host", "port", "workers")
Load = Callable[[], Compiled]


class Serving:
    """The gateway of this process; `supervised`, if the number of such processes is another's business."""

    def __init__(
        self,
        compiled: Compiled,
        store: SessionStore,
        *,
        supervised: bool = False,
        fast: bool = True,
        log: AccessLog | None = None,
    ) -> None:
        """Make the gateway of a process. `fast` and `log` are those of `Dispatcher`."""
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
        self._endings: set[asyncio.Task[object]] = set()
        self._reloading = asyncio.Lock()

    @property
    def configurations(self) -> int:
        """How many configurations have requests under way: the one in force, and older ones."""
        return len(self._in_use)

    async def listen(self, host: str, port: int, *, shared: bool = False) -> tuple[str, int]:
        """Open the listening socket, `shared` with other processes. Raises OSError."""
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
        """Read the configuration anew and use it, or say why not and go on with the old one."""
        async with self._reloading:
            return await self._reload(load)

    async def _reload(self, load: Load) -> bool:
        log = get_logger()
        try:
            compiled = await asyncio.to_thread(load)
            told = self._use(compiled)
        except ConfigError as error:
            self.reloads.failed()
            for problem in error.problems:
                log.error("reload.problem", problem=str(problem))
            log.error("reload.refused", problems=len(error.problems), still=self.reloads.fingerprint)
            return False
        except (OSError, StoreError) as error:
            self.reloads.failed()
            log.error("reload.refused", reason=str(error), still=self.reloads.fingerprint)
            return False
        except Exception as error:  # its text may hold a value of the configuration
            self.reloads.failed()
            log.error("reload.refused", reason=place_of(error), still=self.reloads.fingerprint)
            return False
        self.reloads.succeeded(fingerprint(compiled.loaded.gateway))
        audit = self.current.gateway.audit
        if audit is not None:
            audit.append(act("config.reload", "success", f"configuration {self.reloads.fingerprint}"))
        log.info("reload.done", config=self.reloads.fingerprint, changed=list(told))
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
            self._later(gateway.close_what_is_left([server.gateway for server in self._in_use]))
            raise
        if config.logging != before.logging:
            configure(config.logging.format, config.logging.level)
        server = Dispatcher(gateway, fast=self._fast, log=self._log)
        gateway.start()
        self.limits.limits, self.limits.trusted = config.server.limits, compiled.trusted_proxies
        self.current = self.listener.dispatcher = server
        self._in_use.append(server)
        self._later(self._end(old, gateway))
        self._tell_of_restart(config.server)
        return changed

    def _tell_of_restart(self, wanted: Server) -> None:
        """Say what this process can't change to, at each reload for as long as it runs otherwise."""
        was = self._started_with
        settings = [name for name in self._fixed if getattr(wanted, name) != getattr(was, name)]
        if (wanted.tls is None) != (was.tls is None):
            settings.append("tls")
        if settings:
            get_logger().warning("reload.needs_restart", settings=[f"server.{name}" for name in settings])

    def _store(self, compiled: Compiled) -> SessionStore:
        """The store in use, or a new one if the configuration names another. No folder is opened twice: where requests
        of an older configuration still use it, theirs is taken."""
        wanted = _place_of_sessions(compiled)
        gateways = (server.gateway for server in reversed(self._in_use))
        known = (gateway.store for gateway in gateways if _place_of_sessions(gateway.compiled) == wanted)
        return next(known, None) or open_store(compiled)

    async def _end(self, old: Dispatcher, after: Gateway) -> None:
        """Let a configuration go once its last request has ended."""
        await old.gateway.retire(after)
        if old.in_flight:
            ended = asyncio.Event()
            old.on_idle = ended.set
            await ended.wait()
        old.flush_log()
        async with self._reloading:
            await self._let_go(old)

    async def _let_go(self, old: Dispatcher) -> None:
        self._in_use.remove(old)
        await old.gateway.close_what_is_left([server.gateway for server in self._in_use])

    def reload_soon(self, load: Load) -> None:
        """As `reload`, for a signal."""
        self._later(self.reload(load))

    def _later(self, work: Coroutine[Any, Any, object]) -> None:
        task = asyncio.create_task(logged(work))
        self._endings.add(task)
        task.add_done_callback(self._endings.discard)

    def stop_listening(self) -> None:
        """Take no more connections; those that are open are still served, each until its answer."""
        self.process.drain.start()
        if self._sockets is not None:
            self._sockets.close()

    async def finish(self, grace: float, *, patient: bool = True) -> None:
        """Serve what is under way for `grace` seconds at most. Idle connections get a moment to send what is under
        way from the client, unless not `patient`; then they are closed."""
        loop = asyncio.get_running_loop()
        end = loop.time() + grace
        if patient:
            await self._until_empty(min(end, loop.time() + min(_LAME_DUCK, grace / 2)))
        self.listener.pre_shutdown()
        await self._until_empty(end)
        await self.listener.shutdown(0.2)

    async def _until_empty(self, end: float) -> None:
        loop = asyncio.get_running_loop()
        while self.listener.connections and loop.time() < end:  # noqa: ASYNC110 - aiohttp tells of no such event
            await asyncio.sleep(0.01)

    async def close(self) -> None:
        """Let go of everything."""
        for task in list(self._endings):
            task.cancel()
        for old in [server for server in self._in_use if server is not self.current]:
            old.flush_log()
            await self._let_go(old)
        await self.current.gateway.close()
        self.current.flush_log()

    def _measure(self, out: Collected) -> None:
        add(out, "noetl_gateway_connections", (), self.limits.open)
        add(out, "noetl_gateway_connections_limit", (), self.limits.limits.max_connections)
        add(out, "noetl_gateway_connections_refused", (), self.limits.refused)
        add(out, "noetl_gateway_malformed_requests", (), self.limits.malformed)
        add(out, "noetl_gateway_config_info", (self.reloads.fingerprint,), 1)
        add(out, "noetl_gateway_config_loaded_timestamp_seconds", (), self.reloads.at)
        add(out, "noetl_gateway_config_last_reload_successful", (), int(self.reloads.last_ok))

    def share_numbers(self, folder: Path, worker: int) -> None:
        """Count together with the other workers of this gateway, in place of one that may have died."""
        measures = self.process.measures
        measures.shelf = Shelf(folder, worker)
        measures.metrics.keep(measures.shelf.of_predecessor())

    async def lay_numbers_down(self) -> None:
        """Show the other workers this one's numbers, until cancelled."""
        measures = self.process.measures
        while measures.shelf is not None:
            measures.shelf.lay_down(measures.here(self.current.gateway))
            await asyncio.sleep(_SHARE_SECONDS)

    async def session_lives(self, key: bytes) -> bool:
        """Return whether a session is still alive. Raises StoreError."""
        return await self.current.gateway.principals.still_alive(key)

    def leave_counters(self) -> None:
        """Show the other workers the last of what this one has counted."""
        measures = self.process.measures
        if measures.shelf is not None:
            measures.shelf.lay_down(counters(measures.here(self.current.gateway)))

    async def purge(self) -> None:
        """Remove ended sessions now and then, until cancelled."""
        while True:
            gateway = self.current.gateway
            idle = gateway.compiled.loaded.gateway.sessions.idle_timeout
            try:
                await gateway.store.purge(time.time(), idle)
            except StoreError as error:
                get_logger().warning("sessions.purge_failed", reason=str(error))
            await asyncio.sleep(_PURGE_SECONDS)


def _place_of_sessions(compiled: Compiled) -> Path | None:
    return None if compiled.loaded.gateway.sessions.store == "memory" else session_folder(compiled)


@dataclass(frozen=True, slots=True)
class Running:
    """How a process is to run. `parent`: a file descriptor that ends when the process above is gone; `numbers`: the
    folder where the workers of one gateway show each other what they have counted."""

    load: Load
    ready: Callable[[str, int], None]
    watch: bool = False
    shared: bool = False
    port: int | None = None
    worker: int = 0
    numbers: Path | None = None
    parent: int | None = None


async def run(compiled: Compiled, how: Running) -> None:
    """Serve until SIGINT or SIGTERM; SIGHUP reloads. Raises OSError if it can't listen, or StoreError."""
    config = compiled.loaded.gateway.server
    serving, stop = Serving(compiled, open_store(compiled), supervised=how.parent is not None), Stop()
    if how.numbers is not None:
        serving.share_numbers(how.numbers, how.worker)
    loop = asyncio.get_running_loop()
    loop.add_signal_handler(signal.SIGHUP, serving.reload_soon, how.load)
    if how.parent is None:
        for name in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(name, stop.by_signal, name)
    else:
        _obey(loop, how.parent, stop)
    background: list[asyncio.Task[None]] = []
    try:
        host, port = await serving.listen(config.host, config.port if how.port is None else how.port, shared=how.shared)
        background = [asyncio.create_task(repeated(work)) for work in _background(serving, how)]
        how.ready(host, port)
        await stop.asked.wait()
        get_logger().info("gateway.stopping", connections=len(serving.listener.connections))
        serving.stop_listening()
        grace = serving.current.gateway.compiled.loaded.gateway.server.shutdown_grace
        finishing = asyncio.ensure_future(serving.finish(grace, patient=stop.patient))
        hurry = asyncio.ensure_future(stop.at_once.wait())
        await asyncio.wait([finishing, hurry], return_when=asyncio.FIRST_COMPLETED)
        for task in (finishing, hurry):
            task.cancel()
    finally:
        for task in background:
            task.cancel()
        await serving.close()
        serving.leave_counters()
        if how.parent is not None:
            _hear_no_more(loop)


def _obey(loop: asyncio.AbstractEventLoop, parent: int, stop: Stop) -> None:
    """Hear the process above. SIGTERM may come twice, from it and with one to the whole process group, and means the
    same each time; to hurry is told otherwise."""
    loop.add_signal_handler(signal.SIGTERM, stop.asked.set)
    loop.add_signal_handler(HURRY, stop.hurry)
    loop.add_reader(parent, _orphaned, loop, parent, stop)
    signal.pthread_sigmask(signal.SIG_UNBLOCK, FORWARDED)


def _hear_no_more(loop: asyncio.AbstractEventLoop) -> None:
    """A worker that has ended in order is not to die of a signal that comes late."""
    for name in FORWARDED:
        loop.remove_signal_handler(name)
        signal.signal(name, signal.SIG_IGN)


def _orphaned(loop: asyncio.AbstractEventLoop, parent: int, stop: Stop) -> None:
    loop.remove_reader(parent)
    get_logger().error("worker.orphaned")
    stop.asked.set()


def _background(serving: Serving, how: Running) -> list[Callable[[], Coroutine[Any, Any, None]]]:
    work: list[Callable[[], Coroutine[Any, Any, None]]] = [
        serving.purge,
        lambda: serving.process.drain.end_with_sessions(serving.session_lives),
    ]
    if serving.certificate is not None:
        work.append(serving.certificate.watch)
    if how.numbers is not None:
        work.append(serving.lay_numbers_down)
    if how.watch:
        work.append(lambda: _watch(serving, how.load))
    return work


async def _watch(serving: Serving, load: Load) -> None:
    changes = Changes(serving.current.gateway.compiled.loaded)
    while True:
        await asyncio.sleep(_WATCH_SECONDS)
        if changes.seen(serving.current.gateway.compiled.loaded):
            await serving.reload(load)
