"""The states of a client connection, and the transitions between them. Pure data."""

from __future__ import annotations

from enum import Enum, auto


class State(Enum):
    """What a connection is doing."""

    IDLE = auto()
    HEAD = auto()
    STREAMING = auto()
    FAST = auto()
    TUNNEL = auto()
    CLOSING = auto()


NEXT = {
    State.IDLE: {State.HEAD, State.STREAMING, State.FAST, State.CLOSING},
    State.HEAD: {State.IDLE, State.STREAMING, State.FAST, State.CLOSING},
    State.STREAMING: {State.IDLE, State.HEAD, State.TUNNEL, State.CLOSING},
    State.FAST: {State.IDLE, State.STREAMING, State.CLOSING},
    State.TUNNEL: {State.CLOSING},
    State.CLOSING: set(),
}
"""The transitions. HEAD: a part of a request's head has arrived. STREAMING: aiohttp's loop has a request, until its
response is sent and its body has arrived. FAST: a request is under way on the fast path."""
