"""`POST /graphql`, `GET` for queries, and GraphiQL for browsers."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, NamedTuple, Protocol
from urllib.parse import parse_qsl

from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationType, execute

from proxy.config.model import Graphql, IntrospectionRoles
from proxy.endpoints.graphiql import Page
from proxy.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    GatewayTimeout,
    InternalError,
    MethodNotAllowed,
    NotAcceptable,
    Unauthorized,
)
from proxy.exchange import Exchange, RequestContext, joined
from proxy.graphql.documents import Invalid, Operation
from proxy.graphql.http import (
    JSON,
    RESPONSE_JSON,
    GraphqlAnswer,
    GraphqlRequest,
    answered,
    negotiate,
    read_body,
    read_query,
    rejected,
    without_unwritable,
)
from proxy.graphql.persisted import Library
from proxy.graphql.resolvers import Context, ProxyCall
from proxy.graphql.subscribing import Subscribing
from proxy.http.json import write_json
from proxy.http.request import RequestFields
from proxy.http.response import NO_STORE, Fields, Response
from proxy.identity.principal import Principal
from proxy.live.start import LiveStarts
from proxy.noetl.api import NoetlApi
from proxy.noetl.authorize import Authorizer
from proxy.observe.logs import get_logger
from proxy.relay.internal import InternalRequests
from proxy.sessions.store import SessionStore

_ASKS = ("query=", "documentId=", "extensions=")
_DELIBERATE = (b"x-requested-with", b"apollo-require-preflight", b"x-apollo-operation-name")
_NOT_DELIBERATE = (
    "Signed in by a cookie, a query by GET needs one of the headers x-requested-with and apollo-require-preflight,"
    " or content-type: application/json; or send it by POST"
)


_MAX_DETAIL = 1000
_NEEDS_STREAM = (
    "A subscription needs a stream: send accept: text/event-stream, or open a WebSocket (graphql-transport-ws)"
)


class Admitted(NamedTuple):
    """An operation that the user may run."""

    operation: Operation
    kind: OperationType


class StreamHandler(Protocol):
    """Serves the requests of streams of server-sent events; see `graphql_sse`."""

    def serves(self, context: RequestContext, media: str | None) -> bool:
        """Return whether a request is one of these; `media` is the type that its client prefers."""

    async def handle(self, context: RequestContext, handler: GraphqlHandler) -> Response | None:
        """Serve the request."""


class SocketHandler(Protocol):
    """Serves WebSockets; see `graphql_ws`."""

    async def handle(self, context: RequestContext) -> Response | None:
        """Serve the WebSocket."""


@dataclass(frozen=True, slots=True)
class GraphqlHandler:
    """The endpoint, with what it needs."""

    schema: GraphQLSchema
    documents: Library
    settings: Graphql
    api: NoetlApi
    authorizer: Authorizer
    store: SessionStore
    internal: InternalRequests
    live: LiveStarts
    max_body_size: int
    page: Page
    sse: StreamHandler
    socket: SocketHandler

    async def handle(self, context: RequestContext) -> Response | None:
        """Answer a request, show the page, or serve a stream of results."""
        head = context.head
        accept = head.fields.value(b"accept")
        if head.method in ("GET", "HEAD") and self.settings.graphiql and _wants_page(accept, head.query):
            return self.page.response(head.fields)
        if head.fields.upgrades_to_websocket and head.method == "GET" and not context.writer.http_1_0:
            return await self.socket.handle(context)
        media = negotiate(accept)
        if self.sse.serves(context, media):
            return await self.sse.handle(context, self)
        if context.principal is None:
            raise Unauthorized
        if media is None:
            raise NotAcceptable
        wanted = await self.read(context)
        if isinstance(wanted, list):
            answers = [await self.run(context, item) for item in wanted]
            return graphql_response([answer.body for answer in answers], 200, media)
        return answer_response(await self.run(context, wanted), media)

    async def read(self, context: RequestContext) -> GraphqlRequest | list[GraphqlRequest]:
        head = context.head
        if head.method in ("GET", "HEAD"):
            if self.settings.get == "off":
                raise MethodNotAllowed(("OPTIONS", "POST"))
            if head.fields.credentials.by_cookie and not _is_deliberate(head.fields):
                raise BadRequest(_NOT_DELIBERATE, detail="GET by cookie without a header that a foreign page can't set")
            return read_query(dict(parse_qsl(head.query.removeprefix("?"), keep_blank_values=True)))
        document = await context.body.json(self.max_body_size)
        return read_body(document, self.settings.limits.batch)

    def admit(self, who: Principal, wanted: GraphqlRequest, *, get: bool = False) -> Admitted | GraphqlAnswer:
        """Return the operation of a request, if the user may run it; else the answer with the errors.

        Raises:
            MethodNotAllowed: a request by `get` for something else than a query.
        """
        operation = self.documents.find(wanted, who.user_id)
        if isinstance(operation, Invalid):
            return rejected(operation.errors, operation.code)
        kind = operation.kind(wanted.operation_name)
        if kind is None:
            text = "operationName must name one of the document's operations"
            return rejected((GraphQLError(text),), "BAD_USER_INPUT")
        if kind is OperationType.MUTATION and get:
            raise MethodNotAllowed(("OPTIONS", "POST"))
        if operation.introspects and not self._may_introspect(who):
            return rejected((GraphQLError("Introspection is not allowed"),), Forbidden.code, Forbidden.status)
        return Admitted(operation, kind)

    async def run(self, context: RequestContext, wanted: GraphqlRequest) -> GraphqlAnswer:
        """Run a request's operation, and return its answer. A subscription is refused: it needs a stream."""
        admitted = self.admit(context.who, wanted, get=context.head.method != "POST")
        if isinstance(admitted, GraphqlAnswer):
            return admitted
        if admitted.kind is OperationType.SUBSCRIPTION:
            return rejected((GraphQLError(_NEEDS_STREAM),), "BAD_USER_INPUT")
        return await self.execute(context, wanted, admitted.operation)

    async def execute(self, context: Exchange, wanted: GraphqlRequest, operation: Operation) -> GraphqlAnswer:
        """Run a query or a mutation, and return its answer."""
        resolving = self.resolving(context)
        return self.answered(context, resolving, await self._execute(context, resolving, wanted, operation))

    def resolving(self, context: Exchange) -> Context:
        """Return what the resolvers of an operation need."""
        on_behalf = context.on_behalf()
        return Context(context.who, self.api, self.authorizer, self.store, self.proxy_of(context), on_behalf, self.live)

    def answered(self, context: Exchange, resolving: Context, result: ExecutionResult) -> GraphqlAnswer:
        """Return the answer with a result, and note its errors for the log."""
        answer, behind = answered(result, resolving.extensions)
        context.denied = context.denied or is_denied(behind)
        detail = log_errors(behind, context.request_id)
        if len(context.detail) < _MAX_DETAIL:  # a subscription has many answers
            context.detail = joined((context.detail, detail))
        return answer

    def subscribing(self, wanted: GraphqlRequest, operation: Operation) -> Subscribing:
        """Return the subscription that a request asks for."""
        return Subscribing(self.schema, operation, wanted, not self.settings.suggestions)

    def _may_introspect(self, who: Principal) -> bool:
        allowed = self.settings.introspection
        if isinstance(allowed, IntrospectionRoles):
            return bool(set(allowed.roles) & who.subject.roles)
        return bool(allowed)

    async def _execute(
        self, context: Exchange, resolving: Context, wanted: GraphqlRequest, operation: Operation
    ) -> ExecutionResult:
        start = time.perf_counter()
        try:
            async with asyncio.timeout(self.settings.timeout):
                plan = operation.plan(wanted.operation_name)
                if plan is not None:
                    return await plan.run(resolving, wanted.variables or {})
                return await self._interpret(resolving, wanted, operation)
        except TimeoutError:
            return timed_out(self.settings.timeout)
        finally:
            context.upstream_seconds += min(resolving.on_behalf.waited, time.perf_counter() - start)

    def proxy_of(self, context: Exchange) -> ProxyCall:
        """Return how `proxyRequest` sends a request on behalf of the one that asks for it."""

        async def call(method: str, endpoint: str, body: Any) -> tuple[int, Any]:
            return await self.internal.send(context, method, endpoint, body)

        return call

    async def _interpret(self, context: Context, wanted: GraphqlRequest, operation: Operation) -> ExecutionResult:
        """Run an operation that has no plan."""
        outcome = execute(
            self.schema,
            operation.document,
            context_value=context,
            variable_values=dict(wanted.variables or {}),
            operation_name=wanted.operation_name,
            hide_suggestions=not self.settings.suggestions,
        )
        result = await outcome if inspect.isawaitable(outcome) else outcome
        if not isinstance(result, ExecutionResult):
            raise InternalError(detail="incremental delivery is not served")
        return result


