"""The steps of a relayed request on the streaming path: the decision, the request to send, its response."""

from __future__ import annotations

from typing import Any

from proxy.exchange import Exchange, RequestContext
from proxy.http.json import require_json
from proxy.http.response import framing
from proxy.noetl.authorize import Authorized
from proxy.noetl.filtering import request_lines
from proxy.noetl.surface import Judged
from proxy.noetl.truth import left_as_it_is
from proxy.relay.event_streams import is_event_stream
from proxy.relay.relayed import RelayedRoute, client_head
from proxy.upstream.client import Body, OutgoingRequest
from proxy.upstream.response import BodyBroken, UpstreamResponse


async def authorize(route: RelayedRoute, context: RequestContext, judged: Judged) -> tuple[bytes | None, Authorized]:
    """Raise unless the request may go on; return its body, where that had to be read, and what it was judged on."""
    who, body = context.principal, None
    if judged.must_be_json(has_body=context.body.exists):
        require_json(context.head.fields)
        body = await context.body.read(route.authorizer.max_body(judged, route.spec.max_body_size))
    if who is None:
        return body, Authorized(None)
    decided = context.handover.authorized if context.handover is not None else None
    if decided is not None:
        return body, decided
    head = context.head
    on_behalf = context.on_behalf()
    try:
        found = await route.authorizer.authorize(who, judged, head, body or b"", on_behalf)
    finally:
        context.upstream_seconds += on_behalf.waited
    return body, found


async def ended_already(route: RelayedRoute, context: Exchange, judged: Judged) -> dict[str, Any] | None:
    """Return the response to the cancellation of an execution that has ended; None for what is to be forwarded."""
    if not judged.cancels or route.api is None:
        return None
    on_behalf = context.on_behalf()
    try:
        return await left_as_it_is(route.api, judged.cancels, on_behalf)
    finally:
        context.upstream_seconds += on_behalf.waited


def outgoing(
    route: RelayedRoute,
    context: RequestContext,
    path: str,
    body: Body,
    length: int | None,
    *,
    handshake: bytes = b"",
    filters: bool = False,
) -> OutgoingRequest:
    """Return the request to send upstream.

    `handshake` are further fields, of a WebSocket handshake; `filters`: the response is a list that is to be filtered.
    """
    head = context.head
    lines = head.fields.forwarded(route.request_plan)
    return OutgoingRequest(
        head.method,
        path + head.query,
        (request_lines(lines) if filters else lines) + handshake,
        context.identity(),
        context.request_id,
        context.traceparent,
        body,
        length,
        context.principal.key if context.principal is not None else b"",
        context.payer,
        upgrade=bool(handshake),
    )


async def forward(route: RelayedRoute, context: RequestContext, answer: UpstreamResponse) -> None:
    """Forward a response as it arrives."""
    head, writer = answer.response_head, context.writer
    planned = client_head(route.response_plan, head)
    how = framing(context.head.method, head.status, head.length, http_1_0=writer.http_1_0)
    context.status = head.status
    writer.close = writer.close or route.drain.started or how.by_close or context.body.rest_is_unwanted
    ending = context.ending(route.cors_lines(context.head), dated=planned.dated, close=writer.close)
    writer.start(planned.lines, ending, how)
    try:
        if is_event_stream(head.headers):
            await _forward_events(route, context, answer)
        else:
            async for chunk in answer.chunks():
                await writer.write(chunk)
    except BodyBroken as error:
        context.detail = f"upstream broke off: {error}"
        writer.broken = True
        return
    writer.end()


async def _forward_events(route: RelayedRoute, context: RequestContext, answer: UpstreamResponse) -> None:
    """Forward events until the upstream ends, a drain begins or the session is over."""
    session = context.principal.key if context.principal is not None else b""
    stream = route.drain.open(answer.nudge, session)
    try:
        async for chunk in answer.chunks():
            if chunk:
                await context.writer.write(chunk)
                stream.forwarded(chunk)
            if stream.should_end:
                farewell = stream.farewell()
                await context.writer.write(farewell)
                context.detail = "" if farewell else "the session ended"
                context.writer.close = True
                return
    finally:
        stream.close()
