"""The connections to one url: persistent, limited in number and per user, with a limited wait and deadlines.

All deadlines are checked periodically, so that an exchange needs no timer of its own.
"""

from __future__ import annotations

import asyncio
import ssl
from collections.abc import Callable, Hashable
from dataclasses import dataclass
from functools import partial
from typing import Protocol
from urllib.parse import urlsplit

from proxy.upstream.causes import cause_of
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import KnownHeads
from proxy.upstream.receiver import Fault, FaultKind
from proxy.upstream.retry import NEVER, longest_idle
from proxy.upstream.shares import Load, Shares, Waiter

KEPT_IDLE = 50.0
_NOT_COUNTED = frozenset({FaultKind.STALE, FaultKind.IDLE_TIMEOUT})


@dataclass(frozen=True, slots=True)
class PoolSettings:
    """The settings of a pool; see the `upstreams` block.

    Args:
        connect_timeout: the maximum time to connect, and to wait for a free connection, in seconds.
        response_timeout: the maximum time until the response head, in seconds.
        idle_timeout: the maximum pause in a body, in seconds.
        max_connections: the maximum number of connections.
        max_pending: the maximum number of requests that wait for a connection.
        user_share: the share of both that one user may have, from 0 to 1.
    """

    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    max_connections: int
    max_pending: int
    user_share: float = 1.0


class EndpointObserver(Protocol):
    """An observer of the results of requests."""

    def succeeded(self) -> None:
        """Record a successful request."""

    def failed(self, *, unreachable: bool) -> None:
        """Record a failed request; `unreachable` is True if no connection could be opened."""


class Full(Exception):
    """Too many requests wait for a connection, or a request has waited too long."""


