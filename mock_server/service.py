"""What the connections of a listener share: the program, limits, and the responses that no program sees."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from .clock import Clock
from .messages import Handler, Request, Response
from .wire import DefaultFields

if TYPE_CHECKING:
    from .connection import Connection


@dataclass(frozen=True, slots=True)
class Limits:
    """The limits of every connection.

    Args:
        head: the bytes of a request line and its header fields.
        body: the bytes of a body that is read whole.
        idle_seconds: how long a connection may be silent while no request is answered.
        connections: how many connections are open at once.
    """

    head: int = 65_536
    body: int = 10 * 1024 * 1024
    idle_seconds: float = 75.0
    connections: int = 20_000


@dataclass(frozen=True, slots=True)
class Errors:
    """The responses to requests that no program sees, because real servers differ in them."""

    malformed: Response
    head_too_large: Response
    body_too_large: Response
    failed: Response


_TEXT = "text/plain; charset=utf-8"
ERRORS = Errors(
    malformed=Response(400, b"Invalid HTTP request received.", _TEXT),
    head_too_large=Response(431, b"Request header fields too large.", _TEXT),
    body_too_large=Response(413, b"Request body too large.", _TEXT),
    failed=Response(500, b"Internal Server Error", _TEXT),
)


def never(request: Request) -> bool:
    """Return False: every body is read whole."""
    return False


@dataclass(slots=True, eq=False)
class Service:
    """What the connections of a listener share.

    Args:
        handler: returns the response to a request, or an awaitable of it.
        clock: the time for `date`.
        server: the value of the `server` header; empty: no such header.
        scheme: `http` or `https`.
        limits: the limits.
        errors: the responses to requests that do not reach `handler`.
        streamed: returns whether a program reads the body of a request itself, from its head.
        closing: True once responses end their connections.
        open: the open connections.
    """

    handler: Handler
    clock: Clock = field(default_factory=Clock)
    server: str = ""
    scheme: str = "http"
    limits: Limits = Limits()
    errors: Errors = ERRORS
    streamed: Callable[[Request], bool] = never
    closing: bool = False
    open: set[Connection] = field(default_factory=set)
    defaults: DefaultFields = field(init=False)

    def __post_init__(self) -> None:
        self.defaults = DefaultFields(self.server)
