"""Client connections: aiohttp's, with our limits on their number, a deadline for the request head, and our answer to
what can't be parsed.

Refuses connections beyond the limits and heads that come too slowly. It never sees a route or a session.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections import Counter
from typing import cast

from aiohttp import web
from aiohttp.http_exceptions import LineTooLong
from aiohttp.web_protocol import RequestHandler
from aiohttp.web_server import Server

from proxy.config.compile import Network
from proxy.config.model import ServerLimits
from proxy.errors import BadRequest, GatewayError, HeadTooLarge, RequestTimeout, Unavailable, UriTooLong
from proxy.exchange import in_networks, json_response
from proxy.observe.logs import get_logger

_GENERIC = re.compile(r"[A-Za-z0-9 ]*")
_LINE_ENDS = 1024
_REASONS = {400: "Bad Request", 408: "Request Timeout", 414: "URI Too Long", 431: "Request Header Fields Too Large"}


class Admissions:
    """Counts what clients do to connections: how many are open, in all and per address, and what was refused."""

    def __init__(self, limits: ServerLimits, trusted: tuple[Network, ...]) -> None:
        self.open = 0
        self.malformed = 0
        self.refused = 0
        self.limits = limits
        self._trusted = trusted
        self._by_address: Counter[str] = Counter()

    def admit(self, address: str) -> bool:
        """Count a new connection, or refuse it. Trusted proxies carry many clients: no limit per address for them."""
        limit = self.limits.max_connections_per_ip
        if self.open >= self.limits.max_connections:
            return self._refuse("max_connections", address)
        if limit and self._by_address[address] >= limit and not in_networks(address, self._trusted):
            return self._refuse("max_connections_per_ip", address)
        self.open += 1
        if limit:
            self._by_address[address] += 1
        return True

    def _refuse(self, limit: str, address: str) -> bool:
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:
            get_logger().warning("connections.refused", limit=limit, ip=address, count=self.refused)
        return False

    def leave(self, address: str) -> None:
        """A counted connection is gone."""
        self.open -= 1
        if self.limits.max_connections_per_ip:
            self._by_address[address] -= 1
            if not self._by_address[address]:
                del self._by_address[address]

    def note_malformed(self, error: GatewayError, exc: BaseException | None, address: str) -> None:
        """Count a head that can't be served; one short line, without anything that the client sent."""
        self.malformed += 1
        found = _GENERIC.match(_text(exc))
        reason = found[0].strip() if found else ""
        get_logger().info(
            "request.malformed", status=error.status, reason=reason or error.detail, ip=address, count=self.malformed
        )


def _text(exc: BaseException | None) -> str:
    return str(getattr(exc, "message", exc or ""))


def error_of(exc: BaseException | None) -> GatewayError:
    """What aiohttp's parser found, as one of our errors. It keeps the target, and nothing else, in a bytearray."""
    if isinstance(exc, LineTooLong):
        return UriTooLong() if isinstance(exc.args[0], bytearray) else HeadTooLarge()
    return HeadTooLarge() if "too many headers" in _text(exc).lower() else BadRequest("Malformed request")


class Connection(RequestHandler):
    """One client connection."""

    __slots__ = ("_address", "_admitted", "_head_bytes", "_head_deadline", "admissions")

    def __init__(self, manager: Server, *, admissions: Admissions, loop: asyncio.AbstractEventLoop) -> None:
        limits = admissions.limits
        super().__init__(
            manager,
            loop=loop,
            access_log=None,  # type: ignore[arg-type]
            keepalive_timeout=limits.idle_timeout,
            max_line_size=limits.max_header_size,
            max_field_size=limits.max_header_size,
            max_headers=limits.max_headers,
            auto_decompress=False,
        )
        self.admissions = admissions
        self._address = ""
        self._admitted = False
        self._head_bytes = 0
        self._head_deadline: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Take the connection, or tell the client that there is no room."""
        peer = transport.get_extra_info("peername")
        self._address = peer[0] if peer else ""
        self._admitted = self.admissions.admit(self._address)
        if self._admitted:
            super().connection_made(transport)
        else:
            _say(cast(asyncio.Transport, transport), Unavailable("Too many connections"))

    def connection_lost(self, exc: BaseException | None) -> None:
        """Forget the connection."""
        if self._head_deadline is not None:
            self._head_deadline.cancel()
            self._head_deadline = None
        if self._admitted:
            self._admitted = False
            self.admissions.leave(self._address)
            super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Feed the parser. A head that is not complete at once has a deadline from its first byte, and a size."""
        if not self._admitted:
            return
        before = self._request_count
        super().data_received(data)
        if self._request_count != before:
            if self._head_deadline is not None:
                self._head_deadline.cancel()
                self._head_deadline = None
        elif self._waiting():
            self._head_unfinished(len(data))

    def _waiting(self) -> bool:
        return self.transport is not None and self._waiter is not None and not self._waiter.done()

    def _head_unfinished(self, size: int) -> None:
        if self._head_deadline is None:
            self._head_bytes = 0
            self._head_deadline = self._loop.call_later(self.admissions.limits.header_timeout, self._head_too_slow)
        self._head_bytes += size
        if self._head_bytes > self.admissions.limits.max_header_size + _LINE_ENDS:
            self._give_up(HeadTooLarge(detail="the request head is too large"))

    def _head_too_slow(self) -> None:
        self._head_deadline = None
        if self._waiting():
            self._give_up(RequestTimeout(detail="the request head came too slowly"))

    def _give_up(self, error: GatewayError) -> None:
        self.admissions.note_malformed(error, None, self._address)
        _say(cast(asyncio.Transport, self.transport), error)
        self.force_close()

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """The answer to a request that the parser refused."""
        error = error_of(exc)
        self.admissions.note_malformed(error, exc, self._address)
        body = {"error": error.text, "request_id": uuid.uuid4().hex}
        response = json_response(body, error.status, [*error.headers, ("server", "noetl-edge")])
        response.headers["x-request-id"] = body["request_id"]
        response.force_close()
        return response


def _say(transport: asyncio.Transport, error: GatewayError) -> None:
    """Answer on the bare connection, where no request exists, and close it."""
    request_id = uuid.uuid4().hex
    body = json.dumps({"error": error.text, "request_id": request_id}).encode()
    reason = _REASONS.get(error.status, "Service Unavailable")
    extra = "".join(f"{name}: {value}\r\n" for name, value in error.headers)
    head = (
        f"HTTP/1.1 {error.status} {reason}\r\nserver: noetl-edge\r\ncontent-type: application/json\r\n"
        f"cache-control: no-store\r\nx-request-id: {request_id}\r\n{extra}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)
    transport.close()


class Listener(Server):
    """Makes our kind of connection."""

    def __init__(self, handler: object, admissions: Admissions) -> None:
        super().__init__(handler, handler_cancellation=True)  # type: ignore[arg-type]
        self.admissions = admissions

    def __call__(self) -> RequestHandler:
        """A connection; called by the event loop for each that is accepted."""
        return Connection(self, admissions=self.admissions, loop=self._loop)
