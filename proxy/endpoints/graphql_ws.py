"""GraphQL over a WebSocket, with the sub-protocol `graphql-transport-ws` (graphql-ws, PROTOCOL.md).

The session is that of the handshake, or comes with `connection_init`: browsers can't set headers of a handshake.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import Any

from wsproto.frame_protocol import CloseReason

from proxy.endpoints.ending import GOING_AWAY, SESSION_ENDED
from proxy.endpoints.open_streams import OpenStreams
from proxy.endpoints.operations import Operations, OperationStream, too_many
from proxy.endpoints.socket import Socket, offers, require_handshake
from proxy.errors import GatewayError, Unauthorized
from proxy.exchange import RequestContext
from proxy.graphql.http import GraphqlAnswer
from proxy.graphql.transport_ws import (
    PROTOCOL,
    CloseCode,
    Command,
    Initialise,
    Machine,
    Phase,
    Reply,
    Start,
    Stop,
    carried,
    complete_message,
    error_message,
    next_message,
)
from proxy.http.json import write_json
from proxy.http.response import OwnHeads
from proxy.observe.metrics import GRAPHQL_WS
from proxy.sessions.store import StoreError

_INIT_SECONDS = 10.0
_SILENT = "the client does not answer pings"
_TRY_AGAIN_LATER = 1013


@dataclass(frozen=True, slots=True)
class GraphqlSockets:
    """Serves WebSockets, with what that needs; `max_message` is the largest message of a client, in bytes."""

    operations: Operations
    streams: OpenStreams
    heads: OwnHeads
    max_message: int

    async def handle(self, context: RequestContext) -> None:
        """Serve a WebSocket until either side closes it, its session ends, or the gateway stops.

        Raises:
            UpgradeRequired: the request is no WebSocket handshake of version 13.
            Forbidden: the handshake comes from a page of a foreign origin.
        """
        require_handshake(context)
        await self.streams.principal(context)
        connection = _Connection(self, context)
        with self.operations.opened(connection.stream, self.streams.drain, GRAPHQL_WS):
            await connection.run()


class _Connection:
    """One WebSocket: carries out what the machine of the protocol decides."""

    def __init__(self, sockets: GraphqlSockets, context: RequestContext) -> None:
        self._sockets = sockets
        self._context = context
        self._machine = Machine()
        self.stream = OperationStream(sockets.operations, context, self, is_counted=True)
        self.stream.ended = self._machine.ended
        self._socket = Socket(sockets.max_message, self._receive, self.stream.end)
        self._close: tuple[int, str] | None = None
        self._initialising: asyncio.Task[None] | None = None

    async def run(self) -> None:
        context, stream = self._context, self.stream
        acceptable = offers(context, PROTOCOL)
        self._socket.accept(context, self._sockets.heads, PROTOCOL if acceptable else None)
        if not acceptable:
            self._carry_out(self._machine.close(CloseCode.SUBPROTOCOL_NOT_ACCEPTABLE, "Subprotocol not acceptable"))
        timer = asyncio.get_running_loop().call_later(_INIT_SECONDS, self._check_initialised)
        try:
            await self._until_over()
        finally:
            timer.cancel()
            if self._initialising is not None:
                self._initialising.cancel()
            await stream.stop_all()
            context.detail = stream.over
        code, reason = self._close or _CLOSES.get(stream.over, (int(CloseReason.NORMAL_CLOSURE), ""))
        await self._socket.close(code, reason)

    async def _until_over(self) -> None:
        """Send pings until the stream is to end. A client that answers none until the next is due has gone."""
        while not self.stream.over:
            try:
                async with asyncio.timeout(self._sockets.streams.hub.settings.heartbeat):
                    await self.stream.changed.wait()
            except TimeoutError:
                if not self._socket.heard:
                    self.stream.end(_SILENT)
                self._socket.heard = False
                self._socket.ping()

    def _check_initialised(self) -> None:
        if self._machine.phase in (Phase.NEW, Phase.INITIALISING):
            self._carry_out(self._machine.close(CloseCode.INITIALISATION_TIMEOUT, "Connection initialisation timeout"))

    def _receive(self, text: str) -> None:
        command = self._machine.receive(text)
        if command is not None:
            self._carry_out(command)

    def _carry_out(self, command: Command) -> None:
        if isinstance(command, Reply):
            self._socket.send(command.data)
        elif isinstance(command, Initialise):
            self._initialising = asyncio.get_running_loop().create_task(self._initialise(command))
        elif isinstance(command, Start):
            if not self.stream.start(command.id, command.request):
                self._machine.ended(command.id)
                self._socket.send(error_message(command.id, _errors(too_many())))
        elif isinstance(command, Stop):
            self.stream.stop(command.id)
        else:
            self._end(command.code, command.reason)

    def _end(self, code: int, reason: str) -> None:
        self._close = self._close or (code, reason)
        self.stream.end(reason)

    async def _initialise(self, command: Initialise) -> None:
        """Find the session, and acknowledge; or close."""
        context, given = self._context, carried(command.payload)
        try:
            if given is not None:
                await self._sockets.streams.carried(context, given.token or "", given.ticket)
            if context.principal is None:
                raise Unauthorized
        except Unauthorized as error:
            context.note(error)
            self._carry_out(self._machine.close(CloseCode.FORBIDDEN, error.text))
        except (GatewayError, StoreError) as error:
            context.detail = str(error)
            self._end(_TRY_AGAIN_LATER, "Try again later")
        else:
            self.stream.session = context.who.key
            self._socket.send(self._machine.acknowledge())

    # Sink

    async def next(self, identity: str, result: bytes) -> None:
        self._sockets.operations.metrics.live_events[GRAPHQL_WS] += 1
        await self._message(next_message(identity, result))

    async def error(self, identity: str, answer: GraphqlAnswer) -> None:
        self._machine.ended(identity)  # its id is free before the client can know that it has ended
        await self._message(error_message(identity, _errors(answer)))

    async def complete(self, identity: str) -> None:
        self._machine.ended(identity)
        await self._message(complete_message(identity))

    async def _message(self, data: bytes) -> None:
        self._socket.send(data)
        await self._context.writer.client.drain()


def _errors(answer: GraphqlAnswer) -> bytes:
    errors: list[Any] = answer.body["errors"]
    return write_json(errors)


_CLOSES = {
    GOING_AWAY: (int(CloseReason.GOING_AWAY), "The gateway stops"),
    SESSION_ENDED: (int(CloseCode.FORBIDDEN), Unauthorized.default_text),
    _SILENT: (int(CloseReason.GOING_AWAY), "No answer to a ping"),
}
