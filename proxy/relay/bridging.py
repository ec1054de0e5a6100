"""The bridge on the streaming path and for `proxyRequest`: what goes upstream instead of a client's request."""

from __future__ import annotations

from collections.abc import AsyncIterator

from proxy.errors import GatewayError
from proxy.exchange import Exchange
from proxy.http.body import read_ahead, rejoined
from proxy.http.response import JSON_FIELDS, Response
from proxy.identity.principal import Principal
from proxy.noetl.authorize import Authorized
from proxy.noetl.bridge.bridge import Bridge, Bridged, detail_with
from proxy.noetl.bridge.table import MAX_BODY, BridgedPath, Bridging
from proxy.relay.relayed import RelayedRoute
from proxy.upstream.client import Body
from proxy.upstream.heads import ResponseHead


class BridgedRequest:
    """A request on its way over the bridge.

    Args:
        route: its route.
        bridge: the bridge before the upstream of the route.
        exchange: the request.
        found: the row that names it.

    `query` is that of the request upstream; `bridging` is None until the body is known.
    """

    __slots__ = ("_bridge", "_exchange", "_refusal", "_route", "bridging", "found", "query")

    def __init__(self, route: RelayedRoute, bridge: Bridge, exchange: Exchange, found: BridgedPath) -> None:
        self._route = route
        self._bridge = bridge
        self._exchange = exchange
        self.found = found
        self.query = exchange.query
        self.bridging: Bridging | None = None
        self._refusal: GatewayError | None = None

    async def path(self, path: str) -> str:
        """Return the path that goes upstream for the path of the request. Raises GatewayError."""
        on_behalf = self._exchange.on_behalf()
        try:
            return await self._bridge.path(self.found, path, on_behalf)
        finally:
            self._exchange.upstream_seconds += on_behalf.waited

    async def changed(self, body: bytes) -> bytes:
        """Return the body that goes upstream instead of a body. Raises GatewayError."""
        on_behalf, query = self._exchange.on_behalf(), self._exchange.query
        try:
            call = await self._bridge.whole_request(
                self.found, query, body, on_behalf, restricted=is_restricted(self._exchange.principal)
            )
        finally:
            self._exchange.upstream_seconds += on_behalf.waited
        self.bridging, self.query, self._refusal = call.bridging, call.query, call.refusal
        return call.body

    def require_known(self) -> None:
        """Raise the error of a request that can't be forwarded, which has been authorized as it came."""
        if self._refusal is not None:
            raise self._refusal

    async def streamed(self, body: Body, length: int | None) -> tuple[Body, int | None]:
        """Return the body that goes upstream instead of one that is not judged, and its length if that is known."""
        if isinstance(body, AsyncIterator) and self.found.row.body is not None and (length or 0) <= MAX_BODY:
            first, whole = await read_ahead(body, MAX_BODY)
            body, length = (first, len(first)) if whole else (rejoined(first, body), length)
        if not isinstance(body, bytes):
            await self.changed(b"")
            return body, length
        changed = await self.changed(body)
        return changed, len(changed) if length is not None else None

    async def response(self, head: ResponseHead, data: bytes) -> Bridged:
        """Return the response for the client; `data` is its body, or the part of a list that the user may view."""
        assert self.bridging is not None  # noqa: S101 - the request has been sent
        on_behalf = self._exchange.on_behalf()
        try:
            made = await self._bridge.bridged(self.bridging, head, data, on_behalf)
        finally:
            self._exchange.upstream_seconds += on_behalf.waited
        self._exchange.detail = detail_with(self._exchange.detail, made.passed)
        return made

    def obstacle(self, head: ResponseHead, size: int) -> str:
        """Return why a response can't be changed; empty if it can. `size` is that of what has arrived, in bytes."""
        return self._bridge.can_bridge(head, size)

    def pass_on(self, why: str) -> None:
        """Note that a response is forwarded as it came, and why."""
        assert self.bridging is not None  # noqa: S101 - the request has been sent
        self._exchange.detail = detail_with(self._exchange.detail, why)
        self._bridge.pass_on(self.bridging)

    async def own(self, body: bytes, authorized: Authorized) -> Bridged:
        """Return the response to a request that no server serves. Raises GatewayError."""
        exchange, route = self._exchange, self._route
        on_behalf = exchange.on_behalf()
        try:
            made = await self._bridge.own(self.found, exchange.query, body, on_behalf)
        finally:
            exchange.upstream_seconds += on_behalf.waited
        if exchange.principal is not None and self.found.row.name == "rerun" and made.status < 300:
            route.note_started(exchange.who, made.body, authorized)
        return made


def is_restricted(principal: Principal | None) -> bool:
    """Return whether lists are filtered for a user; a route without a session has none."""
    return principal is not None and not principal.permits.views_all


def bridged_request(route: RelayedRoute, exchange: Exchange, path: str) -> BridgedRequest | None:
    """Return a request on its way over the bridge; None for one that no row names. `path` is the upstream path."""
    found = route.bridged_path(exchange.method, path)
    if found is None or route.bridge is None:
        return None
    return BridgedRequest(route, route.bridge, exchange, found)


def own_response(made: Bridged) -> Response:
    """Return a response that the gateway has made itself."""
    return Response(made.status, (*JSON_FIELDS, ("x-noetl-bridge", made.rows.decode())), made.body)