def timed_out(seconds: float) -> ExecutionResult:
    """The result of an operation that took longer than it may."""
    cause = GatewayTimeout(detail=f"GraphQL operation over {seconds:g} s")
    return ExecutionResult(None, [GraphQLError(cause.text, original_error=cause)])


def log_errors(behind: Sequence[tuple[GraphQLError, GatewayError]], request_id: bytes) -> str:
    """What the access line says of the errors behind an answer; our own faults are logged with their stack."""
    details = []
    for error, cause in behind:
        if isinstance(cause, InternalError):
            get_logger().error(
                "graphql.error", request_id=request_id.decode(), path=error.path, exc_info=error.original_error
            )
        elif cause.detail:
            details.append(cause.detail)
    return "; ".join(details)


def is_denied(behind: Sequence[tuple[GraphQLError, GatewayError]]) -> bool:
    """Whether the access rules are behind one of an answer's errors."""
    return any(isinstance(cause, Forbidden) for _, cause in behind)


def _wants_page(accept: str | None, query: str) -> bool:
    return accept is not None and "text/html" in accept and not any(name in query for name in _ASKS)


def _is_deliberate(fields: RequestFields) -> bool:
    """Whether a page of another origin could have sent this only after a preflight (Fetch, 4.8)."""
    kind = (fields.value(b"content-type") or "").partition(";")[0].strip().lower()
    return kind == JSON or any(fields.value(name) is not None for name in _DELIBERATE)


def encode(document: Any) -> bytes:
    """Return the body of an answer, or of a batch. Raises BadRequest for what can't be written as JSON."""
    try:
        return write_json(document)
    except (ValueError, TypeError):
        pass
    answers = document if isinstance(document, list) else [document]
    writable = [without_unwritable(answer) for answer in answers]
    try:
        return write_json(writable if isinstance(document, list) else writable[0])
    except (ValueError, TypeError):
        raise BadRequest("The answer can't be written as JSON") from None


_FIELDS: dict[str, Fields] = {
    media: (("content-type", f"{media}; charset=utf-8"), NO_STORE) for media in (JSON, RESPONSE_JSON)
}


def graphql_response(document: Any, status: int, media: str) -> Response:
    """Return the response with an answer, or with those of a batch."""
    return graphql_bytes(encode(document), status, media)


def answer_response(answer: GraphqlAnswer, media: str) -> Response:
    """Return the response with one answer."""
    return graphql_response(answer.body, answer.json_status if media == JSON else answer.status, media)


def graphql_bytes(body: bytes, status: int, media: str) -> Response:
    """Return the response with a body that is encoded already."""
    return Response(status, _FIELDS[media], body)
