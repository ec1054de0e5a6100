"""One client connection: requests are parsed with httptools, answered in their order, and written at once.

A program that answers without waiting costs one parse, one call and one write. Everything else (a coroutine, a
streamed body, a fault) runs in a task, one per connection, while at most a few further requests wait. The module
contains no rule about what is answered.
"""

from __future__ import annotations

import asyncio
import logging
from collections import deque
from collections.abc import Awaitable, Coroutine
from contextlib import suppress
from dataclasses import replace
from typing import Any, cast

import httptools

from .body_stream import BodyStream, BrokenBodyError, close_stream
from .delivery import Steps, perform, reset
from .messages import Request, Response
from .service import Service, never
from .wire import CONTINUE, LAST_CHUNK, chunk, encode_head, framing, has_body

MAX_PIPELINED = 64
LINGER_SECONDS = 2.0
_FRAMING = frozenset({b"content-length", b"transfer-encoding"})
_LENGTHS = frozenset({len(b"expect"), *map(len, _FRAMING)})

_log = logging.getLogger("mock_server")


class Connection(asyncio.Protocol):
    """The protocol of one connection."""

    __slots__ = (
        "_body", "_close_after", "_draining", "_fields", "_head_size", "_in_head", "_loop", "_parser",
        "_pending", "_refused", "_service", "_size", "_stream", "_streams", "_target", "_task", "_transport",
        "_writable", "last_active", "peer",
    )  # fmt: skip

    def __init__(self, service: Service, loop: asyncio.AbstractEventLoop) -> None:
        self._service = service
        self._loop = loop
        self._parser: Any = httptools.HttpRequestParser(self)
        self._transport: asyncio.Transport = cast(asyncio.Transport, None)
        self._pending: deque[tuple[Request, bool] | Response] = deque()
        self._refused = False
        self._task: asyncio.Task[None] | None = None
        self._writable: asyncio.Future[None] | None = None
        self._draining = False
        self._close_after = False
        self._in_head = True
        self._head_size = 0
        self._target = b""
        self._fields: list[tuple[bytes, bytes]] = []
        self._body: list[bytes] = []
        self._size = 0
        self._stream: BodyStream | None = None
        self._streams = False
        self.last_active = 0.0
        self.peer = ""

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or close it if there are too many."""
        self._transport = cast(asyncio.Transport, transport)
        self.last_active = self._loop.time()
        address = transport.get_extra_info("peername")
        self.peer = address[0] if isinstance(address, tuple) else ""
        if len(self._service.open) >= self._service.limits.connections:
            transport.abort() if isinstance(transport, asyncio.Transport) else transport.close()
        self._service.open.add(self)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop what is being written; a program that is still at work finishes."""
        self._service.open.discard(self)
        self._draining = True
        self._pending.clear()
        if self._stream is not None:
            self._stream.end(broken=True)
        if self._writable is not None and not self._writable.done():
            self._writable.set_exception(ConnectionResetError("the connection is closed"))
            self._writable.exception()  # without a writer that waits, nobody else would see it
        if self._streams and self._task is not None:
            self._task.cancel()  # the next part of the response may be far away
        self._body, self._fields = [], []
        # The parser holds this object and is not seen by the garbage collector: it would keep both for ever.
        self._loop.call_soon(self._forget_parser)

    def _forget_parser(self) -> None:
        self._parser = None

    def data_received(self, data: bytes) -> None:
        """Parse the bytes; each complete request is answered or queued from within the parser."""
        self.last_active = self._loop.time()
        if self._draining or self._refused:
            return
        if self._in_head:
            self._head_size += len(data)
        try:
            self._parser.feed_data(data)
        except httptools.HttpParserUpgrade:
            self._close_after = True
        except httptools.HttpParserError:
            self._refuse(self._service.errors.malformed)
            return
        if self._in_head and self._head_size > self._service.limits.head:
            self._refuse(self._service.errors.head_too_large)

    def eof_received(self) -> bool:
        """Keep the connection open for writing while a response is on its way."""
        if self._stream is not None:
            self._stream.end(broken=True)
        self._close_after = True
        return self._task is not None and self._service.scheme == "http"

    def pause_writing(self) -> None:
        """Make writers wait: the client reads too slowly."""
        self._writable = self._loop.create_future()

    def resume_writing(self) -> None:
        """Let writers go on."""
        if self._writable is not None and not self._writable.done():
            self._writable.set_result(None)
        self._writable = None
        if self._task is None:
            self._answer_pending()

    # The parser

    def on_message_begin(self) -> None:
        """Prepare for the next request."""
        self._target = b""
        self._fields = []
        self._body = []
        self._size = 0
        self._stream = None
        self._in_head = True

    def on_url(self, part: bytes) -> None:
        """Receive a part of the request target."""
        self._target += part

    def on_header(self, name: bytes, value: bytes) -> None:
        """Receive a header field."""
        self._fields.append((name, value))

    def on_headers_complete(self) -> None:
        """Send `100 Continue` if the client waits for it, and start programs that read the body themselves."""
        self._in_head = False
        if self._refused:
            return
        has_body = waits = False
        length = 0
        for name, value in self._fields:
            if len(name) in _LENGTHS:
                lower = name.lower()
                has_body = has_body or lower in _FRAMING
                waits = waits or (lower == b"expect" and value.lower() == b"100-continue")
                if lower == b"content-length" and value.isdigit():
                    length = int(value)
        if has_body and self._service.streamed is not never:
            request = self._request(b"")
            if self._service.streamed(request):
                self._stream = BodyStream(self._hold)
                self._accept(replace(request, stream=self._stream))
        if self._stream is None and length > self._service.limits.body:
            self._refuse(self._service.errors.body_too_large)
        elif waits:
            self._transport.write(CONTINUE)

    def on_body(self, part: bytes) -> None:
        """Receive a part of the body."""
        if self._refused:
            return
        if self._stream is not None:
            self._stream.feed(part)
            return
        self._size += len(part)
        if self._size <= self._service.limits.body:
            self._body.append(part)
            return
        self._body = []
        self._refuse(self._service.errors.body_too_large)

    def on_message_complete(self) -> None:
        """Hand the request over to the program."""
        self._in_head = True
        self._head_size = 0
        if self._stream is not None:
            self._stream.end()
        if self._stream is not None or self._refused:
            return
        body = self._body
        self._accept(self._request(b"" if not body else body[0] if len(body) == 1 else b"".join(body)))

    def _request(self, body: bytes) -> Request:
        return Request(
            self._parser.get_method().decode("latin-1"),
            self._target.decode("latin-1"),
            tuple(self._fields),
            body,
            self.peer,
            self._service.scheme,
            self._parser.get_http_version(),
        )

    # Answering

    def _accept(self, request: Request) -> None:
        close = self._close_after or self._service.closing or not self._parser.should_keep_alive()
        if self._task is None and not self._pending and self._writable is None:
            self._answer(request, close)
            return
        self._pending.append((request, close))
        if len(self._pending) >= MAX_PIPELINED:
            self._hold(True)

    def _answer(self, request: Request, close: bool) -> None:
        if self._draining:
            return
        try:
            answer = self._service.handler(request)
        except Exception:
            answer = self._failed()
        if isinstance(answer, Response) and answer.stream is None and answer.fault is None:
            self._write(request, answer, close)
        else:
            self._run(self._finish(request, answer, close))

    def _failed(self) -> Response:
        _log.exception("a handler failed")
        return self._service.errors.failed

    def _write(self, request: Request, response: Response, close: bool) -> None:
        defaults = self._service.defaults.at(self._service.clock.now())
        head = encode_head(response, defaults, framing(response), close)
        self._transport.write(head + response.body if has_body(response.status, request.method) else head)
        if close:
            self._close()

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        self._task = self._loop.create_task(work)
        self._task.add_done_callback(self._go_on)

    def _go_on(self, task: asyncio.Task[None]) -> None:
        self._task = None
        self.last_active = self._loop.time()
        if not task.cancelled() and (error := task.exception()) is not None:
            if not isinstance(error, ConnectionError):
                _log.error("a response failed", exc_info=error)
            self._transport.abort()
        self._hold(False)
        self._answer_pending()

    def _answer_pending(self) -> None:
        while self._pending and self._task is None and not self._draining:
            waiting = self._pending.popleft()
            if isinstance(waiting, Response):
                self._write_refusal(waiting)
            else:
                self._answer(*waiting)

    async def _finish(self, request: Request, answer: Response | Awaitable[Response], close: bool) -> None:
        try:
            response = answer if isinstance(answer, Response) else await answer
        except BrokenBodyError as error:
            _log.debug("%s", error)
            response, close = self._service.errors.malformed, True
        except Exception:
            response = self._failed()
        close = close or self._close_after or self._service.closing
        try:
            if self._draining:
                return
            if response.fault is not None:
                await self._misbehave(request, response, close)
            elif response.stream is None:
                self._write(request, response, close)
                await self.drain()
            else:
                self._streams = True
                await self._send_stream(request, response, close)
        finally:
            self._streams = False
            await close_stream(response.stream)

    async def _misbehave(self, request: Request, response: Response, close: bool) -> None:
        fault = response.fault
        if fault is None:
            return
        defaults = self._service.defaults.at(self._service.clock.now())

        def encode(framed: str | None = None) -> bytes:
            return encode_head(response, defaults, framing(response) if framed is None else framed, close)

        steps: Steps = fault(encode, response.body if has_body(response.status, request.method) else b"")
        if not await perform(steps, self._transport, self.drain) or close:
            self._close()

    async def _send_stream(self, request: Request, response: Response, close: bool) -> None:
        framed = framing(response, request.version)
        close = close or not framed
        defaults = self._service.defaults.at(self._service.clock.now())
        self._transport.write(encode_head(response, defaults, framed, close))
        if response.stream is not None and has_body(response.status, request.method):
            chunked = framed.startswith("transfer-encoding")
            async for part in response.stream:
                self._transport.write(chunk(part) if chunked else part)
                await self.drain()
            if chunked:
                self._transport.write(LAST_CHUNK)
        if close:
            self._close()

    async def drain(self) -> None:
        """Wait until the client has read enough. Raises ConnectionResetError if the connection is closed."""
        if self._transport.is_closing() and self._draining:
            raise ConnectionResetError("the connection is closed")
        if self._writable is not None:
            await self._writable

    def _hold(self, hold: bool) -> None:
        if self._transport.is_closing():
            return
        with suppress(RuntimeError):
            if hold:
                self._transport.pause_reading()
            else:
                self._transport.resume_reading()

    # The end

    def _refuse(self, response: Response) -> None:
        """Respond to a request that no program sees, behind the responses before it, and close the connection."""
        if self._refused or self._draining:
            return
        self._refused = True
        if self._stream is not None:
            self._stream.end(broken=True)
        if self._task is None and not self._pending:
            self._write_refusal(response)
        else:
            self._pending.append(response)

    def _write_refusal(self, response: Response) -> None:
        defaults = self._service.defaults.at(self._service.clock.now())
        self._transport.write(encode_head(response, defaults, framing(response), close=True) + response.body)
        self._close()

    def _close(self) -> None:
        """Send the end, and let the client read the response before the connection is reset by what it still sends."""
        if self._draining:
            return
        self._draining = True
        if self._transport.is_closing():
            return
        if self._transport.can_write_eof():
            with suppress(OSError):  # the client has reset the connection
                self._transport.write_eof()
            self._loop.call_later(LINGER_SECONDS, self._transport.close)
        else:
            self._transport.close()

    def close_if_idle(self, before: float) -> None:
        """Close the connection if it has been silent since `before`, and no request is answered."""
        if self._task is None and self.last_active < before:
            self._transport.close()

    @property
    def task(self) -> asyncio.Task[None] | None:
        """The task of the response that is on its way, if there is one."""
        return self._task

    def reset(self) -> None:
        """Reset the connection."""
        reset(self._transport)

    async def end(self) -> None:
        """Abort the connection, and the work for it."""
        task = self._task
        self._transport.abort()
        if task is not None:
            task.cancel()
            with suppress(asyncio.CancelledError, Exception):
                await task
