"""`GET /events`: the events of a client as a stream of server-sent events (WHATWG HTML, 9.2)."""

from __future__ import annotations

import asyncio
import hashlib
import random
import time
from dataclasses import dataclass
from urllib.parse import parse_qs

from proxy.exchange import Client, RequestContext
from proxy.http.credentials import Credentials, key_of
from proxy.http.response import NO_STORE, Fields, OwnHeads, Response, framing
from proxy.identity.principal import Principal, Principals
from proxy.live.hub import Hub
from proxy.live.messages import EVENT_STREAM, PING, hello, no_session, notification, server_sent
from proxy.relay.event_streams import Drain
from proxy.relay.relayed import cors_lines
from proxy.sessions.store import SessionStore

_FIELDS: Fields = (("content-type", EVENT_STREAM), NO_STORE, ("x-accel-buffering", "no"))
_PING = notification(PING, {})
_FIRST_RETURN, _LAST_RETURN = 500, 5000
Query = dict[str, list[str]]
_NO_SESSION = "Invalid or expired session"


@dataclass(frozen=True, slots=True)
class EventsHandler:
    """The endpoint, with what it needs."""

    hub: Hub
    principals: Principals
    store: SessionStore
    drain: Drain
    heads: OwnHeads

    async def handle(self, context: RequestContext) -> Response | None:
        """Send the events of a client until it leaves, its session ends, or the gateway stops."""
        query = parse_qs(context.head.query.removeprefix("?"))
        principal = context.principal = await self._principal(context, query)
        if principal is None:
            fields = (*_FIELDS, ("www-authenticate", "Bearer"))
            return Response(401, fields, server_sent("error", no_session(_NO_SESSION)))
        client_id = await self.hub.open_client(query.get("client_id", [None])[0], principal.user_id)
        if context.head.method == "HEAD":
            return Response(200, _FIELDS)
        await self._send(context, query, client_id, principal)
        return None

    async def _principal(self, context: RequestContext, query: Query) -> Principal | None:
        """Return the user of the ticket or the token in the query, else of the fields."""
        head = context.head
        credentials = head.fields.credentials
        if "ticket" in query:
            ticket = hashlib.sha256(query["ticket"][0].encode()).digest()
            credentials = _of_key(await self.store.redeem_ticket(ticket, time.time()))
        elif "session_token" in query:
            credentials = _of_key(key_of(query["session_token"][0]))
        return await self.principals.fetch(credentials, head.address, head.fields.user_agent)

    async def _send(self, context: RequestContext, query: Query, client_id: str, principal: Principal) -> None:
        writer, hub = context.writer, self.hub
        given = context.head.fields.value(b"last-event-id") or query.get("last_event_id", [""])[0]
        position = _position(given, *hub.store.marks(client_id))
        stream = EventWriter(position, hub.settings.queue, writer.client, principal.key)
        self.drain.watch(stream)
        try:
            await hub.join(client_id, stream)
            waiting = await hub.waiting(client_id)
            context.status = 200
            assert context.service is not None  # noqa: S101 - the request has a route
            start = self.heads.start(Response(200, _FIELDS), context.head.scheme)
            ending = context.ending(cors_lines(context.service.guards.cors, context), dated=False, close=False)
            writer.start(start, ending, framing("GET", 200, None, http_1_0=writer.http_1_0))
            await writer.write(server_sent("message", hello(client_id, waiting)) + stream.ping())
            await self._send_events(context, client_id, stream)
            writer.end()
        finally:
            context.detail = stream.over
            hub.leave(client_id, stream)
            self.drain.unwatch(stream)

    async def _send_events(self, context: RequestContext, client_id: str, stream: EventWriter) -> None:
        """Send events until the stream is to end."""
        write, hub = context.writer.write, self.hub
        if self.drain.started:
            stream.leave()
        while True:
            stream.waiting = 0
            while found := hub.store.events(client_id, stream.position):
                for event in found:
                    await write(server_sent(event.method, event.data, event.number))
                    stream.position = event.number
                hub.store.wrote(client_id, stream.position)
            if stream.over:
                if stream.farewell:
                    await write(stream.farewell)
                return
            try:
                async with asyncio.timeout(hub.settings.heartbeat):
                    await stream.changed.wait()
            except TimeoutError:
                await write(stream.ping())
            stream.changed.clear()


def _position(last_event_id: str, last: int, written: int) -> int:
    """Return the number behind which a client resumes: what it names, else what was written to it."""
    if last_event_id.isdecimal() and len(last_event_id) < 20:
        return min(int(last_event_id), last)
    return written


def _of_key(key: bytes | None) -> Credentials:
    return Credentials(() if key is None else (key,), (), has_cookie=False, presented=True)


class EventWriter:
    """An open stream: how far it is, and whether it is to end. `waiting` counts the events that it has yet to send.

    Args:
        position: the number of the last event that the client has.
        queue: the most events that may wait.
        connection: the connection of the client.
        session: the key of the session.
    """

    __slots__ = ("_connection", "_queue", "changed", "farewell", "over", "position", "session", "waiting")

    def __init__(self, position: int, queue: int, connection: Client, session: bytes) -> None:
        self._connection = connection
        self._queue = queue
        self.position = position
        self.waiting = 0
        self.changed = asyncio.Event()
        self.over = ""
        self.farewell = b""
        self.session = session

    def ping(self) -> bytes:
        """Return a ping. Its id is that of the last event, so that a client that only saw pings resumes there."""
        return server_sent(PING, _PING, self.position)

    def wake(self, count: int) -> None:
        """Write what is new. A client that reads too slowly is cut, and resumes behind what it has read."""
        self.waiting += count
        self.changed.set()
        if self.waiting > self._queue and not self.over:
            self.over = "the client reads too slowly"
            self._connection.cut()

    # Drain

    def leave(self) -> None:
        """End because the gateway stops; the client comes back after a random time."""
        self.over = "the gateway is going away"
        self.farewell = b"retry: %d\n\n" % random.randint(_FIRST_RETURN, _LAST_RETURN)  # noqa: S311 - jitter
        self.changed.set()

    def session_ended(self) -> None:
        """End because the session has ended."""
        self.over = "the session ended"
        self.changed.set()

    def store_failed(self) -> None:
        """Do nothing: the stream continues, as forwarded ones do."""
