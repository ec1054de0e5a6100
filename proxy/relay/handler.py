"""Relays a request on the streaming path: authorized first, then streamed both ways."""

from __future__ import annotations

import time
from dataclasses import dataclass

from proxy.errors import BadGateway, PayloadTooLarge
from proxy.exchange import RequestContext, Result
from proxy.http.body import read_ahead, rejoined
from proxy.http.header_plan import PlannedHead
from proxy.http.json import write_json
from proxy.http.response import NO_STORE, Fields, Response
from proxy.noetl.api import MAX_ANSWER
from proxy.noetl.authorize import Authorized
from proxy.noetl.filtering import MAX_LISTING, filtered
from proxy.noetl.surface import Judged, Listing, by_path
from proxy.policy.acl import Action
from proxy.relay.bridging import BridgedRequest, bridged_request, own_response
from proxy.relay.forwarding import authorize, ended_already, forward, outgoing
from proxy.relay.relayed import RelayedRoute, bridged_head, client_head, part_head
from proxy.relay.websocket import WebSocketRelay
from proxy.upstream.client import Body
from proxy.upstream.heads import ResponseHead
from proxy.upstream.response import BodyBroken, UpstreamResponse
from proxy.upstream.routing_keys import MAX_BODY as MAX_KEY_BODY

_READ_AHEAD = 64 * 1024
_JSON: Fields = (("content-type", "application/json"), NO_STORE)
_WITH_LENGTH = ("POST", "PUT", "PATCH")


