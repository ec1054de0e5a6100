"""A request head that comes in parts: it has a deadline from its first byte, and a size."""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from proxy.errors import GatewayError, HeadTooLarge, RequestTimeout
from proxy.server.connection_limits import ConnectionLimits

_LINE_ENDS = 1024


class HeadDeadline:
    """Watches the head that is arriving on one connection.

    Args:
        loop: the event loop.
        limits: those in force.
        reject: is called with the error of a head that is too slow or too large.
    """

    __slots__ = ("_limits", "_loop", "_reject", "_timer", "size")

    def __init__(
        self, loop: asyncio.AbstractEventLoop, limits: ConnectionLimits, reject: Callable[[GatewayError], None]
    ) -> None:
        self._loop = loop
        self._limits = limits
        self._reject = reject
        self._timer: asyncio.TimerHandle | None = None
        self.size = 0

    def add(self, size: int) -> None:
        """Note that a part of `size` bytes has arrived."""
        limits = self._limits.limits
        if self._timer is None:
            self.size = 0
            self._timer = self._loop.call_later(limits.header_timeout, self._too_slow)
        self.size += size
        if self.size > limits.max_header_size + _LINE_ENDS:
            self._reject(HeadTooLarge(detail="the request head is too large"))

    def stop(self) -> int:
        """Note that the head is complete, or of no interest any more; return the size of its parts so far."""
        if self._timer is None:
            return 0
        self._timer.cancel()
        self._timer = None
        return self.size

    def _too_slow(self) -> None:
        self._timer = None
        self._reject(RequestTimeout(detail="the request head came too slowly"))
