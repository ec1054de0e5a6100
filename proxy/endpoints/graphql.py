"""`POST /graphql`, `GET` for queries, and GraphiQL for browsers."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
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

    async def handle(self, context: RequestContext) -> Response:
        """Answer a request, or show the page."""
        head = context.head
        accept = head.fields.value(b"accept")
        if head.method in ("GET", "HEAD") and self.settings.graphiql and _wants_page(accept, head.query):
            return self.page.response(head.fields)
        if context.principal is None:
            raise Unauthorized
        media = negotiate(accept)
        if media is None:
            raise NotAcceptable
        wanted = await self._read(context)
        if isinstance(wanted, list):
            answers = [await self._run(context, item) for item in wanted]
            return graphql_response([answer.body for answer in answers], 200, media)
        answer = await self._run(context, wanted)
        return graphql_response(answer.body, answer.json_status if media == JSON else answer.status, media)

    async def _read(self, context: RequestContext) -> GraphqlRequest | list[GraphqlRequest]:
        head = context.head
        if head.method in ("GET", "HEAD"):
            if self.settings.get == "off":
                raise MethodNotAllowed(("OPTIONS", "POST"))
            if head.fields.credentials.by_cookie and not _is_deliberate(head.fields):
                raise BadRequest(_NOT_DELIBERATE, detail="GET by cookie without a header that a foreign page can't set")
            return read_query(dict(parse_qsl(head.query.removeprefix("?"), keep_blank_values=True)))
        document = await context.body.json(self.max_body_size)
        return read_body(document, self.settings.limits.batch)

    async def _run(self, context: RequestContext, wanted: GraphqlRequest) -> GraphqlAnswer:
        operation = self.documents.find(wanted, context.who.user_id)
        if isinstance(operation, Invalid):
            return rejected(operation.errors, operation.code)
        kind = operation.kind(wanted.operation_name)
        if kind is None:
            text = "operationName must name one of the document's operations"
            return rejected((GraphQLError(text),), "BAD_USER_INPUT")
        if kind is not OperationType.QUERY and context.head.method != "POST":
            raise MethodNotAllowed(("OPTIONS", "POST"))
        if kind is OperationType.SUBSCRIPTION:
            text = "Subscriptions are not available yet: poll executionStatus"
            return rejected((GraphQLError(text),), "BAD_USER_INPUT")
        if operation.introspects and not self._may_introspect(context.who):
            return rejected((GraphQLError("Introspection is not allowed"),), Forbidden.code, Forbidden.status)
        on_behalf = context.on_behalf()
        resolving = Context(
            context.who, self.api, self.authorizer, self.store, self.proxy_of(context), on_behalf, self.live
        )
        result = await self._execute(context, resolving, wanted, operation)
        answer, behind = answered(result, resolving.extensions)
        context.denied = context.denied or is_denied(behind)
        context.detail = joined((context.detail, log_errors(behind, context.request_id)))
        return answer

    def _may_introspect(self, who: Principal) -> bool:
        allowed = self.settings.introspection
        if isinstance(allowed, IntrospectionRoles):
            return bool(set(allowed.roles) & who.subject.roles)
        return bool(allowed)

    async def _execute(
        self, context: RequestContext, resolving: Context, wanted: GraphqlRequest, operation: Operation
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


def graphql_bytes(body: bytes, status: int, media: str) -> Response:
    """Return the response with a body that is encoded already."""
    return Response(status, _FIELDS[media], body)
