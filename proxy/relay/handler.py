"""Relays a request on the streaming path: authorized first, then streamed both ways."""

from __future__ import annotations

import time
from dataclasses import dataclass

from proxy.errors import PayloadTooLarge
from proxy.exchange import RequestContext, Result
from proxy.http.body import read_ahead, rejoined
from proxy.http.header_plan import PlannedHead
from proxy.http.json import write_json
from proxy.http.response import NO_STORE, Fields, Response
from proxy.noetl.api import MAX_ANSWER
from proxy.noetl.authorize import Authorized
from proxy.noetl.filtering import MAX_LISTING, filtered
from proxy.noetl.surface import Listing, by_path
from proxy.policy.acl import Action
from proxy.relay.forwarding import authorize, ended_already, forward, outgoing
from proxy.relay.relayed import RelayedRoute, client_head, part_head
from proxy.relay.websocket import WebSocketRelay
from proxy.upstream.client import Body
from proxy.upstream.heads import ResponseHead
from proxy.upstream.response import UpstreamResponse

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
        judged = route.judge(head.method, path) if context.principal is not None else by_path(Action.VIEW)
        listing = None if context.principal is None or context.principal.permits.views_all else judged.listing
        if self.websocket is not None and listing is None and self.websocket.wants(context):
            await self.websocket.handle(context, path, judged)
            return None
        body, authorized = await authorize(route, context, judged)
        ended = await ended_already(route, context, judged)
        if ended is not None:
            return Response(200, _JSON, write_json(ended))
        content, length = (body, len(body)) if body is not None else await self._body(context)
        wanted = outgoing(route, context, path, content, length, filters=listing is not None)
        retry = context.handover.retry if context.handover is not None else None
        start = time.perf_counter()
        try:
            async with route.upstream.request(wanted, timeout=route.timeout, retry=retry) as answer:
                context.upstream_seconds += time.perf_counter() - start
                start = time.perf_counter()
                if judged.starts and answer.status < 300:
                    await self._forward_started(context, answer, authorized)
                elif listing is not None and answer.status < 300:
                    await self._forward_filtered(context, answer, listing)
                else:
                    await forward(route, context, answer)
                return None
        finally:
            context.upstream_seconds += time.perf_counter() - start

    async def _body(self, context: RequestContext) -> tuple[Body, int | None]:
        """Return the body to send, and its length if that is known.

        Where the client announced the length, no upstream connection is used before a small body has arrived whole, or
        a good part of a large one. A body in chunks is forwarded as it comes.
        """
        body, limit = context.body, self.route.spec.max_body_size
        if not body.exists:
            return (b"", 0) if context.head.method in _WITH_LENGTH else (None, None)
        if body.length is not None and body.length > limit:
            raise PayloadTooLarge(detail=f"{body.length} bytes announced, {limit} allowed")
        chunks = body.chunks(limit)
        if body.length is None:
            return chunks, None
        first, whole = await read_ahead(chunks, _READ_AHEAD)
        return (first, len(first)) if whole else (rejoined(first, chunks), body.length)

    async def _forward_started(self, context: RequestContext, answer: UpstreamResponse, authorized: Authorized) -> None:
        """Forward the response to a start, and note who started the execution."""
        route = self.route
        data = await answer.read(route.max_started if authorized.playbook is not None else MAX_ANSWER)
        route.note_started(context.who, data, authorized)
        head = answer.response_head
        self._send_whole(context, head, client_head(route.response_plan, head), data, with_length=head.length is None)

    async def _forward_filtered(self, context: RequestContext, answer: UpstreamResponse, listing: Listing) -> None:
        """Forward a list with what the user may view."""
        route, head = self.route, answer.response_head
        has_body = context.head.method != "HEAD"
        data = b""
        if has_body:
            data = await filtered(route.authorizer, context.who, listing, head, await answer.read(MAX_LISTING))
        planned = part_head(route.response_plan, head)
        self._send_whole(context, head, planned, data, with_length=has_body)

    def _send_whole(
        self, context: RequestContext, head: ResponseHead, planned: PlannedHead, data: bytes, *, with_length: bool
    ) -> None:
        route, writer = self.route, context.writer
        context.status = head.status
        writer.close = writer.close or route.drain.started
        ending = context.ending(route.cors_lines(context.head), dated=planned.dated, close=writer.close)
        length = b"content-length: %d\r\n" % len(data) if with_length else b""
        writer.send_whole(b"%b%b%b\r\n%b" % (planned.lines, length, ending, data))
