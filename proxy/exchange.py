"""One request on its way through the gateway: its head, its user, the route that serves it, and its outcome.

Both transports carry one: the fast path in a subclass that receives the upstream's response, the streaming path in a
`RequestContext` with the request's body and a writer for the response.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol

from proxy.config.compile import RouteSpec
from proxy.errors import GatewayError
from proxy.guards import RouteGuards
from proxy.http.body import RequestBody
from proxy.http.date import date_line
from proxy.http.header_plan import field_line
from proxy.http.identity_headers import identity_lines
from proxy.http.request import RequestFields, RequestHead
from proxy.http.request_id import new_request_id
from proxy.http.response import Framing, Response
from proxy.http.target import KnownPath, Target
from proxy.http.traceparent import new_traceparent
from proxy.identity.principal import Principal
from proxy.noetl.authorize import Authorized
from proxy.noetl.on_behalf import OnBehalf
from proxy.routing import Found
from proxy.upstream.retry import RetryState


class Client(Protocol):
    """The client's connection, as far as a request uses it."""

    def send(self, data: bytes) -> None:
        """Write to the client. Raises ClientLeft if it has gone."""

    async def drain(self) -> None:
        """Wait until the client reads on."""

    def blocked(self) -> bool:
        """Return whether the client does not read just now."""

    def cut(self) -> None:
        """Close at once, so that nobody takes a part for the whole."""

    def serve(self, request: FastExchange) -> None:
        """Note the request that is under way on the fast path."""

    def finished(self, *, close: bool) -> None:
        """The response of a request on the fast path is complete."""

    def hand_over(self, handover: Handover) -> None:
        """Let the streaming path go on with a request of the fast path. Nothing has been sent to the client."""


class Completion(Protocol):
    """What ends requests on the fast path; the dispatcher."""

    def respond(self, exchange: FastExchange, response: Response) -> None:
        """Send a response of the gateway's own, and complete the request."""

    def fail(self, exchange: FastExchange, error: Exception) -> None:
        """Send the response to a request that ended in an error, and complete it."""

    def complete(self, exchange: Exchange) -> None:
        """Write the access line of a request, and count it."""

    def hand_over(self, client: Client, handover: Handover) -> None:
        """Let the streaming path go on with a request. Nothing has been sent to the client."""


class Handover(NamedTuple):
    """A request that the fast path leaves to the streaming path, with all that was decided and done.

    `exchange` is None if nothing was decided yet; `authorized` is None if the decision needs a call upstream; `retry`
    says what became of the request upstream, if it was sent; `traced`: its spans are recorded. `awaits_session`: the
    guards have passed up to the session, which must be waited for.
    """

    exchange: FastExchange | None
    authorized: Authorized | None = None
    retry: RetryState | None = None
    traced: bool = False
    awaits_session: bool = False

    @property
    def completion(self) -> Completion | None:
        """What ends the request, if it was begun."""
        return self.exchange.completion if self.exchange is not None else None

    def client_left(self) -> None:
        """Complete the request, if it was begun: the client has gone before the streaming path went on with it."""
        if self.exchange is not None:
            self.exchange.detail = "the client left"
            self.exchange.completion.complete(self.exchange)


