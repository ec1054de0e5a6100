"""GraphQL in the fast lane: a plan's resolvers run from the parser's message on, without a task or a request object.

Only what is plain is taken: a POST of JSON that has wholly arrived, with a session, a document that is kept with a
plan, and resolvers that run one after the other and wait for nothing but upstream calls. The resolvers are the
ordinary ones; each call that they make is sent from here, on a kept connection if there is one. What has begun is
finished here, since a mutation must not be begun twice.
"""

from __future__ import annotations

import time
from http import HTTPStatus

from aiohttp.hdrs import (
    ACCEPT,
    AUTHORIZATION,
    CONTENT_ENCODING,
    CONTENT_TYPE,
    COOKIE,
    EXPECT,
    HOST,
    ORIGIN,
    TRANSFER_ENCODING,
    UPGRADE,
)
from aiohttp.helpers import rfc822_formatted_time
from aiohttp.http_parser import RawRequestMessage
from multidict import CIMultiDictProxy, istr

from proxy.access import Principal, parse_json
from proxy.config.compile import RouteSpec
from proxy.errors import BadRequest
from proxy.exchange import HSTS
from proxy.graphql.http import GraphqlRequest, negotiate, read_body
from proxy.graphql.persisted import Library
from proxy.graphql.plans import Ready
from proxy.graphql.resolvers import Context, Headers
from proxy.handlers.deadlines import Deadlines
from proxy.handlers.fast import FastLane, given_request_id, given_trace
from proxy.handlers.fast_exchange import Client
from proxy.handlers.fast_headers import MAX_KEPT_TEXT, lines
from proxy.handlers.fast_operation import GraphqlExchange
from proxy.handlers.graphql import GraphqlHandler, answer_fields
from proxy.upstream.stepwise import StepwiseApi

_WAITS_FOR_MORE = frozenset({"health", "proxyRequest"})
"""Root fields whose resolvers wait for more than upstream calls."""
_JSON_TYPES = frozenset({"application/json", "application/json; charset=utf-8", "application/json;charset=utf-8"})
_SESSION_TOKEN, _REQUEST_ID, _TRACEPARENT = istr("x-session-token"), istr("x-request-id"), istr("traceparent")
_MAX_KNOWN = 1024
_MAX_KEPT = 4096


