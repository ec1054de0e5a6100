"""Slow clients: close a connection whose client does not read its response, after `body_timeout`."""

from __future__ import annotations

import asyncio

from proxy.observe.logs import get_logger
from proxy.server.connection_limits import ConnectionLimits


class SlowReader:
    """A watch on the client of one connection while it does not read its response, from `start` to `stop`.

    The connection stays open while the client reads at least `min_rate` bytes per second, measured over `body_timeout`.

    Args:
        loop: the event loop.
        limits: those in force.
    """

    __slots__ = ("_deadline", "_limits", "_loop", "_peer", "_transport", "_unsent")

    def __init__(self, loop: asyncio.AbstractEventLoop, limits: ConnectionLimits) -> None:
        self._loop = loop
        self._limits = limits
        self._transport: asyncio.Transport | None = None
        self._deadline: asyncio.TimerHandle | None = None
        self._peer = ""
        self._unsent = 0

    def start(self, transport: asyncio.Transport | None, peer: str) -> None:
        """Start the watch, unless it is on. `peer` is the client's address, for the log."""
        if self._transport is None and transport is not None:
            self._transport, self._peer = transport, peer
            self._watch(transport)

    def stop(self) -> None:
        """Stop the watch: the client reads again, or the connection is closed."""
        if self._deadline is not None:
            self._deadline.cancel()
        self._transport = self._deadline = None

    def _watch(self, transport: asyncio.Transport) -> None:
        self._unsent = transport.get_write_buffer_size()
        self._deadline = self._loop.call_later(self._limits.limits.body_timeout, self._check, transport)

    def _check(self, transport: asyncio.Transport) -> None:
        limits = self._limits.limits
        if self._unsent - transport.get_write_buffer_size() >= max(1, limits.min_rate * limits.body_timeout):
            self._watch(transport)
        else:
            get_logger().info("client.too_slow", ip=self._peer)
            transport.abort()
