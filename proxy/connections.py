"""Client connections: aiohttp's, with a deadline for the request head, our answer to what can't be parsed, and the
fast lane.

Refuses connections beyond the limits and heads that come too slowly. It never sees a route or a session.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Sequence
from typing import Any, cast

import aiohttp
from aiohttp import web
from aiohttp.http_exceptions import HttpProcessingError
from aiohttp.http_parser import RawRequestMessage
from aiohttp.streams import EMPTY_PAYLOAD, StreamReader
from aiohttp.web_protocol import RequestHandler, _ErrInfo
from aiohttp.web_server import Server

from proxy.admissions import Admissions, error_of, say
from proxy.errors import GatewayError, HeadTooLarge, RequestTimeout, Unavailable
from proxy.exchange import Left, json_response
from proxy.handlers.fast import FastLane
from proxy.handlers.fast_exchange import LaneExchange
from proxy.handlers.websocket import Tunnel
from proxy.slow_readers import SlowReader

_LINE_ENDS = 1024
_HELD = 64 * 1024
_SMALL_BODY = 64 * 1024
_LINGER = 10.0
_KNOWN_AIOHTTP = ("3.14.",)


class Connection(RequestHandler):
    """One client connection.

    A request that the lane takes is served from here, with aiohttp's request loop waiting as if the connection were
    idle; bytes that arrive meanwhile are kept until it is done. This, and no other module, relies on the inside of
    aiohttp's RequestHandler; `lane_supported` says whether it is one that is known.
    """

    __slots__ = (
        "_admitted", "_at_boundary", "_exchange", "_finished", "_head_bytes", "_head_deadline", "_held", "_lane",
        "_left", "_listener", "_message", "_slow_reader", "_tunnel", "admissions", "peer",
        "scheme", "trusted",
    )  # fmt: skip

    def __init__(self, listener: Listener, *, loop: asyncio.AbstractEventLoop) -> None:
        limits = listener.admissions.limits
        super().__init__(
            listener,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=limits.idle_timeout,
            max_line_size=limits.max_header_size,
            max_field_size=limits.max_header_size,
            max_headers=limits.max_headers,
            lingering_time=min(_LINGER, limits.body_timeout),
            auto_decompress=False,
        )
        self.admissions = listener.admissions
        self.peer = ""
        self.scheme = "http"
        self.trusted = False
        self._left: Left | None = None
        self._admitted = False
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None
        self._slow_reader: SlowReader | None = None
        self._listener = listener
        self._exchange: LaneExchange | None = None
        self._lane: FastLane | None = None
        self._message: RawRequestMessage | None = None
        self._finished = 0
        self._held = b""
        self._at_boundary = True
        self._tunnel: Tunnel | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or tell the client that there is no room."""
        peer = transport.get_extra_info("peername")
        self.peer = peer[0] if peer else ""
        self.scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        self.trusted = self.admissions.is_trusted(self.peer)
        self._admitted = self.admissions.admit(self.peer, trusted=self.trusted)
        if self._admitted:
            super().connection_made(transport)
        else:
            say(cast(asyncio.Transport, transport), Unavailable("Too many connections"))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None
        self._reader_caught_up()
        exchange, self._exchange = self._exchange, None
        if exchange is not None:
            exchange.client_left()
        if self._admitted:
            self._admitted = False
            self.admissions.leave(self.peer)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser. A head that is not complete at once has a deadline from its first byte, and a size."""
        if not self._admitted:
            return
        if self._exchange is not None:
            self._hold(data)
            return
        if self._tunnel is not None:
            self._tunnel.from_client(data)
            return
        before = self._request_count
        lane = self._listener.lane
        if lane is None or not self._idle():
            self._at_boundary = False
            super().data_received(data)
        elif not (self._at_boundary and self._again(lane, data)):
            self._offer(lane, data)
        if self._request_count != before:
            self._close_after_chunks()
            if self._head_deadline is not None:
                self._head_deadline.cancel()
                self._head_deadline = None
        elif self._waiting():
            self._head_unfinished(len(data))

    def _idle(self) -> bool:
        """Whether aiohttp's loop waits for a request, or is about to, with nothing before it; not so while the client
        does not take what it was sent, as only the ordinary path waits for that."""
        waiter = self._waiter
        return (
            not self._messages
            and (not waiter.done() if waiter is not None else self._between())
            and not self._paused
            and not self._upgraded
            and self._payload_parser is None
            and not self._force_close
            and not self._close
        )

    def _between(self) -> bool:
        """Whether nothing is under way, and aiohttp's loop only has not come round to waiting yet.

        It may not have begun; and a handler ends in a task of its own, so that a quick client's next request is read
        before the loop hears of the end.
        """
        return self._keepalive and self._finished == self._request_count

    def _again(self, lane: FastLane, data: bytes) -> bool:
        """Take a request whose very bytes were read before; the parser, between two messages, need not see it."""
        taken = lane.again(self, data)
        if taken is None:
            return False
        self._begin(lane, *taken)
        return True

    def _offer(self, lane: FastLane, data: bytes) -> None:
        """Parse; one request, with all of its body, is offered to the lane. All else goes on as aiohttp has it."""
        parser = cast(Any, self._parser)
        was_at_boundary, self._at_boundary = self._at_boundary, False
        try:
            messages, upgraded, tail = parser.feed_data(data)
        except HttpProcessingError as exc:
            self._enqueue([(_ErrInfo(status=400, exc=exc, message=exc.message), EMPTY_PAYLOAD)])
            return
        if len(messages) == 1 and not upgraded:
            message, payload = messages[0]
            body = whole_body(payload)
            if body is not None and self._head_size(data, body) <= self.admissions.limits.max_header_size:
                self._at_boundary = _is_all(data, body, message, begins=was_at_boundary)
                alone = was_at_boundary and self._at_boundary
                exchange = lane.take(self, message, body, data if alone else None)
                if exchange is not None:
                    self._begin(lane, message, exchange)
                    return
        self._enqueue(messages)
        self._upgraded = upgraded
        if upgraded and tail:
            self._message_tail = tail

    def _begin(self, lane: FastLane, message: RawRequestMessage, exchange: LaneExchange) -> None:
        self._lane = lane
        self._request_count += 1
        self._message = message
        self._exchange = exchange
        self._request_in_progress = True
        exchange.start()

    def _head_size(self, data: bytes, body: bytes) -> int:
        """The most that the head just parsed can have."""
        before = self._head_bytes if self._head_deadline is not None else 0
        return before + len(data) - len(body)

    def _enqueue(self, messages: Sequence[Any]) -> None:
        for message in messages:
            self._request_count += 1
            self._messages.append(message)
        if messages and self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)
        if not self._buffer_paused and len(self._messages) >= self._max_msg_queue_size:
            self._pause_reading_for_buffer()

    def _close_after_chunks(self) -> None:
        """Nothing is read after a body in chunks: aiohttp's parser would take its last trailer for a field of the next
        request, and nothing tells whether there was one."""
        for place, (message, payload) in enumerate(self._messages):
            if isinstance(message, RawRequestMessage) and message.chunked and not message.should_close:
                self._messages[place] = (message._replace(should_close=True), payload)

    def _hold(self, data: bytes) -> None:
        self._held += data
        if len(self._held) > _HELD and self.transport is not None:
            self.transport.pause_reading()

    # What the lane calls

    def send(self, data: bytes) -> None:
        """Write to the client."""
        if self.transport is not None:
            self.transport.write(data)

    def blocked(self) -> bool:
        """Whether the client takes no more just now."""
        return self._paused

    def lane_done(self, *, close: bool) -> None:
        """The lane's answer is complete: the next request may come."""
        self._end_exchange()
        self._finished += 1
        cast(Any, self._parser).message_consumed()
        if close or self._close or self._force_close:
            self.force_close()
            return
        close_time = self._loop.time() + self._keepalive_timeout
        self._next_keepalive_close_time = close_time
        if self._keepalive_handle is None:
            self._keepalive_handle = self._loop.call_at(close_time, self._process_keepalive)
        self._feed_held()

    def lane_failed(self, left: Left) -> None:
        """The lane answered nothing: aiohttp's loop takes the request, and what the lane has left of it."""
        message = self._message
        self._end_exchange()
        self._left = left
        self._request_count -= 1
        self._enqueue([(message, EMPTY_PAYLOAD)])
        self._feed_held()

    def cut(self) -> None:
        """Close at once."""
        self._end_exchange()
        if self.transport is not None:
            self.transport.abort()

    def _end_exchange(self) -> None:
        self._exchange = self._lane = None
        self._message = None
        self._request_in_progress = False
        if self._handler_waiter is not None and not self._handler_waiter.done():
            self._handler_waiter.set_result(None)

    def _feed_held(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            if len(held) > _HELD and self.transport is not None:
                self.transport.resume_reading()
            self.data_received(held)

    # What a tunnel calls

    def open_tunnel(self, tunnel: Tunnel) -> bytes:
        """Hand all that comes from now on to the tunnel; what has come already is returned."""
        self._tunnel = tunnel
        early, self._message_tail = self._message_tail, b""
        return early

    def hold_back(self, held: bool) -> None:
        """Read no more from the client for now, or read on."""
        if self.transport is not None and not self.transport.is_closing():
            if held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()

    # What aiohttp calls

    async def _handle_request(self, *details: Any) -> tuple[web.StreamResponse, bool]:
        """Answer a request in the ordinary way. Whether the connection is kept is known from the end of the answer on:
        aiohttp's loop would note that later than the next bytes can be read."""
        try:
            response, reset = await super()._handle_request(*details)
            self._keepalive = bool(response.keep_alive)
            return response, reset
        finally:
            self._finished += 1

    def pause_writing(self) -> None:
        """The client does not keep up."""
        super().pause_writing()
        if self._slow_reader is None and self.transport is not None:
            admissions = self.admissions
            self._slow_reader = SlowReader(self.transport, self._loop, lambda: admissions.limits, self.peer)
        if self._exchange is not None:
            self._exchange.client_blocked(True)
        elif self._tunnel is not None:
            self._tunnel.client_blocked(True)

    def resume_writing(self) -> None:
        """The client keeps up again."""
        super().resume_writing()
        self._reader_caught_up()
        if self._exchange is not None:
            self._exchange.client_blocked(False)
        elif self._tunnel is not None:
            self._tunnel.client_blocked(False)

    def _reader_caught_up(self) -> None:
        if self._slow_reader is not None:
            self._slow_reader.stop()
            self._slow_reader = None

    def close(self) -> None:
        """Serve what is under way, then close. aiohttp's loop, where it waits, ends without closing the connection."""
        if self._exchange is not None:
            self._close = True
            return
        waiting = self._waiting()
        super().close()
        if waiting:
            self.force_close()

    def _process_keepalive(self) -> None:
        if self._exchange is not None:
            self._keepalive_handle = self._loop.call_later(self._keepalive_timeout, self._process_keepalive)
        else:
            super()._process_keepalive()

    def take_left(self) -> Left | None:
        """What the lane has left of the request that comes now, once."""
        left, self._left = self._left, None
        return left

    def _waiting(self) -> bool:
        """Whether a request's head is awaited."""
        if self.transport is None or self._messages:
            return False
        return self._between() if self._waiter is None else not self._waiter.done()

    def _head_unfinished(self, size: int) -> None:
        if self._head_deadline is None:
            self._head_bytes = 0
            self._head_deadline = self._loop.call_later(self.admissions.limits.header_timeout, self._head_too_slow)
        self._head_bytes += size
        if self._head_bytes > self.admissions.limits.max_header_size + _LINE_ENDS:
            self._give_up(HeadTooLarge(detail="the request head is too large"))

    def _head_too_slow(self) -> None:
        self._head_deadline = None
        if self._waiting() and self._exchange is None:
            self._give_up(RequestTimeout(detail="the request head came too slowly"))

    def _give_up(self, error: GatewayError) -> None:
        self.admissions.note_malformed(error, None, self.peer)
        say(cast(asyncio.Transport, self.transport), error)
        self.force_close()

    def do_not_linger(self) -> None:
        """Close after the answer, without waiting for the rest of the request's body."""
        self._lingering_time = 0.0

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that the parser refused."""
        error = error_of(exc)
        self.admissions.note_malformed(error, exc, self.peer)
        body = {"error": error.text, "request_id": uuid.uuid4().hex}
        response = json_response(body, error.status, [*error.headers, ("server", "noetl-edge")])
        response.headers["x-request-id"] = body["request_id"]
        response.force_close()
        return response


def whole_body(payload: StreamReader) -> bytes | None:
    """The body of a request, left where it is; None if it is not small, or not all of it has arrived."""
    if payload is EMPTY_PAYLOAD:
        return b""
    if type(payload) is not StreamReader or not payload.is_eof() or payload.exception() is not None:
        return None
    return b"".join(payload._buffer) if payload.total_bytes <= _SMALL_BODY and not payload._buffer_offset else None


def _is_all(data: bytes, body: bytes, message: RawRequestMessage, *, begins: bool) -> bool:
    """Whether a message that was read from these bytes ends where they end, so that the parser is between two.

    Where it does not begin with them, they may begin within the blank line that ends its head; what is found then is
    one in the body, or behind it.
    """
    if message.chunked or (not begins and data[:1] in (b"\r", b"\n")):
        return False
    return data.find(b"\r\n\r\n") + 4 + len(body) == len(data)


def lane_supported() -> bool:
    """Whether this aiohttp has the inside that `Connection` relies on; if not, the ordinary path serves all."""
    return aiohttp.__version__.startswith(_KNOWN_AIOHTTP)


class Listener(Server):
    """Makes our kind of connection. `lane` is that of the configuration in force."""

    def __init__(self, handler: object, admissions: Admissions, lane: FastLane | None) -> None:
        super().__init__(handler, handler_cancellation=True)  # type: ignore[arg-type]
        self.admissions = admissions
        self.lane = lane

    def __call__(self) -> RequestHandler:
        """A connection; called by the event loop for each that is accepted."""
        return Connection(self, loop=self._loop)

    def serves(self, lane: FastLane | None) -> bool:
        """Whether any request is under way in a lane."""
        connections = cast("list[Connection]", self.connections)
        return lane is not None and any(one._lane is lane and one._exchange is not None for one in connections)
