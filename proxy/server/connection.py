"""Client connections: an adapter of aiohttp's RequestHandler, and the only module that relies on its inside.

A connection is in one of a few states. Idle, it recognises a whole request whose field block is known by its bytes, or
lets aiohttp's parser read it, and offers it to the fast path; everything else goes through aiohttp's request loop. One
request is parsed at a time, and what follows it is held until it is answered. The module limits heads in size and time,
and contains no rule about requests.
"""

from __future__ import annotations

import asyncio
from typing import Any, cast

from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import HttpRequestParser, RawRequestMessage
from aiohttp.http_writer import HttpVersion11
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo

from proxy.errors import GatewayError, Unavailable
from proxy.exchange import FastExchange, Handover
from proxy.http.body import ClientLeft
from proxy.http.request import Peer
from proxy.relay.websocket import ClientBytes
from proxy.server.aiohttp_release import handler_options, parser_error
from proxy.server.client_transport import ClientTransport, Connections, Outcome
from proxy.server.connection_limits import bare_response
from proxy.server.connection_state import CLOSING, FAST, HEAD, IDLE, NEXT, STREAMING, TUNNEL, State
from proxy.server.dispatcher import Dispatcher
from proxy.server.head_deadline import HeadDeadline
from proxy.server.message_reader import MessageReader, ReadRequest
from proxy.server.parsed_message import closing_behind, incoming
from proxy.server.slow_client import SlowReader

_HELD = 64 * 1024


