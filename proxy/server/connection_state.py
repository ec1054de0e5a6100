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


IDLE, HEAD, STREAMING, FAST, TUNNEL, CLOSING = State
"""The members by name: an enum's own attributes are slow to read, and a connection reads them for each request."""

NEXT = {
    IDLE: {HEAD, STREAMING, FAST, CLOSING},
    HEAD: {IDLE, STREAMING, FAST, CLOSING},
    STREAMING: {IDLE, HEAD, TUNNEL, CLOSING},
    FAST: {IDLE, STREAMING, CLOSING},
    TUNNEL: {CLOSING},
    CLOSING: set(),
}
"""The transitions. HEAD: a part of a request's head has arrived. STREAMING: aiohttp's loop has a request, until its
response is sent and its body has arrived. FAST: a request is under way on the fast path."""
