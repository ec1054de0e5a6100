"""The steps of a relayed request on the streaming path: the decision, the request to send, its response."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from proxy.exchange import Exchange, RequestContext
from proxy.http.json import require_json
from proxy.http.response import framing
from proxy.noetl.authorize import Authorized
from proxy.noetl.surface import Judged
from proxy.noetl.truth import left_as_it_is
from proxy.relay.bridging import BridgedRequest
from proxy.relay.event_streams import is_event_stream
from proxy.relay.relayed import RelayedRoute, client_head, whole_lines
from proxy.upstream.client import Body, OutgoingRequest
from proxy.upstream.response import BodyBroken, UpstreamResponse


async def authorize(
    route: RelayedRoute, context: RequestContext, judged: Judged, bridged: BridgedRequest | None = None
) -> tuple[bytes | None, Authorized]:
    """Raise unless the request may go on; return its body, where that had to be read, and what it was judged on.

    A request over the bridge is judged on the body that the server gets, which is returned.
    """
    who, body = context.principal, None
    if judged.must_be_json(has_body=context.body.exists):
        require_json(context.head.fields)
        body = await context.body.read(route.authorizer.max_body(judged, route.spec.max_body_size))
        if bridged is not None:
            body = await bridged.changed(body)
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
    if not judged.cancels or route.api is None or route.bridge is None:
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
    query: str | None = None,
    whole: bool = False,
) -> OutgoingRequest:
    """Return the request to send upstream.

    `handshake` are further fields, of a WebSocket handshake; `query` is that of the request upstream, if it is another
    one; `whole`: the response is to be filtered or changed.
    """
    head = context.head
    fields, plan = head.fields, route.request_plan
    lines = whole_lines(fields, plan) if whole else fields.forwarded(plan)
    return OutgoingRequest(
        head.method,
        path + (head.query if query is None else query),
        lines + handshake,
        context.identity(),
        context.request_id,
        context.traceparent,
        body,
        length,
        context.principal.key if context.principal is not None else b"",
        context.payer,
        upgrade=bool(handshake),
    )


async def forward(
    route: RelayedRoute, context: RequestContext, answer: UpstreamResponse, arrived: Sequence[bytes] = ()
) -> None:
    """Forward a response as it arrives; `arrived` is the part of its body that has been read before."""
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
            for chunk in arrived:
                await writer.write(chunk)
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
