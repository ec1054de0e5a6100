"""A relayed request under way in the fast lane, and what the lane knows of connections and routes."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Protocol

from proxy.access import Principal
from proxy.config.compile import RouteSpec
from proxy.errors import GatewayError
from proxy.exchange import Left
from proxy.handlers.fast_headers import RequestPlan, ResponsePlan
from proxy.handlers.limits import Limiter
from proxy.handlers.streams import Drain, EventStream, is_event_stream
from proxy.observe.access import AccessLine, AccessLog
from proxy.observe.metrics import Metrics
from proxy.policy.acl import Action
from proxy.upstream.balance import Endpoint
from proxy.upstream.client import UpstreamClient, error_of
from proxy.upstream.connection import Connection
from proxy.upstream.heads import Head
from proxy.upstream.retry import SAFE
from proxy.upstream.sink import Fault, FaultKind


class Client(Protocol):
    """The client's connection, as far as the lane uses it."""

    peer: str
    scheme: str
    trusted: bool

    def send(self, data: bytes) -> None:
        """Write to the client."""

    def lane_done(self, *, close: bool) -> None:
        """The answer is complete."""

    def lane_failed(self, left: Left) -> None:
        """Nothing was answered: the ordinary path goes on from here."""

    def cut(self) -> None:
        """Close at once, so that nobody takes a part for the whole."""

    def blocked(self) -> bool:
        """Whether the client takes no more just now."""


class PlainRequest(Protocol):
    """A request that is plain, as its bytes say it. It may be taken any number of times, by any client that sends
    these bytes: whose session it is of, and what that allows, is looked at each time."""

    def take(self, client: Client) -> LaneExchange | None:
        """The request, ready to start; None leaves it to the ordinary path."""


class LaneExchange(Protocol):
    """A request under way in the lane."""

    def start(self) -> None:
        """Begin to serve it; it may be answered before this returns."""

    def client_left(self) -> None:
        """The client is gone: the upstream is released at once."""

    def client_blocked(self, blocked: bool) -> None:
        """The client takes no more for now, or takes more again."""


@dataclass(frozen=True, slots=True)
class FastRoute:
    """A relayed route that the lane may serve, compiled. `prefix` stands before the path's rest upstream.

    `noetl`: it leads to NoETL, where some requests are judged by a playbook.
    """

    spec: RouteSpec
    noetl: bool
    upstream: UpstreamClient
    prefix: str | None
    rest: str
    actions: dict[str, Action]
    timeout: float
    request: RequestPlan
    answer: ResponsePlan
    limiter: Limiter | None


class Asked(Protocol):
    """What is asked in a relayed request. `logged` is its target without secrets."""

    route: FastRoute
    method: str
    logged: str
    should_close: bool


@dataclass(frozen=True, slots=True)
class Means:
    """What every exchange of a lane has at hand."""

    log: AccessLog
    drain: Drain
    metrics: Metrics


