"""What event streams and WebSockets have in common: whose they are, where they begin, and when they end."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncGenerator, AsyncIterator, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from urllib.parse import parse_qs

from proxy.endpoints.ending import EndingStream
from proxy.exchange import Client, RequestContext
from proxy.http.credentials import Credentials, credentials_of, named_session, ticket_key
from proxy.identity.principal import Principal, Principals
from proxy.live.hub import Hub
from proxy.observe.logs import get_logger
from proxy.observe.metrics import Metrics
from proxy.relay.event_streams import Drain
from proxy.sessions.live import Event, LiveStore
from proxy.sessions.store import SessionStore, StoreError

TOO_SLOW = "the client reads too slowly"


class OpenStream(EndingStream):
    """An open stream: how far it is. `waiting` counts the events that it has yet to send.

    Args:
        client_id: the client.
        position: the number of the last event that the client has.
        hub: its settings say how many events may wait.
        connection: the connection of the client.
        session: the key of the session.
        kind: that of its metrics.
        confirms: whether the client confirms what it has received; else an event counts as received once it is written.
    """

    __slots__ = (
        "_connection", "_hub", "client_id", "confirms", "kind", "position", "session", "waiting",
    )  # fmt: skip

    def __init__(
        self, client_id: str, position: int, hub: Hub, connection: Client, session: bytes, kind: str, *, confirms: bool
    ) -> None:
        super().__init__()
        self._connection = connection
        self._hub = hub
        self.confirms = confirms
        self.client_id = client_id
        self.position = position
        self.waiting = 0
        self.session = session
        self.kind = kind

    def wake(self, count: int) -> None:
        """Write what is new. A client that reads too slowly is cut, and resumes behind what it has read."""
        self.waiting += count
        self.changed.set()
        if self.waiting > self._hub.settings.queue and not self.over:
            self.over = TOO_SLOW
            self._connection.cut()


@dataclass(frozen=True, slots=True)
class OpenStreams:
    """Opens streams, with what that needs."""

    hub: Hub
    principals: Principals
    store: SessionStore
    drain: Drain
    metrics: Metrics

    async def principal(self, context: RequestContext) -> Principal | None:
        """Return the user of the ticket or the token in the query, else of the fields; None without a session."""
        query = query_of(context)
        if "ticket" in query or "session_token" in query:
            return await self.carried(context, query.get("session_token", ""), query.get("ticket"))
        return await self._fetch(context, context.head.fields.credentials)

    async def carried(self, context: RequestContext, token: str, ticket: str | None) -> Principal | None:
        """Return the user of a ticket, or of a session token if there is no ticket; None without a session."""
        if ticket is None:
            return await self._fetch(context, named_session(token, self.principals.tokens))
        session = await self.store.redeem_ticket(ticket_key(ticket), time.time())
        return await self._fetch(context, credentials_of(session))

    async def _fetch(self, context: RequestContext, credentials: Credentials) -> Principal | None:
        head = context.head
        context.principal = await self.principals.fetch(credentials, head.address, head.fields.user_agent)
        return context.principal

    async def client_id(self, context: RequestContext) -> str:
        """Return the id of the client. Raises as `Hub.open_client`."""
        return await self.hub.open_client(query_of(context).get("client_id"), context.who.user_id)

    @asynccontextmanager
    async def open(
        self, context: RequestContext, client_id: str, kind: str, *, confirms: bool = False
    ) -> AsyncIterator[OpenStream]:
        """Open a stream of a client, and close it at the end; `kind` is that of its metrics, for `confirms` see it."""
        hub, connection = self.hub, context.writer.client
        given = context.head.fields.value(b"last-event-id") or query_of(context).get("last_event_id", "")
        position = _position(given, *await hub.store.marks(client_id))
        stream = OpenStream(client_id, position, hub, connection, context.who.key, kind, confirms=confirms)
        self.drain.watch(stream)
        self.metrics.live_streams[kind] += 1
        if self.drain.started:
            stream.leave()
        try:
            await hub.join(client_id, stream)
            yield stream
        finally:
            context.detail = stream.over
            hub.leave(client_id, stream)
            self.drain.unwatch(stream)
            self.metrics.live_streams[kind] -= 1

    async def events(self, stream: OpenStream) -> AsyncGenerator[Event | None, None]:
        """Yield the events of a stream as they come, and None where a ping is due, until it is to end.

        What is yielded counts as written once the next one is requested.
        """
        while True:
            store = self.hub.store  # a reload may replace it, and the settings
            stream.waiting = 0
            while found := await _news(store, stream):
                for event in found:
                    yield event
                    stream.position = event.number
                    self.metrics.live_events[stream.kind] += 1
                if not stream.confirms:
                    store.wrote(stream.client_id, stream.position)
            if stream.over:
                return
            try:
                async with asyncio.timeout(self.hub.settings.heartbeat):
                    await stream.changed.wait()
            except TimeoutError:
                yield None
            stream.changed.clear()

    def confirmed(self, stream: OpenStream, number: bytes | bytearray) -> None:
        """Note that a client has received an event, and all before it; what is no number of one is ignored."""
        text = bytes(number).decode("ascii", "replace")
        if text.isdecimal() and len(text) < 20 and int(text) <= stream.position:
            self.hub.store.wrote(stream.client_id, int(text))


def query_of(context: RequestContext) -> dict[str, str]:
    """Return the parameters in the query of a request; the first value of each."""
    return {name: values[0] for name, values in parse_qs(context.head.query.removeprefix("?")).items()}


async def _news(store: LiveStore, stream: OpenStream) -> Sequence[Event]:
    """Return the next events; none while the store is not available: the stream is woken, or looks again, later."""
    try:
        return await store.events(stream.client_id, stream.position)
    except StoreError as error:
        get_logger().warning("live.events_not_read", client=stream.client_id, reason=str(error))
        return ()


def _position(last_event_id: str, last: int, written: int) -> int:
    """Return the number behind which a client resumes: what it names, else what was written to it."""
    if last_event_id.isdecimal() and len(last_event_id) < 20 and int(last_event_id) <= last:
        return int(last_event_id)
    return written
