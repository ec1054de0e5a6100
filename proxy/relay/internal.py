"""Requests that `proxyRequest` makes: the very requests to the gateway's own relayed routes, on behalf of the caller.

They go through route, guards, rewrite, access decision, header edits, limits and timeout of the route, with the
caller's address, scheme and `Host`, and have an access line of their own. Only CORS does not apply.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping
from typing import Any

from proxy.errors import BadRequest, Forbidden, GatewayError, PayloadTooLarge, UriTooLong
from proxy.exchange import Exchange, Service
from proxy.guards import admit_waiting
from proxy.http.json import read_json
from proxy.http.request import RequestFields, RequestHead
from proxy.http.target import PathError, normalise_path
from proxy.identity.principal import Principals
from proxy.noetl.answers import json_body
from proxy.noetl.api import MAX_ANSWER
from proxy.noetl.authorize import Authorized
from proxy.noetl.filtering import MAX_LISTING, filtered
from proxy.noetl.surface import Listing, by_path
from proxy.policy.acl import Action
from proxy.relay.bridging import BridgedRequest, bridged_request
from proxy.relay.forwarding import ended_already
from proxy.relay.relayed import RelayedRoute, whole_lines
from proxy.routing import Missing, RouteTable
from proxy.upstream.client import OutgoingRequest

_KEPT = frozenset({b"host", b"authorization", b"x-session-token", b"cookie", b"user-agent", b"tracestate"})
_NOT_JUDGED = by_path(Action.VIEW)
_WITH_LENGTH = ("POST", "PUT", "PATCH")
_IN_THREAD = 64 * 1024


class InternalRequests:
    """Sends requests through the gateway's own relayed routes.

    Args:
        routes: the route table.
        relayed: the relayed routes that lead to NoETL, by the id of their service.
        principals: finds the user of a request.
        cookie_name: of the session cookie, if it is enabled.
        max_target: the largest path and query, in characters; that of a request from outside.
    """

    def __init__(
        self,
        routes: RouteTable[Service],
        relayed: Mapping[int, RelayedRoute],
        principals: Principals,
        cookie_name: str | None,
        max_target: int,
    ) -> None:
        self.routes = routes
        self._relayed = relayed
        self._principals = principals
        self._cookie_name = cookie_name
        self._max_target = max_target
        self.record: Callable[[Exchange], None] = lambda exchange: None
        """Writes the access line of a request; set by who has the access log."""

    async def send(self, outer: Exchange, method: str, endpoint: str, body: Any) -> tuple[int, Any]:
        """Send a request to `endpoint`, a path below `/api/`; return the status and the JSON of the response.

        Raises what the same request from outside would be answered with.
        """
        head = self._head(outer, method, endpoint, body)
        exchange = Exchange(head, None, {}, time.perf_counter())
        exchange.request_id, exchange.traceparent = outer.request_id, outer.traceparent
        try:
            return await self._send(exchange, b"" if body is None else json_body(body))
        except GatewayError as error:
            exchange.status = error.status
            exchange.note(error)
            raise
        finally:
            outer.upstream_seconds += exchange.upstream_seconds
            self.record(exchange)

    def _head(self, outer: Exchange, method: str, endpoint: str, body: Any) -> RequestHead:
        if len(endpoint) > self._max_target:
            raise UriTooLong(f"endpoint may have {self._max_target} characters")
        raw, question, query = endpoint.partition("?")
        try:
            path = normalise_path(raw)
        except PathError as error:
            raise BadRequest(f"endpoint: {error}") from None
        if not path.startswith("/api/") or any(c in "#\x7f" or not " " < c <= "~" for c in query):
            raise BadRequest("endpoint must be a path under /api/")
        fields = [(name, value) for name, value in outer.head.fields.raw if name.lower() in _KEPT]
        fields.append((b"accept", b"application/json"))
        if body is not None:
            fields.append((b"content-type", b"application/json"))
        address, scheme = outer.head.address, outer.head.scheme
        outside = "/noetl/" + path.removeprefix("/api/")
        meaning = RequestFields(fields, self._cookie_name, self._principals.tokens)
        return RequestHead(method, outside, question + query, meaning, address, scheme)

    async def _send(self, exchange: Exchange, data: bytes) -> tuple[int, Any]:
        head = exchange.head
        found = self.routes.find(head.fields.host.name, head.method, head.path)
        route = None if isinstance(found, Missing) else self._relayed.get(id(found.route))
        if isinstance(found, Missing) or route is None:
            raise Forbidden(detail=f"no route to NoETL serves {head.method} {head.path}")
        exchange.service, exchange.params = found.route, found.params
        who = exchange.principal = await admit_waiting(found.route.guards, head, self._principals)
        path = route.rewrite.apply(head.path, found.params)
        bridged = bridged_request(route, exchange, path)
        if bridged is not None:
            path = await bridged.path(path)
        if len(data) > route.spec.max_body_size:
            raise PayloadTooLarge(detail=f"{len(data)} bytes, {route.spec.max_body_size} allowed")
        if bridged is not None:
            data = await bridged.changed(data)
        on_behalf = exchange.on_behalf()
        judged, authorized = _NOT_JUDGED, None
        if who is not None:
            judged = route.judge(head.method, path)
            authorized = await route.authorizer.authorize(who, judged, head, data, on_behalf)
        exchange.upstream_seconds += on_behalf.waited
        if bridged is not None:
            bridged.require_known()
        if bridged is not None and bridged.found.row.own:
            made = await bridged.own(data, authorized or Authorized(None))
            exchange.status = made.status
            return made.status, _document(made.body)
        ended = await ended_already(route, exchange, judged)
        if ended is not None:
            exchange.status = 200
            return 200, ended
        listing = None if who is None or who.permits.views_all else judged.listing
        answer = await self._answer(exchange, route, path, data, listing, bridged)
        if who is not None and authorized is not None and judged.starts and exchange.status < 300:
            route.note_started(who, answer, authorized)
        if len(answer) <= _IN_THREAD:
            return exchange.status, _document(answer)
        return exchange.status, await asyncio.to_thread(_document, answer)

    async def _answer(
        self,
        exchange: Exchange,
        route: RelayedRoute,
        path: str,
        data: bytes,
        listing: Listing | None,
        bridged: BridgedRequest | None,
    ) -> bytes:
        """Send the request upstream, and return the body of the response; of a list, what the user may view."""
        head, who = exchange.head, exchange.principal
        whole = listing is not None or bridged is not None
        plan = route.request_plan
        wanted = OutgoingRequest(
            head.method,
            path + (head.query if bridged is None else bridged.query),
            whole_lines(head.fields, plan) if whole else head.fields.forwarded(plan),
            exchange.identity(),
            exchange.request_id,
            exchange.traceparent,
            data if data or head.method in _WITH_LENGTH else None,
            session=who.key if who is not None else b"",
            user=exchange.payer,
        )
        start = time.perf_counter()
        try:
            async with route.upstream.request(wanted, timeout=route.timeout) as response:
                answer = await response.read(MAX_ANSWER if listing is None else MAX_LISTING)
                exchange.status = response.status
        finally:
            exchange.upstream_seconds += time.perf_counter() - start
        if listing is not None and exchange.status < 300 and head.method != "HEAD":
            answer = await filtered(route.authorizer, exchange.who, listing, response.response_head, answer)
        if bridged is not None and head.method != "HEAD":
            made = await bridged.response(response.response_head, answer)
            exchange.status, answer = made.status, made.body
        return answer


def _document(answer: bytes) -> Any:
    """Return the JSON of a response, or its text; None for an empty one."""
    try:
        return read_json(answer) if answer else None
    except (ValueError, RecursionError):
        return answer.decode("utf-8", "replace")
