"""The WebSocket sub-protocol `graphql-transport-ws` (graphql-ws, PROTOCOL.md): what each message means. Pure.

Messages of the client go in, commands come out. The machine knows which phase a connection is in and which operations
are running; it neither authenticates nor runs anything.
"""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from enum import Enum
from typing import Any, NamedTuple

from proxy.errors import BadRequest
from proxy.graphql.http import GraphqlRequest, read_body
from proxy.http.credentials import bearers
from proxy.http.json import is_text, parse_json, write_json

PROTOCOL = "graphql-transport-ws"
MAX_ID = 128
"""The longest id of an operation."""
_MAX_REASON = 123
"""The longest reason of a close frame, in bytes (RFC 6455, 5.5)."""
_ACK = b'{"type":"connection_ack"}'


class CloseCode(int, Enum):
    """The codes with which the server closes a connection."""

    BAD_REQUEST = 4400
    UNAUTHORIZED = 4401
    FORBIDDEN = 4403
    SUBPROTOCOL_NOT_ACCEPTABLE = 4406
    INITIALISATION_TIMEOUT = 4408
    SUBSCRIBER_EXISTS = 4409
    TOO_MANY_INITIALISATIONS = 4429


class Close(NamedTuple):
    """Close the connection."""

    code: CloseCode
    reason: str


class Reply(NamedTuple):
    """Send a message."""

    data: bytes


class Initialise(NamedTuple):
    """Authenticate, with what the client sends for that; then call `acknowledge`, or close."""

    payload: Mapping[str, Any]


class Start(NamedTuple):
    """Start an operation; call `ended` at its end."""

    id: str
    request: GraphqlRequest


class Stop(NamedTuple):
    """Stop an operation, and send no more of it."""

    id: str


Command = Close | Reply | Initialise | Start | Stop


class Phase(Enum):
    """How far a connection is."""

    NEW = "new"
    INITIALISING = "initialising"
    READY = "ready"
    CLOSED = "closed"


class Machine:
    """One connection. `running` are the ids of its operations."""

    def __init__(self) -> None:
        self.phase = Phase.NEW
        self.running: set[str] = set()

    def receive(self, text: str) -> Command | None:
        """Return what is to be done about a message of the client; None: nothing."""
        if self.phase is Phase.CLOSED:
            return None
        try:
            message = parse_json(text.encode("utf-8", "surrogatepass"))
        except BadRequest:
            return self._invalid("The message is not JSON")
        if not isinstance(message, dict):
            return self._invalid("The message is not a JSON object")
        kind, payload = message.get("type"), message.get("payload")
        if kind == "connection_init":
            return self._initialise(payload)
        if kind == "subscribe":
            return self._start(message.get("id"), payload)
        if kind == "complete":
            return self._stop(message.get("id"))
        if kind == "ping":
            return Reply(_pong(payload))
        return None if kind == "pong" else self._invalid("Unknown type of message")

    def _initialise(self, payload: Any) -> Command:
        if payload is not None and not isinstance(payload, dict):
            return self._invalid("The payload of connection_init must be an object")
        if self.phase is not Phase.NEW:
            return self.close(CloseCode.TOO_MANY_INITIALISATIONS, "Too many initialisation requests")
        self.phase = Phase.INITIALISING
        return Initialise(payload or {})

    def acknowledge(self) -> bytes:
        """Note that the client is authenticated, and return the message that says so."""
        self.phase = Phase.READY
        return _ACK

    def _start(self, identity: Any, payload: Any) -> Command:
        if not is_text(identity) or not 0 < len(identity) <= MAX_ID:
            return self._invalid(f"subscribe needs an id of 1 to {MAX_ID} characters")
        if self.phase is not Phase.READY:
            return self.close(CloseCode.UNAUTHORIZED, "Unauthorized")
        if identity in self.running:
            return self.close(CloseCode.SUBSCRIBER_EXISTS, f"Subscriber for {identity} already exists")
        try:
            request = read_body(payload, 1)
        except BadRequest as error:
            return self._invalid(error.text)
        assert isinstance(request, GraphqlRequest)  # noqa: S101 - a batch is refused
        self.running.add(identity)
        return Start(identity, request)

    def _stop(self, identity: Any) -> Command | None:
        if not isinstance(identity, str):
            return self._invalid("complete needs an id")
        if identity not in self.running:
            return None
        self.running.discard(identity)
        return Stop(identity)

    def ended(self, identity: str) -> None:
        """Note that an operation has ended."""
        self.running.discard(identity)

    def close(self, code: CloseCode, reason: str) -> Close:
        """Return the command to close the connection; nothing is accepted any more."""
        self.phase = Phase.CLOSED
        return Close(code, reason.encode()[:_MAX_REASON].decode("utf-8", "ignore"))

    def _invalid(self, reason: str) -> Close:
        return self.close(CloseCode.BAD_REQUEST, reason)


def _pong(payload: Any) -> bytes:
    """Return the response to a ping; it has the payload of the ping, if that is an object that JSON can express."""
    if isinstance(payload, dict):
        with contextlib.suppress(ValueError, TypeError):
            return write_json({"type": "pong", "payload": payload})
    return b'{"type":"pong"}'


def next_message(identity: str, result: bytes) -> bytes:
    """Return the message with a result of an operation."""
    return b'{"id":%b,"type":"next","payload":%b}' % (write_json(identity), result)


def error_message(identity: str, errors: bytes) -> bytes:
    """Return the message with the errors that ended an operation."""
    return b'{"id":%b,"type":"error","payload":%b}' % (write_json(identity), errors)


def complete_message(identity: str) -> bytes:
    """Return the message that an operation is complete."""
    return b'{"id":%b,"type":"complete"}' % write_json(identity)


class Carried(NamedTuple):
    """What a client sends in `connection_init` to authenticate: a session token, or a ticket."""

    token: str | None
    ticket: str | None


def carried(payload: Mapping[str, Any]) -> Carried | None:
    """Return what authenticates a client: `authorization`, `session_token` or `ticket`; None if it sends none."""
    texts = {name.lower().replace("-", "_"): value for name, value in payload.items() if isinstance(value, str)}
    ticket = texts.get("ticket")
    if ticket is not None:
        return Carried(None, ticket)
    if "authorization" in texts:
        return Carried(next(iter(bearers([texts["authorization"]])), "").strip(), None)
    for name in ("session_token", "sessiontoken", "x_session_token"):
        if name in texts:
            return Carried(texts[name].strip(), None)
    return None
