"""Client connections: an adapter of aiohttp's RequestHandler, and the only module that relies on its inside.

A connection is in one of a few states. Idle, it recognises a whole request whose field block is known by its bytes, or
lets aiohttp's parser read it, and offers it to the fast path; everything else goes through aiohttp's request loop. It
limits heads in size and time, and contains no rule about requests.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from proxy.errors import GatewayError, Unavailable
from proxy.exchange import ClientLeft, FastExchange, Handover
from proxy.http.request import Peer
from proxy.relay.websocket import Tunnel
from proxy.server.aiohttp_release import parser_error
from proxy.server.client_transport import ClientTransport, Connections, Outcome
from proxy.server.connection_limits import bare_response
from proxy.server.connection_state import CLOSING, FAST, HEAD, IDLE, NEXT, STREAMING, TUNNEL, State
from proxy.server.dispatcher import Dispatcher, Incoming
from proxy.server.head_deadline import HeadDeadline
from proxy.server.parsed_message import closing_behind, is_all, whole_body
from proxy.server.slow_client import SlowReader

_HELD = 64 * 1024
_LINGER = 10.0


class ClientConnection(ClientTransport, RequestHandler):
    """One client connection."""

    __slots__ = (
        "_admitted", "_at_boundary", "_beyond", "_content", "_fast", "_handover", "_head", "_held", "_listener",
        "_offered", "_parsed", "_slow_reader", "_state", "_tunnel", "limits", "peer",
    )  # fmt: skip

    def __init__(self, listener: Connections, *, loop: asyncio.AbstractEventLoop) -> None:
        limits = listener.limits.limits
        super().__init__(
            cast(Any, listener),
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=limits.idle_timeout,
            max_line_size=limits.max_header_size,
            max_field_size=limits.max_header_size,
            max_headers=limits.max_headers,
            lingering_time=min(_LINGER, limits.body_timeout),
            auto_decompress=False,
        )
        self.limits = listener.limits
        self.peer = Peer("", "http", trusted=False)
        self._listener = listener
        self._state = IDLE
        self._admitted = False
        self._head = HeadDeadline(loop, listener.limits, self._reject)
        self._slow_reader: SlowReader | None = None
        self._fast: FastExchange | None = None
        self._offered: bytes | tuple[RawRequestMessage, StreamReader] = b""
        self._parsed = False
        self._handover: Handover | None = None
        self._held = b""
        self._at_boundary = True
        self._content: StreamReader = EMPTY_PAYLOAD
        self._beyond = 0
        self._tunnel: Tunnel | None = None

    def _become(self, state: State) -> None:
        if state not in NEXT[self._state] and state is not self._state:
            raise RuntimeError(f"a connection can't go from {self._state.name} to {state.name}")
        self._state = state

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or answer that there is no room."""
        name = transport.get_extra_info("peername")
        address = name[0] if name else ""
        scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        self.peer = Peer(address, scheme, trusted=self.limits.is_trusted(address))
        self._admitted = self.limits.admit(address, trusted=self.peer.trusted)
        if self._admitted:
            super().connection_made(transport)
        else:
            self._state = CLOSING
            bare_response(cast(asyncio.Transport, transport), Unavailable("Too many connections"))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Release what the connection holds."""
        self._head.stop()
        self._reader_caught_up()
        fast, self._fast = self._fast, None
        self._state = CLOSING
        if fast is not None:
            fast.client_left()
        handover, self._handover = self._handover, None
        if handover is not None and handover.exchange is not None:
            handover.exchange.detail = "the client left"
            handover.exchange.completion.complete(handover.exchange)
        if self._admitted:
            self._admitted = False
            self.limits.release(self.peer.address)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Give what has arrived to who waits for it."""
        state = self._state
        if state is IDLE:
            if not (self._at_boundary and self._begin_known(data)):
                self._parse(data)
        elif state is FAST:
            self._held += data
            if len(self._held) > _HELD and self.transport is not None:
                self.transport.pause_reading()
        elif state is STREAMING:
            self._receive_body(data)
        elif state is HEAD:
            self._parse(data)
        elif self._tunnel is not None:
            self._tunnel.from_client(data)

    # The fast path

    def _begin_known(self, data: bytes) -> bool:
        """Begin a whole request whose field block was parsed before; the parser, between two messages, need not see it.

        The request line is matched by one strict expression; what it does not match goes through the parser.
        """
        end = data.find(b"\r\n\r\n")
        line_end = data.find(b"\r\n")
        dispatcher = self._listener.dispatcher
        fields = dispatcher.known_fields[data[line_end + 2 : end]] if 0 < line_end < end else None
        if fields is None or self._paused or self._close or end > self.limits.limits.max_header_size:
            return False
        line = dispatcher.known_paths.read_line(data[:line_end])
        if line is None or len(data) != end + 4 + fields.content_length:
            return False
        self._offered = data
        self._parsed = False
        self._state = FAST
        self._request_in_progress = True
        dispatcher.begin(self, line[0], line[1], fields, data[end + 4 :])
        return True

    def _parse(self, data: bytes) -> None:
        """Parse; a request that has arrived whole is offered to the fast path. All else is for aiohttp's loop."""
        parser = cast(Any, self._parser)
        began_at_boundary, self._at_boundary = self._at_boundary and self._state is IDLE, False
        try:
            messages, upgraded, tail = parser.feed_data(data)
        except HttpProcessingError as exc:
            self._head.stop()
            self._enqueue([(_ErrInfo(status=400, exc=exc, message=exc.message), EMPTY_PAYLOAD)])
            return
        if not messages:
            self._head_unfinished(len(data))
            return
        head_bytes = self._head.stop()
        if len(messages) == 1 and not upgraded:
            message, payload = messages[0]
            body = whole_body(payload)
            if body is not None and head_bytes + len(data) - len(body) <= self.limits.limits.max_header_size:
                self._at_boundary = is_all(data, body, message, begins=began_at_boundary)
                block = data if began_at_boundary and self._at_boundary else None
                if self._offer(message, payload, body, block):
                    return
        self._enqueue(messages)
        self._upgraded = upgraded
        if upgraded and tail:
            self._message_tail = tail

    def _offer(self, message: RawRequestMessage, payload: StreamReader, body: bytes, data: bytes | None) -> bool:
        """Offer a parsed request to the fast path; `data` are its bytes, if its field block may be kept."""
        if message.version != HttpVersion11 or message.chunked or self._paused or self._close:
            return False
        self._offered = (message, payload)
        self._parsed = True
        self._state = FAST
        self._request_in_progress = True
        self._listener.dispatcher.begin_parsed(self, message.method, message.path, message.raw_headers, body, data)
        return True

    def serve(self, request: FastExchange) -> None:
        """Note the request that is under way on the fast path."""
        self._fast = request

    def finished(self, *, close: bool) -> None:
        """The response of a request on the fast path is complete: the next request may come."""
        self._fast = None
        if self._state is CLOSING:
            return
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)
        if self._parsed:
            cast(Any, self._parser).message_consumed()
        self._state = IDLE
        if close or self._close or self._force_close:
            self._state = CLOSING
            self.force_close()
            return
        close_time = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_time
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        if self._held:
            self._state = FAST
            self._loop.call_soon(self._feed_next)

    def _feed_next(self) -> None:
        """Go on with requests that came behind one that was answered at once; the stack must not grow with each."""
        if self._state is not FAST:
            return
        if self._close or self._force_close:
            self._state = CLOSING
            self.force_close()
            return
        self._state = IDLE
        self._feed_held()

    def hand_over(self, handover: Handover) -> None:
        """Let aiohttp's loop go on with the request that is on the fast path."""
        self._fast = None
        if self._state is CLOSING:
            return
        self._handover = handover
        offered, self._offered = self._offered, b""
        self._state = STREAMING
        messages: Sequence[Any]
        if isinstance(offered, bytes):
            messages, _, _ = cast(Any, self._parser).feed_data(offered)
        else:
            messages = [offered]
        self._enqueue(messages)
        if self._held:
            self._feed_held()

    def _feed_held(self) -> None:
        held, self._held = self._held, b""
        if len(held) > _HELD and self.transport is not None:
            self.transport.resume_reading()
        self.data_received(held)

    async def drain(self) -> None:
        """Wait until the client reads on. Raises ClientLeft."""
        if not self.connected:
            raise ClientLeft("the client left")
        if self._paused:
            await self._drain_helper()

    def cut(self) -> None:
        """Close at once."""
        self._fast = None
        self._state = CLOSING
        if self.transport is not None:
            self.transport.abort()

    # Tunnels

    def open_tunnel(self, tunnel: Tunnel) -> bytes:
        """Hand all bytes that come from now on to the tunnel; return what has come already."""
        self._become(TUNNEL)
        self._tunnel = tunnel
        early, self._message_tail = self._message_tail, b""
        return early

    # The streaming path: aiohttp's loop

    def _enqueue(self, messages: Sequence[Any]) -> None:
        self._become(STREAMING)
        self._beyond = 0
        for message, payload in messages:
            if isinstance(message, RawRequestMessage):
                message = closing_behind(message, last=self._at_boundary and len(messages) == 1)
            self._request_count += 1
            self._messages.append((message, payload))
        if messages:
            self._content = messages[-1][1]
            if self._waiter is not None and not self._waiter.done():
                self._waiter.set_result(None)
        if not self._buffer_paused and len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()

    def _receive_body(self, data: bytes) -> None:
        """Feed the parser while aiohttp's loop has a request: the rest of its body, or requests that follow it."""
        self._at_boundary = False
        before, content = len(self._messages), self._content
        total = content.total_bytes
        super().data_received(data)
        if len(self._messages) > before and not content.is_eof():
            self._break_body(content)
        elif len(self._messages) > before:
            self._content = self._messages[-1][1]
            self._beyond = 0
        else:
            self._beyond += max(0, len(data) - (content.total_bytes - total))
        if self._answered and not self._messages and content.is_eof():
            self._await_next()

    def _break_body(self, content: StreamReader) -> None:
        """End the request under way with 400: its body turned out to be malformed. aiohttp queued that as a request."""
        refused, _ = self._messages.pop()
        error = parser_error(cast(_ErrInfo, refused).exc)
        self.limits.note_malformed(error, cast(_ErrInfo, refused).exc, self.peer.address)
        content.set_exception(error)

    @property
    def _answered(self) -> bool:
        return self._current_request is None and self._state is STREAMING and not self._request_in_progress

    def _await_next(self) -> None:
        """The loop's request is answered and its body has arrived: the next head may come, or has begun to."""
        beyond, self._beyond = self._beyond, 0
        self._become(IDLE)
        if beyond:
            self._head_unfinished(beyond)

    async def _handle_request(self, *details: Any) -> tuple[web.StreamResponse, bool]:
        """Answer a request on the streaming path."""
        request, _, handler = details
        self._request_in_progress = True
        self._current_request = request
        try:
            outcome = await handler(request)
        finally:
            self._current_request = None
            self._request_in_progress = False
            if self._handler_waiter is not None and not self._handler_waiter.done():
                self._handler_waiter.set_result(None)
        self._decline_upgrade()
        if self._state is STREAMING and not self._messages:
            if not outcome.keep_alive:
                if self._content.is_eof():
                    self._become(CLOSING)
            elif self._content.is_eof():
                self._await_next()
        return outcome, self.transport is None

    def _decline_upgrade(self) -> None:
        """Let the parser go on behind a request for a WebSocket that was answered otherwise."""
        if self._upgraded and self._tunnel is None and self._parser is not None:
            cast(Any, self._parser).set_upgraded(False)
            self._upgraded = False
            self._message_tail = b""

    async def answer(self, request: web.BaseRequest) -> Outcome:
        """Answer one request in aiohttp's loop."""
        handover, self._handover = self._handover, None
        message = request._message
        payload = request._payload
        incoming = Incoming(
            message.method,
            message.path,
            (message.version.major, message.version.minor),
            message.raw_headers,
            message.should_close or self._upgraded or self._close,
            None if payload is EMPTY_PAYLOAD else payload,
        )
        dispatcher = self._listener.dispatcher
        if handover is not None and handover.exchange is not None:
            dispatcher = cast(Dispatcher, handover.exchange.completion)  # a reload may have come between
        done = await dispatcher.answer(self, incoming, handover)
        if not done.linger:
            self._lingering_time = 0.0
        return Outcome(done.keep_alive)

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer a request that the parser refused."""
        error = parser_error(exc)
        self.limits.note_malformed(error, exc, self.peer.address)
        if self.transport is not None:
            bare_response(self.transport, error, close=False)
        return cast(web.StreamResponse, Outcome(keep_alive=False))

    def pause_writing(self) -> None:
        """Hold back: the client does not read."""
        super().pause_writing()
        if self._slow_reader is None and self.transport is not None:
            limits = self.limits
            self._slow_reader = SlowReader(self.transport, self._loop, lambda: limits.limits, self.peer.address)
        if self._fast is not None:
            self._fast.client_blocked(True)
        elif self._tunnel is not None:
            self._tunnel.client_blocked(True)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        super().resume_writing()
        self._reader_caught_up()
        if self._fast is not None:
            self._fast.client_blocked(False)
        elif self._tunnel is not None:
            self._tunnel.client_blocked(False)

    def _reader_caught_up(self) -> None:
        if self._slow_reader is not None:
            self._slow_reader.stop()
            self._slow_reader = None

    def close(self) -> None:
        """Serve what is under way, then close. aiohttp's loop, where it waits, ends without closing the connection."""
        if self._state is FAST:
            self._close = True
            return
        waiting = self._state in (IDLE, HEAD)
        super().close()
        if waiting:
            self._state = CLOSING
            self.force_close()

    def _process_keepalive(self) -> None:
        if self._state is FAST:
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _head_unfinished(self, size: int) -> None:
        """Note a part of a head."""
        self._become(HEAD)
        self._head.add(size)

    def _reject(self, error: GatewayError) -> None:
        """Answer a head that can't be served, and close."""
        self._head.stop()
        if self._state is not HEAD:
            return
        self._state = CLOSING
        self.limits.note_malformed(error, None, self.peer.address)
        if self.transport is not None:
            bare_response(self.transport, error)
        self.force_close()