class Exchange(RequestHead):
    """The facts of one request: its head, and what became of it.

    Times are of `time.perf_counter`, in seconds; `service` is None without a route. `refused_user_id` is the user whom
    a guard refused.
    """

    __slots__ = (
        "_traceparent", "denied", "detail", "params", "principal", "refused_user_id", "request_id", "service",
        "started", "status", "upstream_seconds",
    )  # fmt: skip

    def __init__(self, head: RequestHead, service: Service | None, params: Mapping[str, str], started: float) -> None:
        super().__init__(head.method, head.path, head.query, head.fields, head.address, head.scheme)
        self.service = service
        self.params = params
        self.started = started
        self.request_id = head.fields.request_id or new_request_id()
        self._traceparent = head.fields.traceparent
        self.principal: Principal | None = None
        self.upstream_seconds = 0.0
        self.status = 499
        self.detail = ""
        self.denied = False
        self.refused_user_id: int | None = None

    @property
    def head(self) -> RequestHead:
        """The request's head."""
        return self

    @property
    def traceparent(self) -> bytes:
        """The client's trace if it is well formed, else a new one."""
        return self._traceparent or self.new_trace()

    @traceparent.setter
    def traceparent(self, value: bytes) -> None:
        self._traceparent = value

    def new_trace(self) -> bytes:
        """Begin a trace for a request that came without one. Its id is the request's, if that was made here, too."""
        self._traceparent = new_traceparent(new_request_id() if self.fields.request_id else self.request_id)
        return self._traceparent

    @property
    def who(self) -> Principal:
        """The signed-in user; only for handlers of routes that require a session."""
        assert self.principal is not None  # noqa: S101 - the session guard has passed
        return self.principal

    @property
    def payer(self) -> int | str:
        """For whose share of an upstream's connections the request counts: its user, or its address without one."""
        principal = self.principal
        return principal.user_id if principal is not None else self.address

    def identity(self) -> bytes:
        """Return the identity and forwarding fields that go upstream."""
        who, fields = self.principal, self.fields
        known = fields.derived.get(identity_lines)
        if known is not None and known[0] is who and known[1] == self.address and known[2] == self.scheme:
            return known[3]  # type: ignore[no-any-return]
        lines = identity_lines(who.user if who else None, self.address, self.scheme, fields.authority)
        fields.derived[identity_lines] = (who, self.address, self.scheme, lines)
        return lines

    def on_behalf(self) -> OnBehalf:
        """Return for whom this request's calls upstream are made."""
        session = self.principal.key if self.principal is not None else b""
        trace = self._traceparent or self.new_trace()
        return OnBehalf(self.identity(), self.request_id, trace, session, self.payer)

    def note(self, error: GatewayError) -> None:
        """Keep what the access line says about an error."""
        self.refused_user_id = error.user_id
        self.detail = error.detail or self.detail
        self.denied = self.denied or error.denied

    def ending(self, cors: bytes, *, dated: bool, close: bool) -> bytes:
        """Return the last fields of a response's head: those that differ from request to request."""
        timing = b""
        if self.service is not None and self.service.server_timing:
            timing = self._server_timing()
        if dated and not close:
            return b"%bx-request-id: %b\r\n%b" % (cors, self.request_id, timing)
        date = b"" if dated else date_line()
        last = b"connection: close\r\n" if close else b""
        return b"%bx-request-id: %b\r\n%b%b%b" % (cors, self.request_id, timing, date, last)

    def _server_timing(self) -> bytes:
        """Return where the time went so far, in milliseconds (W3C Server Timing, 2)."""
        upstream = self.upstream_seconds * 1000
        own = (time.perf_counter() - self.started) * 1000 - upstream
        value = f"upstream;dur={upstream:.2f}, gateway;dur={max(0.0, own):.2f}"
        return field_line(b"server-timing", value.encode())


class FastExchange(Exchange):
    """A request on the fast path; it has arrived whole.

    Args:
        known: its method and path.
        query: its query, with the question mark, or empty.
        fields: its fields.
        body: its body.
        client: the connection.
        completion: ends the request.
        found: the route, and the path's parameters.
        started: when it began.

    `close`: the connection ends with the response.
    """

    __slots__ = ("client", "close", "completion", "known", "request_body")
    service: Service

    def __init__(
        self,
        known: KnownPath,
        query: str,
        fields: RequestFields,
        body: bytes,
        client: Client,
        completion: Completion,
        found: Found[Service],
        started: float,
    ) -> None:
        # All at once: this is the most frequent constructor of the gateway.
        self.known = known
        self.method, self.path, self.query = known.method, known.path, query
        self.fields = fields
        self.request_body = body
        self.client = client
        self.completion = completion
        self.service, self.params = found.route, found.params
        self.started = started
        self.request_id = fields.request_id or new_request_id()
        self._traceparent = fields.traceparent
        self.close = fields.close
        self.principal = None
        self.upstream_seconds = 0.0
        self.status = 499
        self.detail = ""
        self.denied = False
        self.refused_user_id = None

    def begin(self) -> Handover | None:
        """Begin to serve the request, which has passed its guards; it may be answered before this returns.

        Returns a Handover for what the fast path can't do. Raises what refuses the request.
        """
        raise NotImplementedError

    def client_left(self) -> None:
        """Release the upstream: the client has gone."""

    def client_blocked(self, blocked: bool) -> None:
        """Hold back, or go on: the client stopped reading, or reads again."""


