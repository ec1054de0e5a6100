"""Small messages between the processes that share a session store: workers of one machine, or gateways with one Redis.

A message has a kind and a payload. Messages may be lost, so nothing depends on them alone: what they announce is in the
session store, or its sender has a deadline.
"""

from __future__ import annotations

from collections.abc import Callable

MAX_MESSAGE = 96 * 1024
"""The largest message, in bytes."""
Handler = Callable[[bytes], None]


class PeerMessages:
    """Sends messages to the other processes, and gives theirs to a handler.

    `transport` is None without others; `workers` is what reaches the other workers of this machine, if there are any.
    """

    def __init__(self) -> None:
        self.transport: Callable[[bytes], None] | None = None
        self.workers: Callable[[bytes], None] | None = None
        self._handlers: dict[bytes, Handler] = {}

    def handle(self, kind: str, handler: Handler) -> None:
        """Call `handler` with the payload of each message of a kind."""
        self._handlers[kind.encode()] = handler

    @property
    def alone(self) -> bool:
        """Whether there are no other processes."""
        return self.transport is None

    def send(self, kind: str, payload: bytes = b"") -> None:
        """Send a message to all other processes, without waiting. One that is too large is not sent."""
        if self.transport is not None and len(payload) < MAX_MESSAGE:
            self.transport(b"%b\n%b" % (kind.encode(), payload))

    def receive(self, message: bytes) -> None:
        """Accept a message of another process. One of an unknown kind is ignored: its sender may be a newer version."""
        kind, _, payload = message.partition(b"\n")
        handler = self._handlers.get(kind)
        if handler is not None:
            handler(payload)
