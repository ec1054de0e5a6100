"""`POST /graphql`, `GET` for queries, and GraphiQL for browsers."""

from __future__ import annotations

import asyncio
import inspect
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import parse_qsl

from aiohttp import web
from graphql import ExecutionResult, GraphQLError, GraphQLSchema, OperationType, execute

from proxy.access import AccessJudge, Principal, parse_json
from proxy.config.model import Graphql, IntrospectionRoles
from proxy.config.model_identity import Cookie
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
from proxy.exchange import NO_STORE, Exchange, Headers, require_json
from proxy.graphql.documents import Invalid, Operation
from proxy.graphql.http import JSON, GraphqlAnswer, GraphqlRequest, answered, negotiate, read_body, read_query, refused
from proxy.graphql.persisted import Library
from proxy.graphql.resolvers import Context, ProxyCall
from proxy.handlers.auth import is_by_cookie
from proxy.handlers.relay import identity_headers
from proxy.jsontext import write_json
from proxy.observe.logs import get_logger
from proxy.sessions.store import SessionStore
from proxy.upstream.noetl import NoetlApi

_ASKS = ("query=", "documentId=", "extensions=")
_DELIBERATE = ("x-requested-with", "apollo-require-preflight", "x-apollo-operation-name")
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
    cookie: Cookie
    api: NoetlApi
    judge: AccessJudge
    store: SessionStore
    proxy: ProxyCall
    max_body_size: int
    page: Any

    async def handle(self, exchange: Exchange) -> web.StreamResponse:
        """Answer a request, or show the page."""
        request = exchange.request
        accept = request.headers.get("accept")
        if request.method in ("GET", "HEAD") and self.settings.graphiql and _wants_page(accept, exchange.query):
            return self.page(request)  # type: ignore[no-any-return]
        if exchange.principal is None:
            raise Unauthorized
        media = negotiate(accept)
        if media is None:
            raise NotAcceptable
        wanted = await self._read(exchange)
        if isinstance(wanted, list):
            answers = [await self._run(exchange, item) for item in wanted]
            return _response([answer.body for answer in answers], 200, media)
        answer = await self._run(exchange, wanted)
        return _response(answer.body, answer.json_status if media == JSON else answer.status, media)

    async def _read(self, exchange: Exchange) -> GraphqlRequest | list[GraphqlRequest]:
        request = exchange.request
        if request.method in ("GET", "HEAD"):
            if self.settings.get == "off":
                raise MethodNotAllowed(("OPTIONS", "POST"))
            if is_by_cookie(exchange, self.cookie) and not _is_deliberate(request):
                raise BadRequest(_NOT_DELIBERATE, detail="GET by cookie without a header that a foreign page can't set")
            return read_query(dict(parse_qsl(exchange.query, keep_blank_values=True)))
        require_json(request)
        document = parse_json(await exchange.body(self.max_body_size))
        return read_body(document, self.settings.limits.batch)

    async def _run(self, exchange: Exchange, wanted: GraphqlRequest) -> GraphqlAnswer:
        operation = self.documents.find(wanted, exchange.who.user_id)
        if isinstance(operation, Invalid):
            return refused(operation.errors, operation.code)
        kind = operation.kind(wanted.operation_name)
        if kind is None:
            text = "operationName must name one of the document's operations"
            return refused((GraphQLError(text),), "BAD_USER_INPUT")
        if kind is not OperationType.QUERY and exchange.request.method != "POST":
            raise MethodNotAllowed(("OPTIONS", "POST"))
        if kind is OperationType.SUBSCRIPTION:
            text = "Subscriptions are not available yet: poll executionStatus"
            return refused((GraphQLError(text),), "BAD_USER_INPUT")
        if operation.introspects and not self._may_introspect(exchange.who):
            return refused((GraphQLError("Introspection is not allowed"),), "FORBIDDEN")
        result = await self._execute(exchange, wanted, operation)
        answer, behind = answered(result)
        exchange.denied = exchange.denied or is_denied(behind)
        exchange.detail = "; ".join(filter(None, (exchange.detail, tell(behind, exchange.request_id))))
        return answer

    def _may_introspect(self, who: Principal) -> bool:
        allowed = self.settings.introspection
        if isinstance(allowed, IntrospectionRoles):
            return bool(set(allowed.roles) & who.subject.roles)
        return bool(allowed)

    async def _execute(self, exchange: Exchange, wanted: GraphqlRequest, operation: Operation) -> ExecutionResult:
        headers, start = identity_headers(exchange), time.perf_counter()
        context = Context(exchange.who, self.api, self.judge, self.store, self.proxy, headers)
        try:
            async with asyncio.timeout(self.settings.timeout):
                plan = operation.plan(wanted.operation_name)
                if plan is not None:
                    return await plan.run(context, wanted.variables or {})
                return await self._interpret(context, wanted, operation)
        except TimeoutError:
            return timed_out(self.settings.timeout)
        finally:
            exchange.stopwatch.seconds += min(headers.waited, time.perf_counter() - start)

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


def tell(behind: Sequence[tuple[GraphQLError, GatewayError]], request_id: str) -> str:
    """What the access line says of the errors behind an answer; our own faults are logged with their stack."""
    details = []
    for error, cause in behind:
        if isinstance(cause, InternalError):
            get_logger().error("graphql.error", request_id=request_id, path=error.path, exc_info=error.original_error)
        elif cause.detail:
            details.append(cause.detail)
    return "; ".join(details)


def is_denied(behind: Sequence[tuple[GraphQLError, GatewayError]]) -> bool:
    """Whether the access rules are behind one of an answer's errors."""
    return any(isinstance(cause, Forbidden) for _, cause in behind)


def _wants_page(accept: str | None, query: str) -> bool:
    return accept is not None and "text/html" in accept and not any(name in query for name in _ASKS)


def _is_deliberate(request: web.BaseRequest) -> bool:
    """Whether a page of another origin could have sent this only after a preflight (Fetch, 4.8)."""
    kind = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    return kind == JSON or any(name in request.headers for name in _DELIBERATE)


def encode(document: Any) -> bytes:
    """An answer's body. Raises BadRequest for what can't be written as JSON."""
    try:
        return write_json(document)
    except (ValueError, TypeError):
        raise BadRequest("The answer can't be written as JSON") from None


def answer_fields(media: str) -> Headers:
    """The header fields of every answer."""
    return [("content-type", f"{media}; charset=utf-8"), NO_STORE]


def _response(document: Any, status: int, media: str) -> web.Response:
    return web.Response(body=encode(document), status=status, headers=answer_fields(media))
