"""GraphQL on the fast path: a plan's resolvers run from the parsed head on, without a task.

It serves a POST of JSON whose document has a plan, with resolvers that run one after the other and wait for nothing but
calls upstream. The resolvers are those of the streaming path; each call that they make is sent from here, on a kept
connection if there is one. What has begun is finished here, since a mutation must not be begun twice.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Coroutine
from typing import Any, NamedTuple

from graphql import ExecutionResult

from proxy.bounded import BoundedCache
from proxy.endpoints.deadlines import Deadlines
from proxy.endpoints.graphql import GraphqlHandler, graphql_bytes, graphql_response, is_denied, log_errors, timed_out
from proxy.errors import BadGateway, BadRequest, InternalError
from proxy.exchange import Exchange, FastExchange, Handover
from proxy.graphql.http import JSON, GraphqlRequest, answered, negotiate, read_body
from proxy.graphql.plans import Ready
from proxy.graphql.resolvers import Context
from proxy.graphql.transport_sse import TOKEN_HEADER
from proxy.http.json import parse_json, require_json
from proxy.http.request import RequestFields, RequestHead
from proxy.live.messages import EVENT_STREAM
from proxy.noetl.api import MAX_ANSWER, Answer
from proxy.noetl.stepwise import OtherCall, StepwiseApi, UpstreamCall
from proxy.upstream.client import error_of
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.receiver import Fault, ResponseReceiver
from proxy.upstream.response import too_much
from proxy.upstream.retry import RetryState

_WAIT_FOR_MORE = frozenset({"health", "proxyRequest"})
"""Root fields whose resolvers wait for more than calls upstream."""
_DECIDED_FIRST = frozenset({"executionStatus", "execution"})
"""Root fields of queries whose access is decided before they call the upstream, and not by its answer."""
_KEPT_BODIES = 1024
_KEPT_BYTES = 4 * 1024**2
_MAX_KEPT = 4096
_KEPT_ANSWERS = 4096
_ANSWER_BYTES = 16 * 1024**2
_MAX_ANSWER_KEPT = 16 * 1024
ResponseKey = tuple[bytes, bytes, Answer]
"""The body of a request, the key of its session, and the one answer of the upstream to it."""
Call = UpstreamCall | OtherCall[Any]


class Prepared(NamedTuple):
    """An operation that is ready to run; `may_repeat`: access is decided before the first call."""

    ready: Ready
    may_repeat: bool


class FastGraphql:
    """Serves a GraphQL route on the fast path, with the parts of `handler`, which serves it on the streaming path."""

    def __init__(self, handler: GraphqlHandler) -> None:
        stepwise = StepwiseApi(handler.api)
        self.handler = handler
        self.api = stepwise
        self.authorizer = handler.authorizer.using(stepwise)
        self.deadlines = Deadlines(handler.settings.timeout)
        self._prepared: BoundedCache[bytes, Prepared] = BoundedCache(_KEPT_BODIES, _KEPT_BYTES)
        self.responses: BoundedCache[ResponseKey, bytes] = BoundedCache(_KEPT_ANSWERS, _ANSWER_BYTES)
        """The responses to queries with one call upstream: clients poll, and the upstream repeats its answer."""

    def prepare(self, head: RequestHead, body: bytes) -> tuple[Prepared, str] | None:
        """Return the operation of a request, ready to run, and the media type to answer with; None if it is not plain.

        Raises UnsupportedMediaType.
        """
        media = self._media(head.fields) if head.method == "POST" and not head.query else None
        if media is None:
            return None
        require_json(head.fields)
        prepared = self._prepared[body] or self._prepare(body)
        return None if prepared is None else (prepared, media)

    def _media(self, fields: RequestFields) -> str | None:
        """Return the media type to answer with; None for the streaming path, which says what is wrong, or streams."""
        media = fields.derived.get(negotiate)
        if media is None:
            media = negotiate(fields.value(b"accept"))
            if media == EVENT_STREAM or fields.value(TOKEN_HEADER) is not None:
                media = None
            fields.derived[negotiate] = media
        return media

    def _prepare(self, body: bytes) -> Prepared | None:
        """Return the operation of a body, ready to run. Clients that poll repeat a body: it is cached."""
        try:
            wanted = read_body(parse_json(body), 1)
        except BadRequest:
            return None
        if not isinstance(wanted, GraphqlRequest) or wanted.query is None or wanted.hash is not None:
            return None
        operation = self.handler.documents.known(wanted.query)
        plan = operation.plan(wanted.operation_name) if operation is not None else None
        if plan is None or not plan.in_turn or not plan.resolvers.isdisjoint(_WAIT_FOR_MORE):
            return None
        prepared = Prepared(plan.ready(wanted.variables or {}), plan.resolvers <= _DECIDED_FIRST and not plan.serial)
        if len(body) <= _MAX_KEPT and not plan.serial:
            self._prepared.put(body, prepared, 4 * len(body))
        return prepared

    def context(self, exchange: Exchange) -> Context:
        """Return what the resolvers of one request need."""
        handler = self.handler
        on_behalf = exchange.on_behalf()
        return Context(exchange.who, self.api, self.authorizer, handler.store, _no_proxy, on_behalf, handler.live)


async def _no_proxy(method: str, endpoint: str, body: Any) -> tuple[int, Any]:
    raise InternalError(detail="proxyRequest runs on the streaming path")


class OperationExchange(FastExchange, ResponseReceiver):
    """An operation under way on the fast path: drives its plan, and receives each response that the plan waits for."""

    __slots__ = (
        "_call",
        "_chunks",
        "_connection",
        "_coroutine",
        "_head",
        "_may_repeat",
        "_media",
        "_resolving",
        "_response_key",
        "_sent_at",
        "_size",
        "_task",
        "route",
    )  # fmt: skip
    route: FastGraphql
    _media: str
    _resolving: Context
    _call: UpstreamCall

    def begin(self) -> Handover | None:
        """Run the plan until it waits for the upstream, or to its end; hand over what is not a plain operation."""
        self.route = self.service.fast_route
        self._coroutine: Coroutine[Call, Any, ExecutionResult] | None = None
        self._connection: UpstreamConnection | None = None
        self._task: asyncio.Task[Answer] | None = None
        self._sent_at = 0.0
        self._head: ResponseHead | None = None
        self._response_key: ResponseKey | None = None
        prepared = self.route.prepare(self, self.request_body) if self.principal is not None else None
        if prepared is None:
            return Handover(self)
        (ready, self._may_repeat), self._media = prepared
        self._resolving = self.route.context(self)
        self._coroutine = ready.run(self._resolving)
        self.client.serve(self)
        self.route.deadlines.add(self)
        self._resume(None)
        return None

    def client_left(self) -> None:
        """Release the upstream: the client has gone."""
        self._stop()
        self.detail = "the client left"
        self.completion.complete(self)

    def client_blocked(self, blocked: bool) -> None:
        """Do nothing: a response goes out in one write."""

    def timed_out(self) -> None:
        """End the operation: it takes longer than it may."""
        self._stop()
        self._finish(timed_out(self.route.deadlines.seconds))

    def _stop(self) -> None:
        self.route.deadlines.discard(self)
        if self._sent_at:
            self.upstream_seconds += time.perf_counter() - self._sent_at
        coroutine, self._coroutine = self._coroutine, None
        if coroutine is not None:
            coroutine.close()
        if self._connection is not None and self._connection.receiver is self:
            self._connection.abandon(self)
        if self._task is not None:
            self._task.cancel()

    # The coroutine

    def _resume(self, answer: Any) -> None:
        coroutine = self._coroutine
        if coroutine is None:
            return  # stopped, with the answer on its way
        if self._sent_at:
            self.upstream_seconds += time.perf_counter() - self._sent_at
            if self._repeat(coroutine, answer):
                return
        try:
            call = coroutine.throw(answer) if isinstance(answer, BaseException) else coroutine.send(answer)
        except StopIteration as done:
            self._finish(done.value)
        except Exception as error:
            self.route.deadlines.discard(self)
            self.completion.fail(self, error)
        else:
            self._sent_at = time.perf_counter()
            self._send(call)

    def _repeat(self, coroutine: Coroutine[Call, Any, ExecutionResult], answer: Any) -> bool:
        """Respond as before, if the upstream has given the same answer to the same query of the same session.

        Access was decided before the call was sent. The rest depends on the answer alone, if there is no
        further call: those responses are kept.
        """
        first, self._may_repeat = self._may_repeat, False
        self._response_key = None
        if not first or type(answer) is not tuple or len(answer[1]) > _MAX_ANSWER_KEPT:
            return False
        key = (self.request_body, self.who.key, answer)
        known = self.route.responses[key]
        if known is None:
            self._response_key = key
            return False
        self._coroutine = None
        coroutine.close()
        self.route.deadlines.discard(self)
        self.completion.respond(self, graphql_bytes(known, 200, self._media))
        return True

    def _send(self, call: Call) -> None:
        """Send a call on a kept connection, or have it made in a task."""
        if isinstance(call, OtherCall):
            call.task.add_done_callback(self._answered)
            return
        self._call = call
        wanted, client = call.wanted, self.route.api.client
        balancer = client.balancer
        find = balancer.key
        key = find(wanted.target, wanted.lines, wanted.session, wanted.body) if find is not None else None
        connection = balancer.take_idle(wanted.method, key, wanted.user)
        if connection is None:
            self._send_in_task(None)
            return
        self._connection = connection
        self._head = None
        self._chunks: list[bytes] = []
        self._size = 0
        body = wanted.body if isinstance(wanted.body, bytes) else b""
        deadline = connection.now() + client.pool.settings.response_timeout
        request = wanted.head(connection.authority) + body
        connection.begin(self, request, head_only=wanted.method == "HEAD", deadline=deadline)

    def _send_in_task(self, retry: RetryState | None) -> None:
        call = self._call
        sending = self.route.api.exchange(call.wanted, call.on_behalf, retry)
        self._task = asyncio.get_running_loop().create_task(sending)
        self._task.add_done_callback(self._answered)

    def _answered(self, task: asyncio.Task[Any]) -> None:
        self._task = None
        if not task.cancelled():
            error = task.exception()
            self._resume(task.result() if error is None else error)

    # ResponseReceiver

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        if head.status in self.route.api.client.retries.statuses and self._send_again(head.status):
            return
        self._resume((head.status, body) if len(body) <= MAX_ANSWER else too_much(MAX_ANSWER))

    def on_head(self, head: ResponseHead) -> None:
        if head.status in self.route.api.client.retries.statuses and self._send_again(head.status):
            return
        self._head = head

    def _send_again(self, status: int) -> bool:
        """Make the call again in a task, if a response with this status allows that."""
        connection = self._connection
        assert connection is not None  # noqa: S101 - it answers
        state = self.route.api.client.retry_state(self._call.wanted.method, whole=True)
        again = state.again_after_status(status, connection.observer)
        if again:
            connection.abandon(self)
            self._send_in_task(state)
        return again

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
        client = self.route.api.client
        if self._head is not None:
            self._resume(BadGateway(detail=str(fault)))
            return
        state = client.retry_state(self._call.wanted.method, whole=True)
        endpoint = self._connection.observer if self._connection is not None else None
        if state.again_after_fault(fault.kind, endpoint):
            self._send_in_task(state)
        else:
            self._resume(error_of(fault, client, client.pool.settings.response_timeout))

    # The response

    def _finish(self, result: ExecutionResult) -> None:
        self.route.deadlines.discard(self)
        try:
            answer, behind = answered(result, self._resolving.extensions)
            if behind:
                self.detail = log_errors(behind, self.request_id)
                self.denied = is_denied(behind)
            status = answer.json_status if self._media == JSON else answer.status
            response = graphql_response(answer.body, status, self._media)
            if self._response_key is not None and not behind:
                self.route.responses.put(
                    self._response_key, response.body, len(response.body) + len(self._response_key[2][1])
                )
        except Exception as error:
            self.completion.fail(self, error)
            return
        self.completion.respond(self, response)
