"""`GET /events`: the events of a client as a stream of server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import contextlib
from dataclasses import dataclass

from proxy.endpoints.ending import GOING_AWAY
from proxy.endpoints.event_stream import EVENT_FIELDS, begin_events
from proxy.endpoints.open_streams import OpenStream, OpenStreams
from proxy.errors import Unauthorized
from proxy.exchange import RequestContext
from proxy.http.response import OwnHeads, Response
from proxy.live.messages import PING, hello, no_session, notification, server_sent
from proxy.observe.metrics import EVENTS
from proxy.relay.event_streams import come_back

_PING = notification(PING, {})


@dataclass(frozen=True, slots=True)
class EventsHandler:
    """The endpoint, with what it needs."""

    streams: OpenStreams
    heads: OwnHeads

    async def handle(self, context: RequestContext) -> Response | None:
        """Send the events of a client until it leaves, its session ends, or the gateway stops."""
        if await self.streams.principal(context) is None:
            fields = (*EVENT_FIELDS, *Unauthorized().headers)
            return Response(401, fields, server_sent("error", no_session(Unauthorized.default_text)))
        client_id = await self.streams.client_id(context)
        if context.head.method == "HEAD":
            return Response(200, EVENT_FIELDS)
        async with self.streams.open(context, client_id, EVENTS) as stream:
            await self._send(context, stream)
        return None

    async def _send(self, context: RequestContext, stream: OpenStream) -> None:
        writer, waiting = context.writer, await self.streams.hub.waiting(stream.client_id)
        begin_events(context, self.heads)
        await writer.write(server_sent("message", hello(stream.client_id, waiting)) + _ping(stream))
        async with contextlib.aclosing(self.streams.events(stream)) as events:
            async for event in events:
                sent = _ping(stream) if event is None else server_sent(event.method, event.data, event.number)
                await writer.write(sent)
        if stream.over == GOING_AWAY:
            await writer.write(come_back())
        writer.end()


def _ping(stream: OpenStream) -> bytes:
    """Return a ping. Its id is that of the last event, so that a client that only saw pings resumes there."""
    return server_sent(PING, _PING, stream.position)
