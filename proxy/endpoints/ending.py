"""A stream that the gateway itself serves, as far as others may end it: the drain, its session, its client."""

from __future__ import annotations

import asyncio

GOING_AWAY = "the gateway is going away"
SESSION_ENDED = "the session ended"


class EndingStream:
    """A stream that can be ended from outside. What serves it waits for `changed`, and then looks at `over`.

    `over` is empty, or the reason why the stream is to end.
    """

    __slots__ = ("changed", "over")

    def __init__(self) -> None:
        self.changed = asyncio.Event()
        self.over = ""

    def end(self, why: str) -> None:
        """Let the stream end."""
        self.over = self.over or why
        self.changed.set()

    def leave(self) -> None:
        """End because the gateway stops."""
        self.end(GOING_AWAY)

    def session_ended(self) -> None:
        """End because the session has ended."""
        self.end(SESSION_ENDED)

    def store_failed(self) -> None:
        """Do nothing: the stream continues, as forwarded ones do."""