class RequestContext(Exchange):
    """A request on the streaming path.

    Args:
        exchange: the request's facts.
        body: its body.
        writer: writes its response.
        handover: what the fast path left of it, if it began there.
    """

    __slots__ = ("body", "handover", "writer")

    def __init__(
        self, exchange: Exchange, body: RequestBody, writer: ResponseWriter, handover: Handover | None
    ) -> None:
        super().__init__(exchange, exchange.service, exchange.params, exchange.started)
        self.principal = exchange.principal
        self.request_id, self._traceparent = exchange.request_id, exchange._traceparent
        self.upstream_seconds = exchange.upstream_seconds
        self.body = body
        self.writer = writer
        self.handover = handover

    def use_target(self, target: Target) -> None:
        """Note the request's target, once it is known to be well formed."""
        self.path, self.query = target

    def ending(self, cors: bytes, *, dated: bool, close: bool) -> bytes:
        """Return the last fields of a response's head, for a client of either version of HTTP."""
        keep = b"connection: keep-alive\r\n" if self.writer.http_1_0 and not close else b""
        return super().ending(cors, dated=dated, close=close) + keep


class ResponseWriter:
    """Writes one response on a client connection.

    Args:
        client: the connection.
        http_1_0: the client speaks HTTP/1.0, which knows no chunks.
        close: the connection ends with this response.

    `broken`: only a part of the response can be sent, so the connection is cut.
    """

    __slots__ = ("_chunked", "broken", "client", "close", "http_1_0", "started")

    def __init__(self, client: Client, *, http_1_0: bool, close: bool) -> None:
        self.client = client
        self.http_1_0 = http_1_0
        self.close = close
        self.started = self.broken = False
        self._chunked = False

    def start(self, lines: bytes, ending: bytes, how: Framing) -> None:
        """Write the head."""
        self.started = True
        self._chunked = how.chunked
        self.client.send(b"%b%b%b\r\n" % (lines, how.line, ending))

    def send_whole(self, data: bytes) -> None:
        """Write a whole response."""
        self.started = True
        self.client.send(data)

    async def write(self, data: bytes) -> None:
        """Write a part of the body, and wait until the client reads on."""
        if data:
            self.client.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)
            await self.client.drain()

    def end(self) -> None:
        """Write the end of the body."""
        if self._chunked:
            self.client.send(b"0\r\n\r\n")


Result = Response | None
"""What a handler returns: a response of the gateway's own, or None if it has written one itself."""


Handler = Callable[[RequestContext], Awaitable[Result]]


@dataclass(frozen=True, slots=True, eq=False)
class Service:
    """One route, compiled.

    `handler` serves it on the streaming path, `fast` on the fast path (None: it can't), with `fast_route`: what the
    exchanges of one route share. `max_body` is the largest body in bytes that the fast path accepts; `audited`: its
    requests are entries of the audit log; `bridged`: its errors are as clients of the NoETL API read them.
    """

    spec: RouteSpec
    guards: RouteGuards
    handler: Handler
    fast: type[FastExchange] | None
    fast_route: Any
    max_body: int
    server_timing: bool
    audited: bool = False
    bridged: bool = False


def joined(details: Iterable[str]) -> str:
    """Return the details of a request as one text for its access line."""
    return "; ".join(filter(None, details))
