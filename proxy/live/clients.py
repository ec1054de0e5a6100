"""A client of event streams: a browser tab or a program, which one user owns, with its events and its open streams."""

from __future__ import annotations

import re
from typing import Protocol

from proxy.live.event_log import EventLog

_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


def is_client_id(text: str) -> bool:
    """Return whether a text may be the id of a client. Gateways make UUIDs, and clients may have made their own."""
    return _ID.fullmatch(text) is not None


class Stream(Protocol):
    """An open stream of a client. `position` is the number of the last event that was written to it."""

    position: int

    def wake(self) -> None:
        """Write what is new."""

    def cut(self) -> None:
        """Close at once: the client reads too slowly."""


class LiveClient:
    """A client.

    Args:
        client_id: its id.
        user_id: its owner.
        log: its events.
        queue: the most events that may wait for one stream; a slower one is cut, and resumes.
    """

    __slots__ = ("_queue", "client_id", "log", "requests", "streams", "used_at", "user_id")

    def __init__(self, client_id: str, user_id: int, log: EventLog, queue: int) -> None:
        self._queue = queue
        self.client_id = client_id
        self.user_id = user_id
        self.log = log
        self.streams: set[Stream] = set()
        self.requests: set[str] = set()
        """The ids of the requests that it waits for."""
        self.used_at = 0.0

    @property
    def connected(self) -> bool:
        """Whether a stream is open."""
        return bool(self.streams)

    def announce(self) -> None:
        """Let the open streams write what is new; cut those that are too far behind."""
        for stream in list(self.streams):
            behind = stream.position < self.log.removed or len(self.log.after(stream.position)) > self._queue
            if behind:
                stream.cut()
            else:
                stream.wake()
