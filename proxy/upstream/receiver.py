"""Who receives an upstream's response, and what may go wrong with one."""

from __future__ import annotations

from enum import StrEnum

from proxy.upstream.heads import ResponseHead


class FaultKind(StrEnum):
    """What went wrong with an upstream, by how far the exchange had come."""

    CONNECT = "connect"
    STALE = "stale"
    RESET = "reset"
    HEAD_TIMEOUT = "timeout"
    GARBAGE = "garbage"
    BROKEN = "broken"
    IDLE_TIMEOUT = "idle"


_CAUSES = {
    FaultKind.CONNECT: "no connection",
    FaultKind.STALE: "connection closed",
    FaultKind.RESET: "connection closed",
    FaultKind.HEAD_TIMEOUT: "no response in time",
    FaultKind.GARBAGE: "invalid response",
    FaultKind.BROKEN: "incomplete response",
    FaultKind.IDLE_TIMEOUT: "incomplete response",
}


class Fault(Exception):
    """An upstream failed.

    `kind` says how far the exchange had come; the text is for the log; `cause` says in a few words, without an address,
    what happened.
    """

    def __init__(self, kind: FaultKind, text: str, cause: str = "") -> None:
        self.kind = kind
        self.cause = cause or _CAUSES[kind]
        super().__init__(text)


class ResponseReceiver:
    """Receives one response: whole, or its head, parts of its body, and its end, or a fault.

    The connection of a whole response is free already. `on_batch` follows parts of a body when all that has arrived
    was given and more is to come.
    """

    __slots__ = ()

    def on_whole(self, head: ResponseHead, body: bytes) -> None:
        """Receive a response that arrived at once."""
        self.on_head(head)
        if body:
            self.on_body(body)
        self.on_end()

    def on_head(self, head: ResponseHead) -> None:
        """Receive a head."""
        raise NotImplementedError

    def on_body(self, data: bytes) -> None:
        """Receive a part of a body."""
        raise NotImplementedError

    def on_batch(self) -> None:
        """Act on what was received."""
        raise NotImplementedError

    def on_end(self) -> None:
        """Receive the end of a response."""
        raise NotImplementedError

    def on_fault(self, fault: Fault) -> None:
        """Receive a fault in place of a response, or of the rest of one."""
        raise NotImplementedError
