"""GraphQL over server-sent events (graphql-sse, PROTOCOL.md), in both modes.

Distinct connections: a request that accepts an event stream gets the results of its operation. Single connection: PUT
makes a reservation, GET opens its stream, POST starts an operation on it, and DELETE stops one.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from proxy.endpoints.ending import GOING_AWAY, SESSION_ENDED
from proxy.endpoints.event_stream import EVENT_FIELDS, begin_events
from proxy.endpoints.graphql import GraphqlHandler, encode, graphql_response
from proxy.endpoints.open_streams import OpenStreams, query_of
from proxy.endpoints.operations import COMPLETED, TOO_MANY, Operations, OperationStream, failure
from proxy.endpoints.shared_streams import Outcome, SharedStreams
from proxy.errors import BadRequest, Conflict, NotFound, TooManyRequests, Unauthorized
from proxy.exchange import RequestContext, ResponseWriter
from proxy.graphql.http import JSON, RESPONSE_JSON, GraphqlAnswer, GraphqlRequest, negotiate, read_body
from proxy.graphql.transport_sse import (
    TOKEN_HEADER,
    checked_id,
    complete_event,
    is_reservation,
    new_reservation,
    next_event,
    operation_id,
)
from proxy.http.response import NO_STORE, OwnHeads, Response
from proxy.live.messages import EVENT_STREAM
from proxy.observe.metrics import GRAPHQL_SSE
from proxy.relay.event_streams import come_back

_COMMENT = b":\n\n"
_RETRY_SECONDS = 1
_TOKEN_FIELDS = (("content-type", "text/plain; charset=utf-8"), NO_STORE)
_ONE = ""
"""The id of the only operation of a stream."""


class _EventSink:
    """Sends results as events; `names`: they name their operation, one of several on the stream."""

    def __init__(self, writer: ResponseWriter, count: dict[str, int], *, names: bool) -> None:
        self._writer = writer
        self._count = count
        self._names = names

    async def next(self, identity: str, result: bytes) -> None:
        self._count[GRAPHQL_SSE] += 1
        await self._writer.write(next_event(result, identity if self._names else None))

    async def error(self, identity: str, answer: GraphqlAnswer) -> None:
        await self.next(identity, encode(answer.body))
        await self.complete(identity)

    async def complete(self, identity: str) -> None:
        await self._writer.write(complete_event(identity if self._names else None))


@dataclass(frozen=True, slots=True)
class GraphqlStreams:
    """Serves the requests of event streams, with what that needs."""

    operations: Operations
    shared: SharedStreams
    streams: OpenStreams
    heads: OwnHeads

    def serves(self, context: RequestContext, media: str | None) -> bool:
        """Return whether a request is one about an event stream; `media` is the type that its client prefers."""
        method = context.head.method
        return (
            media == EVENT_STREAM or method in ("PUT", "DELETE") or (method == "POST" and _token(context) is not None)
        )

    async def handle(self, context: RequestContext, handler: GraphqlHandler) -> Response | None:
        """Serve a request about an event stream.

        Raises:
            Unauthorized: no live session.
            NotFound: the reservation is not one of the session, or its stream is not open.
            Conflict: the stream is open already, or the operation is running.
            TooManyRequests: the session has too many operations.
        """
        method, token = context.head.method, _token(context)
        if context.principal is None and (method != "GET" or await self.streams.principal(context) is None):
            raise Unauthorized
        if method == "PUT":
            return Response(201, _TOKEN_FIELDS, new_reservation(context.who.key).encode())
        if token is None and method != "DELETE":
            return await self._distinct(context, handler)
        if token is None or not is_reservation(context.who.key, token):
            raise NotFound("No such stream: make a reservation with PUT")
        if method == "POST":
            return await self._start(context, handler, token)
        if method == "DELETE":
            await self.shared.stop(token, checked_id(query_of(context).get("operationId")))
            return Response(200, (NO_STORE,))
        return await self._open(context, token)

    async def _distinct(self, context: RequestContext, handler: GraphqlHandler) -> Response | None:
        """Send the results of one operation."""
        if context.head.method == "HEAD":
            return Response(200, EVENT_FIELDS)
        wanted = await handler.read(context)
        if isinstance(wanted, list):
            raise BadRequest("Batches are not accepted on event streams: send one request")
        stream = self._stream(context, is_only=True)
        stream.ended = lambda _: stream.end(COMPLETED)
        if not stream.start(_ONE, wanted):
            raise TooManyRequests(_RETRY_SECONDS, text=TOO_MANY)
        await self._serve(context, stream)
        return None

    async def _open(self, context: RequestContext, token: str) -> Response | None:
        """Send the results of all operations on a stream, until either side ends it."""
        if context.head.method == "HEAD":
            return Response(200, EVENT_FIELDS)
        stream = self._stream(context, is_only=False)
        if not self.shared.add(token, stream):
            raise Conflict("The stream is open already: make another reservation")
        try:
            await self._serve(context, stream)
        finally:
            self.shared.remove(token)
        return None

    async def _start(self, context: RequestContext, handler: GraphqlHandler, token: str) -> Response:
        """Start an operation on a stream; errors of its document are in the response."""
        document = await context.body.json(handler.max_body_size)
        identity, wanted = operation_id(document), read_body(document, 1)
        assert isinstance(wanted, GraphqlRequest)  # noqa: S101 - a batch is refused
        admitted = handler.admit(context.who, wanted)
        if isinstance(admitted, GraphqlAnswer):
            media = negotiate(context.head.fields.value(b"accept"))
            # The status says that nothing was started, as JSON, too: with 200, graphql-sse tries it again.
            return graphql_response(admitted.body, admitted.status, RESPONSE_JSON if media == RESPONSE_JSON else JSON)
        outcome = await self.shared.start(token, identity, wanted)
        if outcome is Outcome.NO_STREAM:
            raise NotFound("The stream is not open: open it with GET first")
        if outcome is Outcome.EXISTS:
            raise Conflict("An operation with this operationId is running")
        if outcome is Outcome.TOO_MANY:
            raise TooManyRequests(_RETRY_SECONDS, text=TOO_MANY)
        return Response(202, (NO_STORE,))

    def _stream(self, context: RequestContext, *, is_only: bool) -> OperationStream:
        sink = _EventSink(context.writer, self.operations.metrics.live_events, names=not is_only)
        stream = OperationStream(self.operations, context, sink, is_only=is_only)
        stream.session = context.who.key
        return stream

    async def _serve(self, context: RequestContext, stream: OperationStream) -> None:
        writer, heartbeat = context.writer, self.streams.hub.settings.heartbeat
        sink = _EventSink(writer, self.operations.metrics.live_events, names=not stream.is_only)
        with self.operations.opened(stream, self.streams.drain, GRAPHQL_SSE):
            try:
                begin_events(context, self.heads)
                await writer.write(_COMMENT)
                while not stream.over:
                    try:
                        async with asyncio.timeout(heartbeat):
                            await stream.changed.wait()
                    except TimeoutError:
                        await writer.write(_COMMENT)
                running = stream.running
            finally:
                await stream.stop_all()
                context.detail = context.detail or stream.over.replace(COMPLETED, "")
            if stream.over == SESSION_ENDED:
                for identity in running:
                    await sink.error(identity, failure(Unauthorized()))
            elif stream.over == GOING_AWAY:
                await writer.write(come_back())
            writer.end()


def _token(context: RequestContext) -> str | None:
    """Return the reservation that a request names; None if it names none."""
    given = context.head.fields.value(TOKEN_HEADER)
    return given if given is not None else query_of(context).get("token")
