"""Bodies in parts: that of a request, read by a program, with a limit on what waits in memory; that of a response."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable

MAX_WAITING = 256 * 1024


class BrokenBodyError(ConnectionResetError):
    """The client has left within a body."""


class BodyStream:
    """An asynchronous iterator over the parts of a body; a connection that ends early raises BrokenBodyError."""

    def __init__(self, hold: Callable[[bool], None]) -> None:
        """`hold` pauses reading from the connection for True, and resumes it for False."""
        self._hold = hold
        self._parts: deque[bytes] = deque()
        self._waiting = 0
        self._ended = False
        self._broken = False
        self._wake = asyncio.Event()

    def feed(self, part: bytes) -> None:
        """Add a part."""
        self._parts.append(part)
        self._waiting += len(part)
        if self._waiting > MAX_WAITING:
            self._hold(True)
        self._wake.set()

    def end(self, broken: bool = False) -> None:
        """Say that the body is complete, or that the rest of it does not come."""
        self._broken = self._broken or (broken and not self._ended)
        self._ended = True
        self._wake.set()

    def __aiter__(self) -> BodyStream:
        return self

    async def __anext__(self) -> bytes:
        while not self._parts:
            if self._broken:
                raise BrokenBodyError("the client closed the connection within the body")
            if self._ended:
                raise StopAsyncIteration
            self._wake.clear()
            await self._wake.wait()
        part = self._parts.popleft()
        self._waiting -= len(part)
        if self._waiting <= MAX_WAITING:
            self._hold(False)
        return part


async def close_stream(stream: AsyncIterator[bytes] | None) -> None:
    """Release what the rest of a stream holds, if it is one that can be closed."""
    close = getattr(stream, "aclose", None)
    if close is not None:
        await close()
