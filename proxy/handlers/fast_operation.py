"""An operation under way in the fast lane: its plan's coroutine, driven by hand, one upstream call after the other."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import TYPE_CHECKING, Any

from graphql import ExecutionResult

from proxy.access import Principal
from proxy.errors import BadGateway, GatewayError, InternalError
from proxy.exchange import Left
from proxy.graphql.http import JSON, answered
from proxy.handlers.fast_exchange import Client
from proxy.handlers.fast_headers import Fields, lines
from proxy.handlers.graphql import encode, is_denied, tell, timed_out
from proxy.observe.access import AccessLine
from proxy.observe.logs import get_logger
from proxy.upstream.client import error_of
from proxy.upstream.connection import NEVER, Connection
from proxy.upstream.heads import Head
from proxy.upstream.noetl import MAX_ANSWER, OnBehalf
from proxy.upstream.pool import STALE_AFTER
from proxy.upstream.response import too_much
from proxy.upstream.retry import SAFE
from proxy.upstream.sink import Fault, FaultKind
from proxy.upstream.stepwise import Answer, UpstreamCall

if TYPE_CHECKING:
    from proxy.handlers.fast_graphql import PlainGraphql

_ACCEPT_JSON = lines([("accept", "application/json")])
_SEND_JSON = lines([("content-type", "application/json")])


class GraphqlExchange:
    """An operation under way in the lane: drives its plan, and is the sink of each answer that the plan waits for."""

    __slots__ = (
        "_call", "_chunks", "_client", "_close", "_connection", "_coroutine", "_head", "_identity",
        "_principal", "_request_id", "_route", "_scheme", "_sent", "_size", "_status", "_task", "_trace",
        "_upstream_seconds", "_wanted", "address", "started",
    )  # fmt: skip

    def __init__(
        self,
        asked: PlainGraphql,
        client: Client,
        principal: Principal,
        identity: Fields,
        address: str,
        scheme: str,
        started: float,
    ) -> None:
        lane = asked.lane
        self.started = started
        self._wanted, self._route, self._client = asked, asked.route, client
        self._principal, self._identity = principal, identity
        self._close = asked.should_close or lane.means.drain.started
        self._request_id = asked.request_id or lane.request_id()
        self._trace = asked.trace or lane.traceparent()
        self.address, self._scheme = address, scheme
        self._coroutine: Coroutine[UpstreamCall, Any, ExecutionResult] | None = None
        self._connection: Connection | None = None
        self._task: asyncio.Task[Answer] | None = None
        self._status = 499
        self._upstream_seconds = 0.0

    def start(self) -> None:
        """Run the plan until it waits for the upstream, or to its end."""
        own = ("x-request-id", self._request_id.decode()), ("traceparent", self._trace.decode())
        fields = OnBehalf((*self._identity.pairs, *own), self._principal.key)
        self._coroutine = self._wanted.ready.run(self._route.context(self._principal, fields))
        self._route.deadlines.add(self)
        self._resume(None)

    def client_left(self) -> None:
        """The client is gone: the upstream is released at once."""
        self._stop()
        self._tell("the client left")

    def client_blocked(self, blocked: bool) -> None:
        """An answer goes out in one write: there is nothing to hold back."""

    def timed_out(self) -> None:
        """The operation takes longer than it may."""
        self._stop()
        self._finish(timed_out(self._route.deadlines.seconds))

    def _stop(self) -> None:
        self._route.deadlines.discard(self)
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()
        if self._connection is not None and self._connection.sink is self:
            self._connection.abandon(self)
        if self._task is not None:
            self._task.cancel()

    # The coroutine

    def _resume(self, answer: Answer | BaseException | None) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return  # stopped, with the answer on its way
        if answer is not None:
            self._upstream_seconds += time.perf_counter() - self._sent
        try:
            call = coroutine.throw(answer) if isinstance(answer, BaseException) else coroutine.send(answer)
        except StopIteration as done:
            self._finish(done.value)
        except Exception as error:
            self._failed(error)
        else:
            self._send(call)

    def _send(self, call: UpstreamCall) -> None:
        """Send a call on a kept connection, or have it made in the ordinary way."""
        self._call = call
        self._sent = time.perf_counter()
        client = self._route.api.client
        longest_idle = NEVER if call.method in SAFE else STALE_AFTER
        connection = client.balancer.take_idle(b"", longest_idle) if client.balancer.key is None else None
        if connection is None:
            self._ask(0)
            return
        data = call.data
        framing = "" if data is None else f"content-length: {len(data)}\r\n"
        request = b"%b%bx-request-id: %b\r\ntraceparent: %b\r\n%b%b\r\n%b" % (
            f"{call.method} {call.target} HTTP/1.1\r\nhost: {connection.authority}\r\n{framing}".encode("latin-1"),
            self._identity.lines,
            self._request_id,
            self._trace,
            _ACCEPT_JSON,
            _SEND_JSON if data else b"",
            data or b"",
        )
        self._connection = connection
        self._head: Head | None = None
        self._chunks: list[bytes] = []
        self._size = 0
        deadline = client.pool.now() + client.pool.settings.response_timeout
        connection.begin(self, request, head_only=call.method == "HEAD", deadline=deadline)

    def _ask(self, spent: int) -> None:
        call = self._call
        sending = self._route.api.send(call.method, call.target, call.headers, call.body, spent=spent)
        self._task = asyncio.get_running_loop().create_task(sending)
        self._task.add_done_callback(self._asked)

    def _asked(self, task: asyncio.Task[Answer]) -> None:
        self._task = None
        if not task.cancelled():
            error = task.exception()
            self._resume(task.result() if error is None else error)

    # Sink

    def on_head(self, head: Head) -> None:
        client = self._route.api.client
        if head.status in client.retries.statuses and client.may_retry(self._call.method, status=head.status):
            assert self._connection is not None  # noqa: S101 - it has answered
            self._connection.abandon(self)
            self._ask(1)
        else:
            self._head = head

    def on_body(self, data: bytes) -> None:
        self._chunks.append(data)
        self._size += len(data)

    def on_batch(self) -> None:
        if self._size > MAX_ANSWER:
            assert self._connection is not None  # noqa: S101 - it answers
            self._connection.abandon(self)
            self._resume(too_much(MAX_ANSWER))

    def on_end(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - the end follows the head
        if self._size > MAX_ANSWER:
            self._resume(too_much(MAX_ANSWER))
        else:
            self._resume((head.status, b"".join(self._chunks)))

    def on_fault(self, fault: Fault) -> None:
        client, method = self._route.api.client, self._call.method
        if self._head is not None:
            self._resume(BadGateway(detail=str(fault)))
        elif fault.kind is FaultKind.STALE and method in SAFE:
            self._ask(0)
        elif client.may_retry(method, kind=fault.kind):
            self._ask(1)
        else:
            self._resume(error_of(fault, client.name, client.pool.settings.response_timeout))

    # The answer

    def _finish(self, result: ExecutionResult) -> None:
        self._route.deadlines.discard(self)
        request_id = self._request_id
        try:
            answer, behind = answered(result)
            detail = tell(behind, request_id.decode()) if behind else ""
            denied = is_denied(behind)
            body = encode(answer.body)
        except Exception as error:
            self._failed(error)
            return
        asked = self._wanted
        status = self._status = answer.json_status if asked.media == JSON else answer.status
        head = self._route.head(
            status, asked.media, request_id, asked.origin, self._scheme, len(body), close=self._close
        )
        self._client.send(head + body)
        self._tell(detail, denied=denied)
        self._client.lane_done(close=self._close)

    def _failed(self, error: Exception) -> None:
        """Something other than an answer: the ordinary path tells the client, and counts."""
        self._route.deadlines.discard(self)
        if not isinstance(error, GatewayError):
            get_logger().error("request.failed", request_id=self._request_id.decode(), exc_info=error)
            error = InternalError()
        left = Left(error, started=self.started, upstream_seconds=self._upstream_seconds, request_id=self._request_id)
        self._client.lane_failed(left)

    def _tell(self, detail: str, *, denied: bool = False) -> None:
        line = AccessLine(
            "POST",
            self._wanted.path,
            self._route.spec.pattern,
            self._status,
            (time.perf_counter() - self.started) * 1000,
            self._upstream_seconds * 1000,
            self._principal.user_id,
            self.address,
            self._request_id.decode(),
            detail,
            denied,
        )
        means = self._wanted.lane.means
        means.metrics.session_checks["valid"] += 1
        means.log.write(line)
