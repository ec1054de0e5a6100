"""Who receives an upstream's response, and what may go wrong with one."""

from __future__ import annotations

from enum import StrEnum
from typing import Protocol

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


class Fault(Exception):
    """An upstream failed. `kind` says how far the exchange had come; the text is for the log."""

    def __init__(self, kind: FaultKind, text: str) -> None:
        self.kind = kind
        super().__init__(text)


class ResponseReceiver(Protocol):
    """Receives one response. `on_batch` follows when all that has arrived was given and more is to come."""

    def on_head(self, head: ResponseHead) -> None: ...
    def on_body(self, data: bytes) -> None: ...
    def on_batch(self) -> None: ...
    def on_end(self) -> None: ...
    def on_fault(self, fault: Fault) -> None: ...
