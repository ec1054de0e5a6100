"""An upstream's answer for those who can wait: its head, then its body as it arrives, held back if nobody reads."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from proxy.errors import BadGateway
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.receiver import Fault

_BUFFER = 256 * 1024


class BodyBroken(Exception):
    """The upstream ended, or stalled, in the middle of a body whose head has been passed on."""


class UpstreamResponse:
    """An upstream's answer: status, raw headers in lower case, and a body to stream or to read. A sink."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_ended",
        "_error",
        "_held",
        "_more",
        "_nudged",
        "_ready",
        "received",
        "status",
    )

    def __init__(self, connection: UpstreamConnection) -> None:
        self._connection = connection
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._more: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._nudged = False
        self._error: Exception | None = None
        self.status = 0
        self.received: ResponseHead | None = None

    @property
    def connection(self) -> UpstreamConnection:
        """What the answer comes on."""
        return self._connection

    async def head(self) -> None:
        """Wait for the head. Raises Fault, or what refused the request's body."""
        await self._ready

    @property
    def response_head(self) -> ResponseHead:
        """The head, once it has arrived."""
        assert self.received is not None  # noqa: S101 - `head` has been awaited
        return self.received

    @property
    def ended(self) -> bool:
        """Whether all of the answer has arrived."""
        return self._ended

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives; an empty part after a `nudge`. Raises BodyBroken."""
        while True:
            if self._nudged:
                self._nudged = False
                yield b""
            if self._chunks:
                data = b"".join(self._chunks)
                self._chunks.clear()
                self._held = 0
                if not self._ended:
                    self._connection.resume()
                yield data
            elif self._ended:
                return
            elif self._error is not None:
                raise BodyBroken(str(self._error))
            else:
                self._more = asyncio.get_running_loop().create_future()
                await self._more

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BadGateway if it is larger than `limit` bytes or ends early."""
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
        """What of the body has arrived; it is the caller's now."""
        arrived = list(self._chunks)
        self._chunks.clear()
        self._held = 0
        return arrived

    def nudge(self) -> None:
        """Have whoever reads the body look up."""
        self._nudged = True
        self._wake()

    def refuse(self, error: Exception) -> None:
        """The request's body can't be sent in full."""
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
        self._held += len(data)

    def on_batch(self) -> None:
        if self._held > _BUFFER:
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
        if self._more is not None and not self._more.done():
            self._more.set_result(None)


def too_much(limit: int) -> BadGateway:
    """The error of an answer that is larger than `limit` bytes."""
    return BadGateway("NoETL server answered too much", detail=f"body over {limit} bytes")
