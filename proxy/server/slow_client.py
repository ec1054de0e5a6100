"""A client that does not take what it is sent: it has as long as for a pause in a body, then it is cut."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.config.model import ServerLimits
from proxy.observe.logs import get_logger


class SlowReader:
    """Watches one client from when it takes no more, until `stop`.

    It is left alone for as long as it takes `min_rate` bytes a second of what waits for it, over `body_timeout`.
    """

    __slots__ = ("_deadline", "_limits", "_loop", "_peer", "_transport", "_unsent")

    def __init__(
        self,
        transport: asyncio.Transport,
        loop: asyncio.AbstractEventLoop,
        limits: Callable[[], ServerLimits],
        peer: str,
    ) -> None:
        """`limits` are those in force when it is asked for them."""
        self._transport = transport
        self._loop = loop
        self._limits = limits
        self._peer = peer
        self._watch()

    def stop(self) -> None:
        """The client takes more again, or has gone."""
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
