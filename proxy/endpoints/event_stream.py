"""The response of a stream of server-sent events (WHATWG HTML, 9.2) that the gateway sends itself."""

from __future__ import annotations

from proxy.exchange import RequestContext
from proxy.http.response import NO_STORE, Fields, OwnHeads, Response, framing
from proxy.live.messages import EVENT_STREAM
from proxy.relay.relayed import own_cors_lines

EVENT_FIELDS: Fields = (("content-type", EVENT_STREAM), NO_STORE, ("x-accel-buffering", "no"))


def begin_events(context: RequestContext, heads: OwnHeads) -> None:
    """Write the head of the response; the events follow."""
    assert context.service is not None  # noqa: S101 - the request has a route
    writer = context.writer
    context.status = 200
    start = heads.start(Response(200, EVENT_FIELDS), context.head.scheme)
    ending = context.ending(own_cors_lines(context.service.guards.cors, context), dated=False, close=False)
    writer.start(start, ending, framing("GET", 200, None, http_1_0=writer.http_1_0))