class Pool:
    """The connections to one url.

    Args:
        url: the url.
        settings: limits and timeouts.
        tls: the TLS context for an https url.
        server_name: the name in the server's certificate; None: the host of the url.
    """

    def __init__(self, url: str, settings: PoolSettings, tls: ssl.SSLContext | None, server_name: str | None) -> None:
        parts = urlsplit(url)
        self.url = url
        self.host = parts.hostname or ""
        self.secure = parts.scheme == "https"
        self.port = parts.port or (443 if self.secure else 80)
        self.authority = parts.netloc
        self.settings = settings
        self.idle_timeout = settings.idle_timeout
        self.size = 0
        self.observer: EndpointObserver | None = None
        self.requests = 0
        self.probes = 0
        self.uploads = 0
        self.most_uploads = max(1, settings.max_connections // 2)
        self.answers = [0] * 10
        self.faults = dict.fromkeys(FaultKind, 0)
        self._tls = tls if self.secure else None
        self._server_name = (server_name or self.host) if self.secure else None
        self.heads = KnownHeads()
        self._idle: list[UpstreamConnection] = []
        self._open: set[UpstreamConnection] = set()
        self.shares: Shares[UpstreamConnection] = Shares(
            settings.max_connections, settings.max_pending, settings.user_share
        )
        self._loop: asyncio.AbstractEventLoop | None = None
        self.now: Callable[[], float] = self._first_now
        """The event loop's clock, in seconds."""
        self._sweeper: asyncio.TimerHandle | None = None
        shortest = min(settings.response_timeout, settings.idle_timeout)
        self._sweep_every = min(0.5, max(0.01, shortest / 4))
        self._closed = False

    @property
    def busy(self) -> int:
        """Return the number of connections in use, including those being opened."""
        return self.size - len(self._idle)

    @property
    def waiting(self) -> int:
        """Return the number of requests that wait for a connection."""
        return len(self.shares)

    def _first_now(self) -> float:
        return self._start().time()

    def answered(self, status: int, *, probe: bool = False) -> None:
        """Record a response. The statuses 502, 503 and 504 count as failures of the upstream."""
        self.answers[min(status // 100, 9)] += 1
        if self.observer is not None and not probe:
            if 502 <= status <= 504:
                self.observer.failed(unreachable=False)
            else:
                self.observer.succeeded()

    def upload_ended(self, _: object) -> None:
        """Record the end of a request body. Such bodies use at most half of the connections, so that slow clients do
        not block all others."""
        self.uploads -= 1

    def faulted(self, kind: FaultKind, *, probe: bool = False) -> None:
        """Record a fault. A stale idle connection and an idle stream do not count as failures of the url."""
        self.faults[kind] += 1
        if self.observer is not None and not probe and kind not in _NOT_COUNTED:
            self.observer.failed(unreachable=kind is FaultKind.CONNECT)

    def take_idle(self, longest_idle: float = NEVER, user: Hashable = None) -> UpstreamConnection | None:
        """Return the most recently used idle connection, if it has been idle for at most `longest_idle` seconds.

        It counts for the share of `user`, who gets none beyond that share; None is the gateway itself.
        """
        while self._idle:
            connection = self._idle.pop()
            if connection.usable:
                load = self.shares.loads.get(user) or self.shares.new_load(user)
                too_old = longest_idle < NEVER and self.now() - connection.idle_since > longest_idle
                if too_old or load.count >= load.most:
                    self._idle.append(connection)
                    return None
                load.count += 1
                connection.load = load
                return connection
        return None

    async def acquire(self, method: str, user: Hashable = None) -> UpstreamConnection:
        """Return a connection for a request with this method, which counts for the share of `user`.

        Raises:
            Fault: the connection can't be opened.
            Full: all connections are in use, or those of the user, and too many requests wait or the wait was too long.
        """
        if self._loop is None:
            self._start()
        idle = self.take_idle(longest_idle(method), user)
        if idle is not None:
            return idle
        load = self.shares.load(user)
        if self.size >= self.settings.max_connections and self._idle and load.count < load.most:
            self._idle.pop(0).close()
        if self.size < self.settings.max_connections and load.admits():
            return await self._connect_for(load)
        reason = self.shares.refusal(load)
        if reason:
            raise Full(f"{self.size} connections are open or being opened, and {reason}")
        return await self._wait(load)

    async def _connect_for(self, load: Load[UpstreamConnection]) -> UpstreamConnection:
        """Open a connection for a user who is admitted."""
        try:
            connection = await self._connect()
        except BaseException:
            self._leave(load)
            raise
        connection.load = load
        return connection

    async def _wait(self, load: Load[UpstreamConnection]) -> UpstreamConnection:
        assert self._loop is not None  # noqa: S101 - acquire has started it
        waiter: Waiter[UpstreamConnection] = Waiter(load, self._loop.create_future())
        self.shares.wait(waiter)
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                return await waiter.future
        except BaseException as error:
            self._give_up(waiter)
            if isinstance(error, TimeoutError):
                raise Full(f"waited {self.settings.connect_timeout:g} s for one of {self.size} connections") from None
            raise

    def _give_up(self, waiter: Waiter[UpstreamConnection]) -> None:
        """A request does not wait any more; a connection that it was given meanwhile goes to another one."""
        future = waiter.future
        if future.done() and not future.cancelled() and future.exception() is None:
            self._hand_on(future.result())
            return
        self.shares.remove(waiter)
        if waiter.admitted:
            self._leave(waiter.load)

    def _leave(self, load: Load[UpstreamConnection]) -> None:
        """A user has one connection less; a request of the user that waits for that may go on."""
        if self.shares.leave(load):
            while self._idle and self.shares.first:
                self._hand_on(self._idle.pop())
            self._open_for_waiting()

    def _disown(self, connection: UpstreamConnection) -> None:
        """A connection does not count for its user any more."""
        load, connection.load = connection.load, None
        if load is not None:
            self.shares.leave(load)

    async def _connect(self) -> UpstreamConnection:
        assert self._loop is not None  # noqa: S101 - acquire has started it
        self.size += 1
        connection = UpstreamConnection(self)
        try:
            async with asyncio.timeout(self.settings.connect_timeout):
                await self._loop.create_connection(
                    lambda: connection, self.host, self.port, ssl=self._tls, server_hostname=self._server_name
                )
        except TimeoutError:
            text = f"no connection within {self.settings.connect_timeout:g} s"
            raise self._unreachable(connection, text, "no connection in time") from None
        except OSError as error:
            raise self._unreachable(connection, f"{type(error).__name__}: {error}", cause_of(error)) from None
        except BaseException:
            connection.close()
            self._forget(connection)
            raise
        if not connection.usable:
            raise self._unreachable(connection, "closed as soon as it was opened")
        self._open.add(connection)
        return connection

    def _unreachable(self, connection: UpstreamConnection, text: str, cause: str = "") -> Fault:
        self._forget(connection)
        self.faulted(FaultKind.CONNECT)
        return Fault(FaultKind.CONNECT, text, cause)

    def _forget(self, connection: UpstreamConnection) -> None:
        self._open.discard(connection)
        self.size -= 1
        self._open_for_waiting()

    def _open_for_waiting(self) -> None:
        """Open a connection for the first request that waits."""
        while self.shares.first and self.size < self.settings.max_connections:
            waiter = self.shares.next()
            if waiter is not None:
                task = asyncio.ensure_future(self._connect())
                task.add_done_callback(partial(self._opened, waiter))
                return

    def _opened(self, waiter: Waiter[UpstreamConnection], done: asyncio.Task[UpstreamConnection]) -> None:
        wanted = waiter.future
        if done.cancelled():
            wanted.cancel()
        elif (error := done.exception()) is not None:
            if not wanted.done():
                wanted.set_exception(error)
        elif wanted.done():
            self._hand_on(done.result())
        else:
            self._give(done.result(), waiter)

    def _give(self, connection: UpstreamConnection, waiter: Waiter[UpstreamConnection]) -> None:
        connection.load = waiter.load
        waiter.future.set_result(connection)

    def release(self, connection: UpstreamConnection) -> None:
        """Return a connection to the pool after a complete exchange, or pass it to a request that waits."""
        connection.idle_since = self.now()
        self._disown(connection)
        if self.shares.first or self._closed:
            self._hand_on(connection)
        else:
            self._idle.append(connection)

    def _hand_on(self, connection: UpstreamConnection) -> None:
        self._disown(connection)
        while self.shares.first and connection.usable:
            waiter = self.shares.next()
            if waiter is not None:
                self._give(connection, waiter)
                return
        if self._closed:
            connection.close()
        elif connection.usable:
            self._idle.append(connection)

    def lost(self, connection: UpstreamConnection) -> None:
        """Remove a closed connection."""
        self._disown(connection)
        if connection in self._open:
            if connection in self._idle:
                self._idle.remove(connection)
            self._forget(connection)

    def _start(self) -> asyncio.AbstractEventLoop:
        self._loop = asyncio.get_running_loop()
        self.now = self._loop.time
        self._sweeper = self._loop.call_later(self._sweep_every, self._sweep)
        return self._loop

    def _sweep(self) -> None:
        assert self._loop is not None  # noqa: S101 - it runs on the loop
        now = self._loop.time()
        for connection in [c for c in self._open if c.deadline <= now]:
            connection.overdue()
        for connection in [c for c in self._idle if now - c.idle_since > KEPT_IDLE]:
            connection.close()
        going_on = not self._closed or self._open
        self._sweeper = self._loop.call_later(self._sweep_every, self._sweep) if going_on else None

    def retire(self) -> None:
        """Close the idle connections, and the others as they become idle."""
        self._closed = True
        for connection in list(self._idle):
            connection.close()

    async def close(self) -> None:
        """Close every connection."""
        self._closed = True
        if self._sweeper is not None:
            self._sweeper.cancel()
        for connection in list(self._open):
            connection.close()
        self.shares.cancel()
        await asyncio.sleep(0)
