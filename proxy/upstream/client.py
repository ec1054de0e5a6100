"""Requests to one upstream for those who can wait: an answer to read or to stream, with its connection given back.

The relay's fast lane sends on the same connections without coming through here.
"""

from __future__ import annotations

import asyncio
import re
import time
from collections import deque
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from proxy.errors import BadGateway, GatewayError, GatewayTimeout, Unavailable
from proxy.upstream.connection import Connection, Fault, FaultKind, Head
from proxy.upstream.pool import Full, Pool

Headers = list[tuple[str, str]]
SAFE = frozenset({"GET", "HEAD", "OPTIONS"})
_BUFFER = 256 * 1024
_UNSAFE_FIELD = re.compile(r"[\r\n\x00]")


class BodyBroken(Exception):
    """The upstream ended, or stalled, in the middle of a body whose head has been passed on."""


class Response:
    """An upstream's answer: status, raw headers in lower case, and a body to stream or to read. A sink."""

    __slots__ = (
        "_chunks",
        "_connection",
        "_ended",
        "_error",
        "_held",
        "_more",
        "_ready",
        "headers",
        "reason",
        "status",
    )

    def __init__(self, connection: Connection) -> None:
        self._connection = connection
        self._ready: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._more: asyncio.Future[None] | None = None
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._ended = False
        self._error: Exception | None = None
        self.status = 0
        self.reason = ""
        self.headers: Headers = []

    async def head(self) -> None:
        """Wait for the head. Raises Fault, or what refused the request's body."""
        await self._ready

    @property
    def ended(self) -> bool:
        """Whether all of the answer has arrived."""
        return self._ended

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises BodyBroken."""
        while True:
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
                    raise BadGateway("NoETL server answered too much", detail=f"body over {limit} bytes")
        except BodyBroken as error:
            raise BadGateway(detail=str(error)) from None
        return bytes(data)

    def refuse(self, error: Exception) -> None:
        """The request's body can't be sent in full."""
        self._error = error
        if not self._ready.done():
            self._ready.set_exception(error)
        self._wake()

    # Sink

    def on_head(self, head: Head) -> None:
        self.status = head.status
        self.reason = head.reason.decode("latin-1")
        self.headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
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


class UpstreamClient:
    """The way to one upstream."""

    def __init__(self, name: str, pool: Pool) -> None:
        self.name = name
        self.pool = pool
        self.authority = pool.authority

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[Response]:
        """Send a request and hold the connection while its answer is used. `target` is path and query, ready to send.

        `headers` hold no framing but, where a streamed body's length is known, `content-length`; without it the body
        goes out in chunks. Raises BadGateway, GatewayTimeout, or Unavailable where too many wait for a connection.
        """
        seconds = timeout or self.pool.settings.response_timeout
        head = request_head(method, target, headers, self.authority, body)
        sending: asyncio.Task[None] | None = None
        try:
            response, connection, sending = await self._begin(method, head, body, seconds)
            try:
                yield response
            finally:
                if not response.ended:
                    connection.abandon()
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])

    async def _begin(
        self, method: str, head: bytes, body: bytes | AsyncIterator[bytes] | None, seconds: float
    ) -> tuple[Response, Connection, asyncio.Task[None] | None]:
        whole = body is None or isinstance(body, bytes)
        for last in (False, True):
            try:
                return await self._attempt(method, head, body, seconds)
            except Full as error:
                raise Unavailable(retry_after=1, detail=f"upstream {self.name}: {error}") from None
            except Fault as fault:
                if last or fault.kind is not FaultKind.STALE or not whole or method not in SAFE:
                    raise _error_of(fault, self.name, seconds) from None
        raise AssertionError("the last attempt returns or raises")

    async def _attempt(
        self, method: str, head: bytes, body: bytes | AsyncIterator[bytes] | None, seconds: float
    ) -> tuple[Response, Connection, asyncio.Task[None] | None]:
        connection = await self.pool.acquire(repeatable=method in SAFE)
        if not connection.usable:
            raise Fault(FaultKind.STALE, "the connection closed before it was used")
        response = Response(connection)
        sending: asyncio.Task[None] | None = None
        deadline = self.pool.now() + seconds
        if body is None or isinstance(body, bytes):
            connection.begin(response, head + (body or b""), head_only=method == "HEAD", deadline=deadline)
        else:
            connection.begin(response, head, head_only=False, deadline=deadline, sent=False)
            chunked = b"\r\ntransfer-encoding: chunked\r\n" in head
            sending = asyncio.create_task(_send(connection, response, body, seconds, chunked=chunked))
        try:
            await response.head()
        except BaseException:
            # An answer that came in whole has given the connection back: it may be another request's by now.
            if connection.sink is response:
                connection.abandon()
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])
            raise
        return response, connection, sending

    async def reachable(self, path: str, timeout: float) -> bool:
        """Whether the upstream answers this path with a success within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self.request("GET", path, [], timeout=timeout) as response:
                return response.status < 500
        except (BadGateway, GatewayTimeout, Unavailable, TimeoutError):
            return False

    async def close(self) -> None:
        """Close the connections."""
        await self.pool.close()


async def _send(
    connection: Connection, response: Response, body: AsyncIterator[bytes], seconds: float, *, chunked: bool
) -> None:
    """Pass the request's body on, as fast as the upstream takes it. An answer that is complete ends it."""
    try:
        async for data in body:
            if connection.sink is not response:
                return
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            await connection.drain()
            if not connection.head_done:
                connection.extend(seconds)
        if connection.sink is response:
            if chunked:
                connection.write(b"0\r\n\r\n")
            connection.finish_sending()
    except GatewayError as error:
        response.refuse(error)
        if connection.sink is response:
            connection.abandon()


def request_head(
    method: str, target: str, headers: Headers, authority: str, body: bytes | AsyncIterator[bytes] | None
) -> bytes:
    """A request's head, framed for its body. Raises BadGateway for a field that would not be one line."""
    framing = f"host: {authority}\r\n"
    if isinstance(body, bytes):
        framing += f"content-length: {len(body)}\r\n"
    lines = []
    streamed = body is not None and not isinstance(body, bytes)
    known = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == "host":
            continue
        if lowered == "content-length":
            known = True
            if isinstance(body, bytes):
                continue
        if _UNSAFE_FIELD.search(value) or _UNSAFE_FIELD.search(name):
            raise BadGateway(detail=f"header {name!r} has a value that is not one line")
        lines.append(f"{name}: {value}\r\n")
    if streamed and not known:
        framing += "transfer-encoding: chunked\r\n"
    return f"{method} {target} HTTP/1.1\r\n{framing}{''.join(lines)}\r\n".encode("latin-1")


def _error_of(fault: Fault, name: str, seconds: float) -> GatewayError:
    if fault.kind is FaultKind.HEAD_TIMEOUT:
        return GatewayTimeout(detail=f"upstream {name}: no answer within {seconds:g} s")
    return BadGateway(detail=f"upstream {name}: {fault.kind}: {fault}")


class Stopwatch:
    """Adds up the seconds spent waiting for the upstream, for the access log."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    @asynccontextmanager
    async def timing(self) -> AsyncIterator[None]:
        """Count the time of a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
