"""A relayed request on the fast path: from the parsed head straight to a kept upstream connection.

It moves bytes and contains no rule: guards, access decision, header plans and retries are those of the streaming path.
What it can't finish (no kept connection, a decision that needs a call upstream, a retry) it hands over with its
decision.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

from proxy.exchange import Exchange, Handover
from proxy.http.header_plan import request_head
from proxy.http.json import require_json
from proxy.http.response import framing
from proxy.noetl.authorize import Authorized
from proxy.noetl.surface import JUDGED_BY_BODY, STARTS, Judged, Kind
from proxy.policy.acl import Action
from proxy.relay.event_streams import EventStream, is_event_stream
from proxy.relay.relayed import RelayedRoute, client_head
from proxy.services import Arrival, Service
from proxy.upstream.client import error_of
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.receiver import Fault

_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_NO_JUDGEMENT = Judged(Kind.PATH, Action.VIEW)


@dataclass(frozen=True, slots=True)
class FastRelay:
    """Serves one relayed route on the fast path."""

    route: RelayedRoute

    def begin(self, arrival: Arrival, service: Service) -> Handover | None:
        """Begin to serve a request; return a Handover where more than a kept connection is needed."""
        route, head, body, principal = self.route, arrival.head, arrival.body, arrival.principal
        exchange = FastExchange(route, arrival, service)
        path = route.rewrite.apply(head.path, arrival.params)
        judged, authorized = _NO_JUDGEMENT, _ALLOWED
        if principal is not None:
            judged = route.judge(head.method, path)
            kind = judged.kind
            if kind in JUDGED_BY_BODY or (kind is Kind.RERUN and body):
                require_json(head.fields)
            found = route.authorizer.authorize_known(principal, judged, head.method, head.path, body)
            if found is None:
                return Handover(exchange)
            authorized = found
        target = path + head.query
        lines = head.fields.forwarded(route.request_plan)
        key = route.balance_key(target, lines, principal)
        connection = route.upstream.balancer.take_idle(head.method, key)
        if connection is None:
            return Handover(exchange, authorized)
        framing_line = b"content-length: %d\r\n" % len(body) if body or head.method in _WITH_LENGTH else b""
        request_id = exchange.request_id
        request = request_head(
            head.method,
            target,
            connection.authority,
            framing_line,
            lines,
            exchange.identity(),
            b"x-request-id: %b\r\ntraceparent: %b\r\n" % (request_id, exchange.traceparent),
        )
        exchange.send(connection, request + body if body else request, judged, authorized)
        return None


_ALLOWED = Authorized(None)


class FastExchange(Exchange):
    """A relayed request under way on the fast path, and the receiver of its response."""

    __slots__ = (
        "_authorized", "_body", "_client", "_close", "_completion", "_connection", "_framing", "_head", "_judged",
        "_route", "_sent_at", "_stream", "_written",
    )  # fmt: skip

    def __init__(self, route: RelayedRoute, arrival: Arrival, service: Service) -> None:
        super().__init__(arrival.head, service, arrival.params, arrival.principal, arrival.started)
        self._route = route
        self._client = arrival.client
        self._completion = arrival.completion
        self._close = arrival.close
        self._head: ResponseHead | None = None
        self._body: list[bytes] = []
        self._written = False
        self._stream: EventStream | None = None

    def send(self, connection: UpstreamConnection, request: bytes, judged: Judged, authorized: Authorized) -> None:
        """Send the request upstream."""
        self._connection = connection
        self._judged = judged
        self._authorized = authorized
        self._sent_at = time.perf_counter()
        self._client.serve(self)
        deadline = connection.now() + self._route.timeout
        connection.begin(self, request, head_only=self.head.method == "HEAD", deadline=deadline)

    def client_left(self) -> None:
        """Release the upstream: the client has gone."""
        if self._connection.receiver is self:
            self._connection.abandon(self)
        self.detail = "the client left"
        self.status = 499
        self._complete()

    def client_blocked(self, blocked: bool) -> None:
        """Hold back, or go on: the client stopped reading, or reads again."""
        if self._connection.receiver is self:
            if blocked:
                self._connection.pause()
            else:
                self._connection.resume()

    # ResponseReceiver

    def on_head(self, head: ResponseHead) -> None:
        retries = self._route.upstream.retries
        if head.status in retries.statuses:
            state = self._route.upstream.retry_state(self.head.method, whole=True)
            if state.again_after_status(head.status, self._connection.watch):
                self._connection.abandon(self)
                self._hand_over(Handover(self, self._authorized, state))
                return
        self._head = head
        self.status = head.status

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_batch(self) -> None:
        if self._judged.kind in STARTS and not self._written and self._holds_little():
            return  # the whole body says which execution was started
        if not self._written:
            self._begin_response()
        self._forward_body()
        if self._stream is not None and self._stream.should_end:
            self._end_events()
        elif self._client.blocked():
            self._connection.pause()

    def _holds_little(self) -> bool:
        return sum(map(len, self._body)) <= self._route.max_started

    def _begin_response(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - a batch follows the head
        self._written = True
        how = self._framing = framing(self.head.method, head.status, head.length, http_1_0=False)
        planned = client_head(self._route.response_plan, head)
        ending = self.ending(self._route.cors_lines(self.head), dated=planned.dated, close=self._close)
        self._client.send(b"%b%b%b\r\n" % (planned.lines, how.line, ending))
        if how.chunked and is_event_stream(head.headers):
            session = self.principal.key if self.principal is not None else b""
            self._stream = self._route.drain.open(self._end_events, session)

    def _forward_body(self) -> None:
        if self._body:
            data = b"".join(self._body)
            self._body.clear()
            if self._stream is not None:
                self._stream.forwarded(data)
            self._client.send(b"%x\r\n%b\r\n" % (len(data), data) if self._framing.chunked else data)

    def _end_events(self) -> None:
        """End an event stream between two events, with the process or with its session."""
        stream = self._stream
        if stream is None or not stream.should_end or self._connection.receiver is not self:
            return
        self._connection.abandon(self)
        farewell = stream.farewell()
        last = b"%x\r\n%b\r\n" % (len(farewell), farewell) if farewell else b""
        self._client.send(last + b"0\r\n\r\n")
        self.detail = "" if farewell else "the session ended"
        self._complete()
        self._client.finished(close=True)

    def on_end(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - the end follows the head
        now = time.perf_counter()
        self.upstream_seconds += now - self._sent_at
        close = self._close = self._close or self._completion.draining
        if self._written:
            self._forward_body()
            if self._framing.chunked:
                self._client.send(b"0\r\n\r\n")
        else:
            body = self._body[0] if len(self._body) == 1 else b"".join(self._body)
            if self._judged.kind in STARTS and head.status < 300:
                self._route.note_started(self.who, body, self._authorized)
            planned = client_head(self._route.response_plan, head)
            ending = self.ending(self._route.cors_lines(self.head), dated=planned.dated, close=close)
            if head.length is None and self.head.method != "HEAD":
                ending = b"content-length: %d\r\n%b" % (len(body), ending)
            self._client.send(b"%b%b\r\n%b" % (planned.lines, ending, body))
        self._completion.complete(self)
        if self._stream is not None:
            self._stream.close()
        self._client.finished(close=close)

    def on_fault(self, fault: Fault) -> None:
        if self._written:
            self.detail = f"upstream broke off: {fault}"
            self._complete()
            self._client.cut()
            return
        upstream = self._route.upstream
        state = upstream.retry_state(self.head.method, whole=True)
        if self._head is None and state.again_after_fault(fault.kind, self._connection.watch):
            self._hand_over(Handover(self, self._authorized, state))
            return
        self.upstream_seconds += time.perf_counter() - self._sent_at
        error = error_of(fault, upstream.name, self._route.timeout)
        self._completion.fail(self, self._client, error, close=self._close)

    def _hand_over(self, handover: Handover) -> None:
        self.upstream_seconds += time.perf_counter() - self._sent_at
        self._completion.hand_over(self._client, handover)

    def _complete(self) -> None:
        if self.upstream_seconds == 0.0:
            self.upstream_seconds = time.perf_counter() - self._sent_at
        if self._stream is not None:
            self._stream.close()
        self._completion.complete(self)