class FastGraphql:
    """A GraphQL route, as the lane serves it; with the objects of `handler`, which serves it in the ordinary way."""

    def __init__(
        self,
        spec: RouteSpec,
        handler: GraphqlHandler,
        session_cookie: str | None,
        security: tuple[tuple[str, str], ...],
    ) -> None:
        stepwise = StepwiseApi(handler.api)
        self.spec = spec
        self.api = handler.api
        self._stepwise = stepwise
        self._judge = handler.judge.asking(stepwise)
        self._store, self._proxy = handler.store, handler.proxy
        self.deadlines = Deadlines(handler.settings.timeout)
        self._documents: Library = handler.documents
        self._cookie = session_cookie
        self._max_body_size = handler.max_body_size
        self._media: dict[str | None, str | None] = {}
        self._ready: dict[bytes, Ready] = {}
        self._starts: dict[tuple[int, str], bytes] = {}
        server = ("server", "noetl-edge")
        self._endings = {
            "http": lines([*security, server]),
            "https": lines([*security, *((HSTS,) if security else ()), server]),
        }

    def plain(self, lane: FastLane, message: RawRequestMessage, body: bytes) -> PlainGraphql | None:
        """A request that is plain in all respects."""
        headers = message.headers
        if message.method != "POST" or not 0 < len(body) <= self._max_body_size or not self._is_plain(message):
            return None
        key = lane.key(headers.get(AUTHORIZATION, ""), headers.get(_SESSION_TOKEN, ""))
        media = self._negotiate(headers.get(ACCEPT))
        ready = self._ready.get(body) or self._prepare(body) if key is not None and media is not None else None
        if key is None or media is None or ready is None:
            return None
        return PlainGraphql(self, lane, message, key, media, ready)

    def _is_plain(self, message: RawRequestMessage) -> bool:
        headers = message.headers
        if headers.get(CONTENT_TYPE) not in _JSON_TYPES or "?" in message.path:
            return False
        if CONTENT_ENCODING in headers or EXPECT in headers or TRANSFER_ENCODING in headers or UPGRADE in headers:
            return False
        if self._cookie is not None and self._cookie in headers.get(COOKIE, ""):
            return False
        origin = headers.get(ORIGIN, "null")
        if not 0 < len(origin) <= MAX_KEPT_TEXT or len(headers.get(ACCEPT, "")) > MAX_KEPT_TEXT:
            return False
        return origin.isascii() and len(headers.getall(HOST)) == 1

    def _negotiate(self, accept: str | None) -> str | None:
        if accept not in self._media:
            if len(self._media) >= _MAX_KNOWN:
                self._media.clear()
            self._media[accept] = negotiate(accept)
        return self._media[accept]

    def _prepare(self, body: bytes) -> Ready | None:
        """What a body asks for, ready to run. Clients that poll send the same body again and again: it is kept."""
        try:
            wanted = read_body(parse_json(body), 1)
        except BadRequest:
            return None
        if not isinstance(wanted, GraphqlRequest) or wanted.query is None or wanted.hash is not None:
            return None
        operation = self._documents.known(wanted.query)
        if operation is None:
            return None
        plan = operation.plan(wanted.operation_name)
        if plan is None or not plan.in_turn or not plan.resolvers.isdisjoint(_WAITS_FOR_MORE):
            return None
        ready = plan.ready(wanted.variables or {})
        if len(body) <= _MAX_KEPT and not plan.serial:
            if len(self._ready) >= _MAX_KNOWN:
                self._ready.clear()
            self._ready[body] = ready
        return ready

    def context(self, principal: Principal, headers: Headers) -> Context:
        """What the resolvers of one request need."""
        return Context(principal, self._stepwise, self._judge, self._store, self._proxy, headers)

    def head(
        self, status: int, media: str, request_id: bytes, origin: bytes, scheme: str, size: int, *, close: bool
    ) -> bytes:
        """The head of an answer, as aiohttp writes that of the ordinary path."""
        start = self._starts.get((status, media))
        if start is None:
            text = f"HTTP/1.1 {status} {HTTPStatus(status).phrase}\r\n"
            start = self._starts[status, media] = text.encode() + lines(answer_fields(media))
        return b"%bx-request-id: %b\r\n%b%bContent-Length: %d\r\nDate: %b\r\n%b\r\n" % (
            start,
            request_id,
            origin,
            self._endings[scheme],
            size,
            rfc822_formatted_time().encode(),
            b"Connection: close\r\n" if close else b"",
        )


class PlainGraphql:
    """An operation as a request's bytes say it: what of it is the same whenever these bytes come again."""

    __slots__ = (
        "_authority", "_key", "lane", "media", "message", "origin", "path", "ready", "request_id", "route",
        "should_close", "trace",
    )  # fmt: skip

    def __init__(
        self, route: FastGraphql, lane: FastLane, message: RawRequestMessage, key: bytes, media: str, ready: Ready
    ) -> None:
        headers = message.headers
        self.route, self.lane, self.message, self.media, self.ready = route, lane, message, media, ready
        self._key, self._authority = key, headers.get(HOST, "")
        self.request_id = given_request_id(headers.get(_REQUEST_ID, "").encode("utf-8", "surrogateescape"))
        self.trace = given_trace(_only(headers, _TRACEPARENT))
        self.origin = lane.origin(route.spec, headers.get(ORIGIN, "").encode())
        self.path, self.should_close = message.path, message.should_close

    def take(self, client: Client) -> GraphqlExchange | None:
        """The operation, ready to start, if there is a live session."""
        started = time.perf_counter()
        lane = self.lane
        principal = lane.who(self._key)
        if principal is None:
            return None
        address, scheme = lane.circumstances(client, self.message)
        identity = lane.identity(principal, address, scheme, self._authority)
        return GraphqlExchange(self, client, principal, identity, address, scheme, started)


def _only(headers: CIMultiDictProxy[str], name: str) -> str:
    """A field's value if it is there once."""
    value = headers.get(name)
    return value if value is not None and len(headers.getall(name)) == 1 else ""