class FastExchange:
    """A relayed request under way in the lane, and the sink of its answer."""

    __slots__ = (
        "_body", "_chunked", "_client", "_close", "_connection", "_ending", "_head", "_means", "_request", "_sent",
        "_started", "_stream", "_written", "address", "asked", "principal", "request_id", "route", "status",
        "upstream_seconds",
    )  # fmt: skip

    def __init__(
        self,
        means: Means,
        client: Client,
        asked: Asked,
        principal: Principal,
        connection: Connection,
        request: bytes,
        request_id: bytes,
        origin: bytes,
        address: str,
        started: float,
    ) -> None:
        """`request` is what is sent, head and body; `origin` what the origin policy adds to the answer."""
        self._means = means
        self._client = client
        self.asked = asked
        self.route = asked.route
        self.principal = principal
        self._connection = connection
        self._request = request
        self.request_id = request_id
        self.address = address
        self._started = self._sent = started
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._chunked = False
        self._written = False
        self._stream: EventStream | None = None
        self.upstream_seconds = 0.0
        self.status = 499
        self._close = asked.should_close or means.drain.started
        self._ending = b"%bx-request-id: %b\r\n%b\r\n" % (
            origin,
            request_id,
            b"connection: close\r\n" if self._close else b"",
        )

    def start(self) -> None:
        """Send the request upstream."""
        self._sent = time.perf_counter()
        deadline = self.route.upstream.pool.now() + self.route.timeout
        self._connection.begin(self, self._request, head_only=self.asked.method == "HEAD", deadline=deadline)

    def client_left(self) -> None:
        """The client is gone: the upstream is released at once."""
        if self._connection.sink is self:
            self._connection.abandon(self)
            self.status = 499
            self._tell("the client left")

    def client_blocked(self, blocked: bool) -> None:
        """The client takes no more for now, or takes more again."""
        if self._connection.sink is self:
            if blocked:
                self._connection.pause()
            else:
                self._connection.resume()

    # Sink

    def on_head(self, head: Head) -> None:
        upstream = self.route.upstream
        if head.status in upstream.retries.statuses and upstream.may_retry(self.asked.method, status=head.status):
            self._connection.abandon(self)
            self._leave(None, 1)
            return
        self._head = head
        self.status = head.status

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_batch(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - a batch follows the head
        if not self._written:
            self._written = True
            self._chunked = head.length is None and self.asked.method != "HEAD"
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
            self._client.send(self.route.answer.head(head, framing + self._ending))
            if self._chunked and is_event_stream(head.headers):
                self._stream = self._means.drain.open(self._end_events, self.principal.key)
        self._pass_on()
        if self._stream is not None and self._stream.should_end:
            self._end_events()
            return
        if self._client.blocked():
            self._connection.pause()

    def _pass_on(self) -> None:
        if self._body:
            data = b"".join(self._body)
            self._body.clear()
            if self._stream is not None:
                self._stream.passed(data)
            self._client.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def _end_events(self) -> None:
        """This process is about to end: the event stream's client is told when to come back."""
        stream = self._stream
        if stream is None or not stream.should_end:
            return
        self._connection.abandon(self)
        farewell = stream.farewell()
        last = b"%x\r\n%b\r\n" % (len(farewell), farewell) if farewell else b""
        self._client.send(last + b"0\r\n\r\n")
        self._tell("" if farewell else "the session ended")
        self._client.lane_done(close=True)

    def on_end(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - the end follows the head
        self.upstream_seconds = time.perf_counter() - self._sent
        if self._written:
            self._pass_on()
            if self._chunked:
                self._client.send(b"0\r\n\r\n")
        else:
            body = b"".join(self._body)
            ending = self._ending
            if head.length is None and self.asked.method != "HEAD":
                ending = b"content-length: %d\r\n%b" % (len(body), ending)
            self._client.send(self.route.answer.head(head, ending) + body)
        self._tell("")
        self._client.lane_done(close=self._close)

    def on_fault(self, fault: Fault) -> None:
        if self._written:
            self._tell(f"upstream broke off: {fault}")
            self._client.cut()
        elif fault.kind is FaultKind.STALE and self.asked.method in SAFE:
            self._leave(None, 0)
        elif self.route.upstream.may_retry(self.asked.method, kind=fault.kind):
            self._leave(None, 1)
        else:
            self._leave(error_of(fault, self.route.upstream.name, self.route.timeout), 0)

    def _leave(self, error: GatewayError | None, spent: int) -> None:
        """The ordinary path goes on: it counts the request, and tells of it."""
        watch = self._connection.watch
        tried = watch if spent and isinstance(watch, Endpoint) else None
        if error is not None:
            self._means.metrics.decisions["allowed"] += 1
        waited = time.perf_counter() - self._sent
        self._client.lane_failed(Left(error, spent, tried, self._started, waited, self.request_id))

    def _tell(self, detail: str) -> None:
        if self._stream is not None:
            self._stream.close()
        self._means.metrics.session_checks["valid"] += 1
        self._means.metrics.decisions["allowed"] += 1
        now = time.perf_counter()
        line = AccessLine(
            self.asked.method,
            self.asked.logged,
            self.route.spec.pattern,
            self.status,
            (now - self._started) * 1000,
            (self.upstream_seconds or now - self._sent) * 1000,
            self.principal.user_id,
            self.address,
            self.request_id.decode(),
            detail,
        )
        self._means.log.write(line)
