"""A relayed request on the fast path: from the parsed head straight to a kept upstream connection.

It moves bytes and contains no rule: guards, access decision, header plans and retries are those of the streaming path.
What it can't finish (no kept connection, a decision that needs a call upstream, a retry) it hands over with its
decision.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

from proxy.errors import BadGateway
from proxy.exchange import FastExchange, Handover
from proxy.http.header_plan import PlannedHead, request_head
from proxy.http.json import require_json
from proxy.http.response import Framing, framing
from proxy.noetl.api import MAX_ANSWER
from proxy.noetl.authorize import Authorized
from proxy.noetl.bridge.bridge import Bridged, detail_with
from proxy.noetl.bridge.table import Bridging
from proxy.noetl.filtering import MAX_LISTING, filtered, known_part
from proxy.noetl.surface import Listing, by_path
from proxy.policy.acl import Action
from proxy.relay.bridging import is_restricted
from proxy.relay.event_streams import EventStream, is_event_stream
from proxy.relay.relayed import RelayedRoute, bridged_head, client_head, cors_lines, part_head, whole_lines
from proxy.upstream.client import error_of
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.receiver import Fault, ResponseReceiver
from proxy.upstream.response import too_much

T = TypeVar("T")
_WITH_LENGTH = frozenset({"POST", "PUT", "PATCH"})
_NO_JUDGEMENT = by_path(Action.VIEW)


_ALLOWED = Authorized(None)


class RelayExchange(FastExchange, ResponseReceiver):
    """A relayed request under way on the fast path, and the receiver of its response."""

    __slots__ = (
        "_authorized", "_body", "_bridging", "_connection", "_filtering", "_framing", "_head", "_judged", "_listing",
        "_sent_at", "_stream", "_written", "route",
    )  # fmt: skip
    route: RelayedRoute
    _framing: Framing
    _connection: UpstreamConnection
    _sent_at: float

    def begin(self) -> Handover | None:
        """Authorize the request and send it upstream; return a Handover where more than a look is needed."""
        route: RelayedRoute = self.service.fast_route
        self.route = route
        body, principal, method, fields = self.request_body, self.principal, self.method, self.fields
        query = self.query
        self._judged, self._authorized = _NO_JUDGEMENT, _ALLOWED
        self._head: ResponseHead | None = None
        self._body: bytes | list[bytes] = b""
        self._written = False
        self._stream: EventStream | None = None
        self._filtering: asyncio.Task[Any] | None = None
        self._bridging: Bridging | None = None
        self._listing: Listing | None = None
        upstream = route.upstream_path(self.known, self.params)
        if upstream.bridged is not None and route.bridge is not None:
            found, bridge = upstream.bridged, route.bridge
            restricted = is_restricted(principal)
            call = bridge.request(found, query, body, restricted=restricted) if bridge.is_settled(found) else None
            if call is None:
                return Handover(self)
            self._bridging, query, body, _ = call
        if principal is not None:
            if upstream.judged is None:
                upstream.judged = route.judge(method, upstream.path)
            judged = self._judged = upstream.judged
            if judged.json and judged.must_be_json(has_body=bool(body)):
                require_json(fields)
            authorized = route.authorizer.authorize_known(principal, judged, self, body)
            if authorized is None:
                return Handover(self)
            self._authorized = authorized
            if judged.cancels and route.bridge is not None:
                return Handover(self, authorized)
            if judged.listing is not None and not principal.permits.views_all:
                self._listing = judged.listing
        whole = self._listing is not None or self._bridging is not None
        lines = whole_lines(fields, route.request_plan) if whole else fields.forwarded(route.request_plan)
        balancer = route.upstream.balancer
        key = None if balancer.key is None else route.balance_key(upstream.path + query, lines, principal, body)
        connection = balancer.take_idle(method, key, principal.user_id if principal is not None else self.address)
        if connection is None:
            return Handover(self, self._authorized)
        length = b"content-length: %d\r\n" % len(body) if body or method in _WITH_LENGTH else b""
        start = upstream.start + query.encode() if query else upstream.start
        request = request_head(
            start, connection.authority, length, lines, self.identity(), self.request_id,
            self._traceparent or self.new_trace(),
        )  # fmt: skip
        self._connection = connection
        self._sent_at = time.perf_counter()
        self.client.serve(self)
        connection.begin(
            self,
            request + body if body else request,
            head_only=method == "HEAD",
            deadline=connection.now() + route.timeout,
        )
        return None

    def client_left(self) -> None:
        """Release the upstream: the client has gone."""
        if self._filtering is not None:
            self._filtering.cancel()
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

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        if head.status in self.route.upstream.retries.statuses and self._send_again(head.status):
            return
        self._head = head
        self.status = head.status
        self._respond(head, body)

    def on_head(self, head: ResponseHead) -> None:
        if head.status in self.route.upstream.retries.statuses and self._send_again(head.status):
            return
        self._head = head
        self.status = head.status

    def _send_again(self, status: int) -> bool:
        """Hand over for another attempt, if a response with this status allows one."""
        state = self.route.upstream.retry_state(self.method, whole=True)
        again = state.again_after_status(status, self._connection.observer)
        if again:
            self._connection.abandon(self)
            self._hand_over(Handover(self, self._authorized, state))
        return again

    def on_body(self, data: bytes) -> None:
        if not self._body:
            self._body = data
        elif isinstance(self._body, list):
            self._body.append(data)
        else:
            self._body = [self._body, data]

    def on_batch(self) -> None:
        if self._judged.starts and not self._written and self._holds_little():
            return  # the whole body says which execution was started
        if self._listing is not None and not self._written and self.status < 300:
            self._hold_list()
            return
        if self._bridging is not None and not self._written and self._can_bridge():
            return
        if not self._written:
            self._begin_response()
        self._forward_body()
        if self._stream is not None and self._stream.should_end:
            self._end_events()
        elif self.client.blocked():
            self._connection.pause()

    def _holds_little(self) -> bool:
        arrived = self._body if isinstance(self._body, list) else [self._body]
        most = self.route.max_started if self._authorized.playbook is not None else MAX_ANSWER
        return sum(map(len, arrived)) <= most

    def _hold_list(self) -> None:
        """Go on to collect a list, which is filtered once it is there."""
        arrived = self._body if isinstance(self._body, list) else [self._body]
        if sum(map(len, arrived)) > MAX_LISTING:
            self._connection.abandon(self)
            self.completion.fail(self, too_much(MAX_LISTING))

    def _can_bridge(self) -> bool:
        """Return whether to go on to collect a response, which is changed once it is there."""
        assert self._bridging is not None  # noqa: S101 - checked by the caller
        assert self._head is not None  # noqa: S101 - a batch follows the head
        assert self.route.bridge is not None  # noqa: S101 - it has made the bridging
        arrived = self._body if isinstance(self._body, list) else [self._body]
        why = self.route.bridge.can_bridge(self._head, sum(map(len, arrived)))
        if why:
            self.detail = detail_with(self.detail, why)
            self.route.bridge.pass_on(self._bridging)
            self._bridging = None
        return not why

    def _begin_response(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - a batch follows the head
        self._written = True
        how = self._framing = framing(self.method, head.status, head.length, http_1_0=False)
        planned = client_head(self.route.response_plan, head)
        ending = self.ending(cors_lines(self.route.spec.cors, self), dated=planned.dated, close=self.close)
        self.client.send(b"%b%b%b\r\n" % (planned.lines, how.line, ending))
        if how.chunked and is_event_stream(head.headers):
            session = self.principal.key if self.principal is not None else b""
            self._stream = self.route.drain.open(self._end_events, session)

    def _forward_body(self) -> None:
        if self._body:
            data = self._take_body()
            if self._stream is not None:
                self._stream.forwarded(data)
            self.client.send(b"%x\r\n%b\r\n" % (len(data), data) if self._framing.chunked else data)

    def _take_body(self) -> bytes:
        body, self._body = self._body, b""
        return b"".join(body) if isinstance(body, list) else body

    def _end_events(self) -> None:
        """End an event stream between two events, with the process or with its session."""
        stream = self._stream
        if stream is None or not stream.should_end or self._connection.receiver is not self:
            return
        self._connection.abandon(self)
        farewell = stream.farewell()
        last = b"%x\r\n%b\r\n" % (len(farewell), farewell) if farewell else b""
        self.client.send(last + b"0\r\n\r\n")
        self.detail = "" if farewell else "the session ended"
        self._complete()
        self.client.finished(close=True)

    def on_end(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - the end follows the head
        if not self._written:
            self._respond(head, self._take_body())
            return
        self.upstream_seconds += time.perf_counter() - self._sent_at
        close = self.close = self.close or self.route.drain.started
        self._forward_body()
        if self._framing.chunked:
            self.client.send(b"0\r\n\r\n")
        self.completion.complete(self)
        self._close_stream()
        self.client.finished(close=close)

    def _respond(self, head: ResponseHead, body: bytes) -> None:
        """Send a response of which nothing was sent before, once it is filtered if it is a list."""
        self.upstream_seconds += time.perf_counter() - self._sent_at
        route = self.route
        if self._listing is not None and head.status < 300:
            self._filter(self._listing, head, body)
            return
        if self._judged.starts and head.status < 300:
            route.note_started(self.who, body, self._authorized)
        self._finish(client_head(route.response_plan, head), head, body, with_length=head.length is None)

    def _finish(self, planned: PlannedHead, head: ResponseHead, body: bytes, *, with_length: bool) -> None:
        """Send a response that is changed by the bridge first, if a row names the request."""
        bridging, bridge, plan = self._bridging, self.route.bridge, self.route.response_plan
        if bridging is None or bridge is None:
            self._send_whole(planned, body, with_length=with_length)
            return
        if self.method == "HEAD":
            self._send_whole(
                part_head(plan, head) if not bridge.can_bridge(head, 0) else planned, b"", with_length=False
            )
            return
        known = bridge.known(bridging, head, body, self.identity())
        if known is not None:
            self._send_made(known, planned, head, with_length=with_length)
            return
        on_behalf = self.on_behalf()

        def send(made: Bridged) -> None:
            self.upstream_seconds += on_behalf.waited
            self._send_made(made, planned, head, with_length=with_length)

        self._wait(bridge.bridged(bridging, head, body, on_behalf), send)

    def _send_made(self, made: Bridged, planned: PlannedHead, head: ResponseHead, *, with_length: bool) -> None:
        """Send a response that the bridge has made; with its planned head if it is as it came."""
        if made.rows:
            self.status = made.status
            self._send_whole(bridged_head(self.route.response_plan, head, made), made.body, with_length=True)
            return
        self.detail = detail_with(self.detail, made.passed)
        self._send_whole(planned, made.body, with_length=with_length)

    def _wait(self, work: Coroutine[Any, Any, T], send: Callable[[T], None]) -> None:
        """Send what a task returns, or the response to its error."""

        def done(task: asyncio.Task[T]) -> None:
            self._filtering = None
            if task.cancelled():
                return
            error = task.exception()
            if isinstance(error, Exception):
                self.completion.fail(self, error)
            else:
                send(task.result())

        task = asyncio.get_running_loop().create_task(work)
        self._filtering = task
        task.add_done_callback(done)

    def _filter(self, listing: Listing, head: ResponseHead, body: bytes) -> None:
        """Send what the user may view of a list."""
        planned = part_head(self.route.response_plan, head)
        if self.method == "HEAD":
            self._send_whole(planned, b"", with_length=False)
            return
        try:
            known = known_part(self.route.authorizer, self.who, listing, head, body)
        except BadGateway as error:
            self.completion.fail(self, error)
            return
        if known is not None:
            self._finish(planned, head, known, with_length=True)
            return
        filtering = filtered(self.route.authorizer, self.who, listing, head, body)
        self._wait(filtering, lambda part: self._finish(planned, head, part, with_length=True))

    def _send_whole(self, planned: PlannedHead, body: bytes, *, with_length: bool) -> None:
        """Send a whole response, and complete the request. `with_length`: its planned head has no length."""
        route, client = self.route, self.client
        close = self.close = self.close or route.drain.started
        cors = b"" if self.fields.origin is None else cors_lines(route.spec.cors, self)
        ending = self.ending(cors, dated=planned.dated, close=close)
        if with_length and self.method != "HEAD":
            ending = b"content-length: %d\r\n%b" % (len(body), ending)
        client.send(b"%b%b\r\n%b" % (planned.lines, ending, body))
        self.completion.complete(self)
        client.finished(close=close)

    def on_fault(self, fault: Fault) -> None:
        if self._written:
            self.detail = f"upstream broke off: {fault}"
            self._complete()
            self.client.cut()
            return
        upstream = self.route.upstream
        state = upstream.retry_state(self.method, whole=True)
        if self._head is None and state.again_after_fault(fault.kind, self._connection.observer):
            self._hand_over(Handover(self, self._authorized, state))
            return
        self.upstream_seconds += time.perf_counter() - self._sent_at
        error = error_of(fault, upstream, self.route.timeout)
        self.completion.fail(self, error)

    def _hand_over(self, handover: Handover) -> None:
        self.upstream_seconds += time.perf_counter() - self._sent_at
        self.completion.hand_over(self.client, handover)

    def _complete(self) -> None:
        if self.upstream_seconds == 0.0:
            self.upstream_seconds = time.perf_counter() - self._sent_at
        self._close_stream()
        self.completion.complete(self)

    def _close_stream(self) -> None:
        if self._stream is not None:
            self._stream.close()
