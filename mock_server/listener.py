"""The listening socket of a sandbox: accepts connections, closes silent ones, and can be slow or closed for a while."""

from __future__ import annotations

import asyncio
import logging
import socket
import ssl
from collections.abc import Awaitable, Callable

from .connection import Connection
from .service import Service

BACKLOG = 1024
TICK_SECONDS = 5.0
RETRY_SECONDS = 0.1
REBIND_SECONDS = 60.0
ACCEPTED_AT_ONCE = 64
HANDSHAKE_SECONDS = 10.0

_log = logging.getLogger("mock_server")


class Listener:
    """A listener: `start` binds the port, `stop` finishes the current requests and closes everything."""

    _loop: asyncio.AbstractEventLoop

    def __init__(self, service: Service, tls: ssl.SSLContext | None = None) -> None:
        self.service = service
        self._tls = tls
        self._socket: socket.socket | None = None
        self._ticks: asyncio.Task[None] | None = None
        self._accepted: dict[asyncio.Task[None], socket.socket] = {}
        self._paused: asyncio.TimerHandle | None = None
        self._address: tuple[str, int] = ("", 0)
        self.accept_seconds = 0.0

    @property
    def port(self) -> int:
        """The port; 0 before the start."""
        return self._address[1]

    @property
    def url(self) -> str:
        """The base URL, without a slash at its end."""
        host, port = self._address
        return f"{self.service.scheme}://{f'[{host}]' if ':' in host else host}:{port}"

    async def start(
        self, host: str = "127.0.0.1", port: int = 0, prepare: Callable[[], Awaitable[None]] | None = None
    ) -> None:
        """Listen on a port; the system selects one for port 0.

        Args:
            host: the address.
            port: the port.
            prepare: runs once the port is known, and before the first connection is accepted.

        Raises:
            OSError: the address is not available.
        """
        self._loop = asyncio.get_running_loop()
        self._bind(host, port)
        if prepare is not None:
            await prepare()
        self._watch()
        self._ticks = self._loop.create_task(self._tick())

    def _bind(self, host: str, port: int) -> None:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        listening = socket.create_server((host, port), family=family, backlog=BACKLOG)
        listening.setblocking(False)
        self._socket = listening
        self._address = (host, listening.getsockname()[1])

    async def stop(self, seconds: float = 1.0) -> None:
        """Stop accepting connections, give current requests a moment, then close."""
        self._unbind()
        self.service.closing = True
        at_work = [connection.task for connection in self.service.open if connection.task is not None]
        if at_work:
            await asyncio.wait(at_work, timeout=seconds)
        await self._end_connections()
        if self._ticks is not None:
            self._ticks.cancel()
            await asyncio.wait([self._ticks])

    async def restart(self, seconds: float) -> None:
        """Close the port and reset every connection, and listen again after some seconds.

        Raises:
            OSError: another program has taken the port, and keeps it.
        """
        self._unbind()
        await self._end_connections()
        await asyncio.sleep(seconds)
        deadline = self._loop.time() + REBIND_SECONDS
        while self._socket is None:
            try:
                self._bind(*self._address)
            except OSError:
                if self._loop.time() > deadline:
                    raise
                await asyncio.sleep(RETRY_SECONDS)
        self._watch()

    def _unbind(self) -> None:
        if self._paused is not None:
            self._paused.cancel()
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()
            self._socket = None

    async def _end_connections(self) -> None:
        """End every connection, also those that were accepted a moment ago and are not served yet."""
        if self._accepted:
            for task in self._accepted:
                task.cancel()
            await asyncio.wait(list(self._accepted))
        await asyncio.gather(*(connection.end() for connection in list(self.service.open)))

    def _watch(self) -> None:
        if self._socket is not None:
            self._loop.add_reader(self._socket.fileno(), self._readable)

    def _pause(self, seconds: float, then: Callable[[], None]) -> None:
        if self._socket is not None:
            self._loop.remove_reader(self._socket.fileno())
            self._paused = self._loop.call_later(seconds, then)

    def _readable(self) -> None:
        if self.accept_seconds:
            self._pause(self.accept_seconds, self._accept_one)
            return
        for _ in range(ACCEPTED_AT_ONCE):
            if not self._accept():
                return

    def _accept_one(self) -> None:
        self._watch()
        self._accept()

    def _accept(self) -> bool:
        """Accept a connection; return whether there may be another one."""
        if self._socket is None:
            return False
        try:
            connection, _ = self._socket.accept()
        except (BlockingIOError, InterruptedError, ConnectionAbortedError):
            return False
        except OSError:  # too many open files: wait for some to be closed
            self._pause(RETRY_SECONDS, self._watch)
            return False
        connection.setblocking(False)
        task = self._loop.create_task(self._connect(connection))
        self._accepted[task] = connection
        task.add_done_callback(self._connected)
        return True

    async def _connect(self, connection: socket.socket) -> None:
        await self._loop.connect_accepted_socket(
            lambda: Connection(self.service, self._loop),
            connection,
            ssl=self._tls,
            ssl_handshake_timeout=HANDSHAKE_SECONDS if self._tls else None,
        )

    def _connected(self, task: asyncio.Task[None]) -> None:
        """Close a connection that could not be served: its handshake failed, or the listener stopped before."""
        connection = self._accepted.pop(task)
        if task.cancelled():
            connection.close()
        elif (error := task.exception()) is not None:
            connection.close()
            if not isinstance(error, OSError):
                _log.error("a connection could not be served", exc_info=error)

    async def _tick(self) -> None:
        while True:
            await asyncio.sleep(TICK_SECONDS)
            before = asyncio.get_running_loop().time() - self.service.limits.idle_seconds
            for connection in list(self.service.open):
                connection.close_if_idle(before)
