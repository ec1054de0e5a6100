"""A response of an upstream for coroutines: the head, then the body as it arrives, with flow control."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from proxy.errors import BadGateway
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.receiver import Fault, ResponseReceiver

_BUFFER = 256 * 1024


class BodyBroken(Exception):
    """The upstream closed the connection, or stalled, in a body whose head has been forwarded."""


class UpstreamResponse(ResponseReceiver):
    """A response of an upstream: status, raw headers in lower case, and a body to stream or to read."""

    __slots__ = (
        "_buffered",
        "_chunks",
        "_connection",
        "_data_ready",
        "_ended",
        "_error",
        "_nudged",
        "_ready",
        "received",
        "status",
    )

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._data_ready: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._buffered = 0
        self._ended = False
        self._nudged = False
        self._error: Exception | None = None
        self.status = 0
        self.received: ResponseHead | None = None

    @property
    def connection(self) -> UpstreamConnection:
        """Return the connection of the response."""
        return self._connection

    async def head(self) -> None:
        """Wait for the head.

        Raises:
            Fault: the upstream failed.
            GatewayError: the body of the request was rejected.
        """
        await self._ready

    @property
    def response_head(self) -> ResponseHead:
        """Return the head; only after `head` has returned."""
        assert self.received is not None  # noqa: S101 - `head` has been awaited
        return self.received

    @property
    def ended(self) -> bool:
        """Return True if the response is complete."""
        return self._ended

    async def chunks(self) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, and an empty chunk after a `nudge`.

        Raises:
            BodyBroken: the body is incomplete.
        """
        while True:
            if self._nudged:
                self._nudged = False
                yield b""
            if self._chunks:
                data = b"".join(self._chunks)
                self._chunks.clear()
                self._buffered = 0
                if not self._ended:
                    self._connection.resume()
                yield data
            elif self._ended:
                return
            elif self._error is not None:
                raise BodyBroken(str(self._error))
            else:
                self._data_ready = asyncio.get_running_loop().create_future()
                await self._data_ready

    async def read(self, limit: int) -> bytes:
        """Return the whole body.

        Raises:
            BadGateway: the body is larger than `limit` bytes, or incomplete.
        """
        data = bytearray()
        try:
            async for chunk in self.chunks():
                data += chunk
                if len(data) > limit:
                    raise too_much(limit)
        except BodyBroken as error:
            raise BadGateway(detail=str(error)) from None
        return bytes(data)

    def take_arrived(self) -> list[bytes]:
        """Return the part of the body that has arrived, and remove it from the buffer."""
        chunks = list(self._chunks)
        self._chunks.clear()
        self._buffered = 0
        return chunks

    def nudge(self) -> None:
        """Make `chunks` yield an empty chunk, so that its reader checks its state."""
        self._nudged = True
        self._wake()

    def refuse(self, error: Exception) -> None:
        """End the response with an error, because the body of the request can't be sent completely."""
        self._error = error
        if not self._ready.done():
            self._ready.set_exception(error)
        self._wake()

    # ResponseReceiver

    def on_head(self, head: ResponseHead) -> None:
        self.status = head.status
        self.received = head
        if not self._ready.done():
            self._ready.set_result(None)

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._buffered += len(data)

    def on_batch(self) -> None:
        if self._buffered > _BUFFER:
            self._connection.pause()
        self._wake()

    def on_end(self) -> None:
        self._ended = True
        self._wake()

    def on_fault(self, fault: Fault) -> None:
        self._error = fault
        if not self._ready.done():
            self._ready.set_exception(fault)
        self._wake()

    def _wake(self) -> None:
        if self._data_ready is not None and not self._data_ready.done():
            self._data_ready.set_result(None)


class TooLarge(BadGateway):
    """A response is larger than what the gateway reads."""


def too_much(limit: int) -> TooLarge:
    """Return the error of a response that is larger than `limit` bytes."""
    return TooLarge("NoETL server sent a response that is too large", detail=f"body over {limit} bytes")