@dataclass(frozen=True, slots=True)
class RelayHandler:
    """Serves one relayed route. `websocket` is there where the route relays WebSockets."""

    route: RelayedRoute
    websocket: WebSocketRelay | None

    async def handle(self, context: RequestContext) -> Result:
        """Authorize and relay a request."""
        route, head = self.route, context.head
        path = route.rewrite.apply(head.path, context.params)
        bridged = bridged_request(route, context, path)
        if bridged is not None:
            path = await bridged.path(path)
        judged = route.judge(head.method, path) if context.principal is not None else by_path(Action.VIEW)
        listing = None if context.principal is None or context.principal.permits.views_all else judged.listing
        if self.websocket is not None and listing is None and bridged is None and self.websocket.wants(context):
            await self.websocket.handle(context, path, judged)
            return None
        body, authorized = await authorize(route, context, judged, bridged)
        if bridged is not None:
            bridged.require_known()
        if bridged is not None and bridged.found.row.own:
            limit = route.authorizer.max_body(judged, route.spec.max_body_size)
            return own_response(await bridged.own(body or await context.body.read(limit), authorized))
        ended = await ended_already(route, context, judged)
        if ended is not None:
            return Response(200, _JSON, write_json(ended))
        content, length = (body, len(body)) if body is not None else await self._body(context, path)
        if bridged is not None and bridged.bridging is None:
            content, length = await bridged.streamed(content, length)
        query = bridged.query if bridged is not None else None
        whole = listing is not None or bridged is not None
        wanted = outgoing(route, context, path, content, length, query=query, whole=whole)
        retry = context.handover.retry if context.handover is not None else None
        start = time.perf_counter()
        try:
            async with route.upstream.request(wanted, timeout=route.timeout, retry=retry) as answer:
                context.upstream_seconds += time.perf_counter() - start
                start = time.perf_counter()
                await self._respond(context, answer, judged, authorized, listing, bridged)
                return None
        finally:
            context.upstream_seconds += time.perf_counter() - start

    async def _respond(
        self,
        context: RequestContext,
        answer: UpstreamResponse,
        judged: Judged,
        authorized: Authorized,
        listing: Listing | None,
        bridged: BridgedRequest | None,
    ) -> None:
        """Forward a response: of a start noted, of a list filtered, of the bridge changed."""
        if judged.starts and answer.status < 300:
            await self._forward_started(context, answer, authorized, bridged)
        elif listing is not None and answer.status < 300:
            await self._forward_filtered(context, answer, listing, bridged)
        elif bridged is not None:
            await self._forward_bridged(context, answer, bridged)
        else:
            await forward(self.route, context, answer)

    async def _body(self, context: RequestContext, path: str) -> tuple[Body, int | None]:
        """Return the body to send, and its length if that is known.

        Where the client announced the length, no upstream connection is used before a small body has arrived whole, or
        a good part of a large one. A body in chunks is forwarded as it comes, unless it says where the request goes.
        """
        body, limit = context.body, self.route.spec.max_body_size
        if not body.exists:
            return (b"", 0) if context.head.method in _WITH_LENGTH else (None, None)
        if body.length is not None and body.length > limit:
            raise PayloadTooLarge(detail=f"{body.length} bytes announced, {limit} allowed")
        chunks = body.chunks(limit)
        is_key = self.route.upstream.balancer.reads_body(path)
        if body.length is None and not is_key:
            return chunks, None
        first, whole = await read_ahead(chunks, MAX_KEY_BODY if is_key else _READ_AHEAD)
        return (first, len(first)) if whole else (rejoined(first, chunks), body.length)

    async def _forward_started(
        self, context: RequestContext, answer: UpstreamResponse, authorized: Authorized, bridged: BridgedRequest | None
    ) -> None:
        """Forward the response to a start, and note who started the execution."""
        route = self.route
        data = await answer.read(route.max_started if authorized.playbook is not None else MAX_ANSWER)
        route.note_started(context.who, data, authorized)
        head = answer.response_head
        planned = client_head(route.response_plan, head)
        await self._finish(context, head, planned, data, bridged, with_length=head.length is None)

    async def _forward_filtered(
        self, context: RequestContext, answer: UpstreamResponse, listing: Listing, bridged: BridgedRequest | None
    ) -> None:
        """Forward a list with what the user may view."""
        route, head = self.route, answer.response_head
        planned = part_head(route.response_plan, head)
        if context.head.method == "HEAD":
            self._send_whole(context, head.status, planned, b"", with_length=False)
            return
        data = await filtered(route.authorizer, context.who, listing, head, await answer.read(MAX_LISTING))
        await self._finish(context, head, planned, data, bridged, with_length=True)

    async def _forward_bridged(
        self, context: RequestContext, answer: UpstreamResponse, bridged: BridgedRequest
    ) -> None:
        """Forward a response that is changed, once it is there; one that can't be changed as it arrives."""
        route, head = self.route, answer.response_head
        arrived: list[bytes] = []
        why = bridged.obstacle(head, 0)
        if not why and context.head.method == "HEAD":
            self._send_whole(context, head.status, part_head(route.response_plan, head), b"", with_length=False)
            return
        if not why:
            why = await _collect(answer, bridged, arrived)
        if why:
            bridged.pass_on(why)
            await forward(route, context, answer, arrived)
            return
        planned = client_head(route.response_plan, head)
        await self._finish(context, head, planned, b"".join(arrived), bridged, with_length=head.length is None)

    async def _finish(
        self,
        context: RequestContext,
        head: ResponseHead,
        planned: PlannedHead,
        data: bytes,
        bridged: BridgedRequest | None,
        *,
        with_length: bool,
    ) -> None:
        """Send a response that is there, changed by the bridge if a row names the request."""
        made = await bridged.response(head, data) if bridged is not None else None
        if made is not None and made.rows:
            planned = bridged_head(self.route.response_plan, head, made)
            self._send_whole(context, made.status, planned, made.body, with_length=True)
            return
        self._send_whole(context, head.status, planned, data, with_length=with_length)

    def _send_whole(
        self, context: RequestContext, status: int, planned: PlannedHead, data: bytes, *, with_length: bool
    ) -> None:
        route, writer = self.route, context.writer
        context.status = status
        writer.close = writer.close or route.drain.started
        ending = context.ending(route.cors_lines(context.head), dated=planned.dated, close=writer.close)
        length = b"content-length: %d\r\n" % len(data) if with_length else b""
        writer.send_whole(b"%b%b%b\r\n%b" % (planned.lines, length, ending, data))


async def _collect(answer: UpstreamResponse, bridged: BridgedRequest, arrived: list[bytes]) -> str:
    """Append the parts of a body to `arrived`; return early, with the reason, if it proves to be too large.

    Raises:
        BadGateway: the body is incomplete.
    """
    size = 0
    try:
        async for chunk in answer.chunks():
            arrived.append(chunk)
            size += len(chunk)
            why = bridged.obstacle(answer.response_head, size)
            if why:
                return why
    except BodyBroken as error:
        raise BadGateway(detail=str(error)) from None
    return ""
