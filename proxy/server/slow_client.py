"""Slow clients: close a connection whose client does not read its response, after `body_timeout`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.config.model import ServerLimits
from proxy.observe.logs import get_logger


class SlowReader:
    """A watch on a client that has stopped reading its response, until `stop`.

    The connection stays open while the client reads at least `min_rate` bytes per second, measured over `body_timeout`.

    Args:
        transport: the connection.
        loop: the event loop.
        limits: returns the limits of the configuration in use.
        peer: the client's address, for the log.
    """

    __slots__ = ("_deadline", "_limits", "_loop", "_peer", "_transport", "_unsent")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limits: Callable[[], ServerLimits],
        peer: str,
    ) -> None:
        self._transport = transport
        self._loop = loop
        self._limits = limits
        self._peer = peer
        self._watch()

    def stop(self) -> None:
        """Stop the watch: the client reads again, or the connection is closed."""
        self._deadline.cancel()

    def _watch(self) -> None:
        self._unsent = self._transport.get_write_buffer_size()
        self._deadline = self._loop.call_later(self._limits().body_timeout, self._check)

    def _check(self) -> None:
        limits = self._limits()
        if self._unsent - self._transport.get_write_buffer_size() >= max(1, limits.min_rate * limits.body_timeout):
            self._watch()
        else:
            get_logger().info("client.too_slow", ip=self._peer)
            self._transport.abort()