class ClientConnection(ClientTransport, RequestHandler):
    """One client connection."""

    __slots__ = (
        "_admitted", "_fast", "_handover", "_head", "_held", "_listener", "_offered", "_parsed",
        "_reader", "_slow_reader", "_state", "_tunnel", "limits", "peer",
    )  # fmt: skip

    def __init__(self, listener: Connections, *, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(cast(Any, listener), loop=loop, **handler_options(listener.limits.limits))
        self.limits = listener.limits
        self.peer = Peer("", "http", trusted=False)
        self._listener = listener
        self._state = IDLE
        self._admitted = False
        self._head = HeadDeadline(loop, listener.limits, self._reject)
        self._slow_reader = SlowReader(loop, listener.limits)
        self._fast: FastExchange | None = None
        self._reader = MessageReader(cast(HttpRequestParser, self._parser))
        self._offered: bytes | ReadRequest = b""
        self._parsed = False
        self._handover: Handover | None = None
        self._held = b""
        self._tunnel: ClientBytes | None = None

    def _become(self, state: State) -> None:
        if state not in NEXT[self._state] and state is not self._state:
            raise RuntimeError(f"a connection can't go from {self._state.name} to {state.name}")
        self._state = state

    # The transport

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Accept the connection, or answer that there is no room."""
        self.peer = self.limits.peer(transport)
        self._admitted = self.limits.admit(self.peer.address, trusted=self.peer.trusted)
        if self._admitted:
            super().connection_made(transport)
        else:
            self._state = CLOSING
            bare_response(cast(asyncio.Transport, transport), Unavailable("Too many connections"))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Release what the connection holds."""
        self._head.stop()
        self._slow_reader.stop()
        fast, self._fast = self._fast, None
        self._state = CLOSING
        if fast is not None:
            fast.client_left()
        if self._handover is not None:
            self._handover.client_left()
            self._handover = None
        if self._admitted:
            self._admitted = False
            self.limits.release(self.peer.address)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Give what has arrived to who waits for it."""
        state = self._state
        if state is IDLE:
            if not (self._reader.between and self._begin_known(data)) and data:
                self._parse(data)
        elif state is FAST:
            self._hold(data)
        elif state is STREAMING:
            self._receive_body(data)
        elif state is HEAD:
            self._parse(data)
        elif self._tunnel is not None:
            self._tunnel.from_client(data)

    def _hold(self, data: bytes) -> None:
        """Keep what follows the request that is under way."""
        self._held += data
        if len(self._held) > _HELD and not self._buffer_paused:
            self._pause_reading_for_buffer()

    def _take_held(self) -> bytes:
        held, self._held = self._held, b""
        if self._buffer_paused:
            self._resume_reading_for_buffer()
        return held

    def _resume_reading_if_drained(self) -> None:
        """Do nothing: reading goes on when what is held is taken, not when aiohttp's loop begins with a request."""

    def _await_next(self) -> None:
        """Go on behind a request that is answered and whose body has arrived; the stack must not grow with each."""
        self._state = IDLE
        if self._close:
            self._state = CLOSING  # aiohttp's loop closes the connection
        elif self._held:
            self._state = FAST
            self._loop.call_soon(self._feed_next)

    def _feed_next(self) -> None:
        if self._close or self._force_close:
            self._end()
        elif self._state is FAST:
            self._state = IDLE
            self.data_received(self._take_held())

    def _end(self) -> None:
        """Close as soon as everything is sent."""
        self._state = CLOSING
        self.force_close()

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
        size = end + 4 + fields.content_length
        if line is None or len(data) < size:
            return False
        if len(data) > size:
            self._held, data = data[size:], data[:size]
        self._offered = data
        self._parsed = False
        self._state = FAST
        self._request_in_progress = True
        dispatcher.begin(self, line[0], line[1], fields, data[end + 4 :])
        return True

    def _parse(self, data: bytes) -> None:
        """Parse one request; one that has arrived whole is offered to the fast path. All else is for aiohttp's loop."""
        reader = self._reader
        try:
            request = reader.read(data, idle=self._state is IDLE)
        except HttpProcessingError as exc:
            self._head.stop()
            self._enqueue(_ErrInfo(status=400, exc=exc, message=exc.message), EMPTY_PAYLOAD)
            return
        if request is None:
            self._become(HEAD)
            self._head.add(len(data))
            return
        self._held = request.rest
        head_size = self._head.stop() + request.head_size
        if head_size > self.limits.limits.max_header_size or not self._offer(request):
            self._enqueue(closing_behind(request.message), request.payload)

    def _offer(self, request: ReadRequest) -> bool:
        """Offer a parsed request to the fast path, with its bytes if its field block may be kept."""
        message, body = request.message, request.body
        if body is None or message.version != HttpVersion11 or message.chunked or self._paused or self._close:
            return False
        self._offered = request
        self._parsed = True
        self._state = FAST
        self._request_in_progress = True
        begin = self._listener.dispatcher.begin_parsed
        begin(self, message.method, message.path, message.raw_headers, body, request.data)
        return True

    def serve(self, request: FastExchange) -> None:
        """Note the request that is under way on the fast path."""
        self._fast = request

    def finished(self, *, close: bool) -> None:
        """The response of a request on the fast path is complete: the next request may come."""
        self._fast = None
        if self._state is CLOSING:
            return
        self._end_request()
        if self._parsed:
            cast(Any, self._parser).message_consumed()
        if close or self._close or self._force_close:
            self._end()
            return
        close_time = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_time
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        self._state = IDLE
        if self._held:
            self._await_next()

    def hand_over(self, handover: Handover) -> None:
        """Let aiohttp's loop go on with the request that is on the fast path."""
        self._fast = None
        if self._state is CLOSING:
            return
        self._handover = handover
        message, payload = self._reader.taken_back(self._offered)
        self._offered = b""
        self._enqueue(closing_behind(message), payload)

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

    def open_tunnel(self, tunnel: ClientBytes) -> bytes:
        """Hand all bytes that come from now on to the tunnel; return what has come already."""
        self._become(TUNNEL)
        self._tunnel = tunnel
        return self._reader.tail + self._take_held()

    # The streaming path

    def _enqueue(self, message: RawRequestMessage | _ErrInfo, payload: StreamReader) -> None:
        """Give a request to aiohttp's loop."""
        self._become(STREAMING)
        self._request_in_progress = True  # the loop takes a turn or two until it begins with it
        self._messages.append((message, payload))
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def _receive_body(self, data: bytes) -> None:
        """Take the rest of the body of the request that aiohttp's loop has, and hold what follows it."""
        reader = self._reader
        self._hold(reader.read_body(data))
        if self._request_in_progress:
            reader.refuse_body()
            return
        if reader.malformed is not None:
            self._close = True
            reader.content.feed_eof()
        if reader.content.is_eof():
            self._await_next()

    async def _handle_request(self, *details: Any) -> tuple[web.StreamResponse, bool]:
        """Answer a request on the streaming path."""
        request, _, handler = details
        self._current_request = request
        try:
            outcome = await handler(request)
        finally:
            self._current_request = None
            self._end_request()
        if self._reader.upgraded and self._tunnel is None and self._state is STREAMING:
            self._reader.decline_upgrade()
        self._close = self._close or not outcome.keep_alive
        if self._state is STREAMING and self._reader.content.is_eof():
            self._await_next()
        return outcome, self.transport is None

    def _end_request(self) -> None:
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)

    async def answer(self, request: web.BaseRequest) -> Outcome:
        """Answer one request in aiohttp's loop."""
        handover, self._handover = self._handover, None
        message, payload = request._message, request._payload
        close = message.should_close or self._reader.upgraded or self._close
        begun_by = handover.completion if handover is not None else None  # a reload may have come between
        dispatcher = cast(Dispatcher, begun_by) if begun_by is not None else self._listener.dispatcher
        done = await dispatcher.answer(self, incoming(message, payload, close=close), handover)
        error = payload.exception()
        if isinstance(error, GatewayError):
            self.limits.note_malformed(error, error.__cause__, self.peer.address)
        if not done.linger or error is not None:
            self._lingering_time = 0.0
        return Outcome(done.keep_alive)

    def handle_error(self, *details: Any, **_: Any) -> web.StreamResponse:
        """Answer a request that the parser refused."""
        exc = details[2]
        error = parser_error(exc)
        self.limits.note_malformed(error, exc, self.peer.address)
        if self.transport is not None:
            bare_response(self.transport, error, close=False)
        return cast(web.StreamResponse, Outcome(keep_alive=False))

    def pause_writing(self) -> None:
        """Hold back: the client does not read."""
        super().pause_writing()
        self._slow_reader.start(self.transport, self.peer.address)
        self._tell_blocked(True)

    def resume_writing(self) -> None:
        """Go on: the client reads again."""
        super().resume_writing()
        self._slow_reader.stop()
        self._tell_blocked(False)

    def _tell_blocked(self, blocked: bool) -> None:
        served = self._fast or self._tunnel
        if served is not None:
            served.client_blocked(blocked)

    def close(self) -> None:
        """Serve what is under way, then close. aiohttp's loop, where it waits, ends without closing the connection."""
        if self._state is FAST:
            self._close = True
            return
        super().close()
        if self._state in (IDLE, HEAD):
            self._end()

    def _process_keepalive(self) -> None:
        if self._state is FAST:
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)
        else:
            super()._process_keepalive()

    def _reject(self, error: GatewayError) -> None:
        """Answer a head that can't be served, and close."""
        self._head.stop()
        if self._state is not HEAD:
            return
        self.limits.note_malformed(error, None, self.peer.address)
        if self.transport is not None:
            bare_response(self.transport, error, close=False)
        self._end()
