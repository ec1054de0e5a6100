"""Streams that are open, and the word to their clients when they must end: with this process, or with their session.

A relayed server-sent-event stream may last for hours. A drain ends it between two events, with `retry:` and a moment
of each client's own, so that they do not all come back at once. The end of its session ends it too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable
from typing import Protocol

from proxy.sessions.store import StoreError

_FIRST_RETURN = 500
_LAST_RETURN = 5000
_LOOK_SECONDS = 5.0
Wake = Callable[[], None]


class Watched(Protocol):
    """Something that lasts: it ends with the process, and with the session whose key it has."""

    session: bytes

    def leave(self) -> None:
        """End with the process."""

    def session_ended(self) -> None:
        """End with the session."""

    def store_failed(self) -> None:
        """Nobody can tell just now whether the session is still alive."""


class Drain:
    """Whether this process is about to end, and what has to end with it or with its session."""

    __slots__ = ("_watched", "started", "streams")

    def __init__(self) -> None:
        self.started = False
        self.streams = 0
        self._watched: set[Watched] = set()

    def open(self, wake: Wake, session: bytes) -> EventStream:
        """Return the state of an event stream that begins; `wake` has its relay look whether it should end."""
        stream = EventStream(self, wake, session)
        self.streams += 1
        self._watched.add(stream)
        return stream

    def closed(self, stream: EventStream) -> None:
        """Forget an event stream that has ended."""
        if stream in self._watched:
            self._watched.discard(stream)
            self.streams -= 1

    def watch(self, watched: Watched) -> None:
        """End something else with the process, or with its session."""
        self._watched.add(watched)

    def unwatch(self, watched: Watched) -> None:
        """Forget something that has ended."""
        self._watched.discard(watched)

    def start(self) -> None:
        """Begin the drain."""
        self.started = True
        for watched in list(self._watched):
            watched.leave()

    async def end_with_sessions(self, alive: Callable[[bytes], Awaitable[bool]]) -> None:
        """End what belongs to sessions that have ended, until cancelled. Each session is looked up once in a round.

        `alive` raises StoreError where the store can't be used.
        """
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for session in {watched.session for watched in self._watched if watched.session}:
                try:
                    ended, failed = not await alive(session), False
                except StoreError:
                    ended, failed = False, True
                for watched in [one for one in self._watched if one.session == session]:
                    if ended:
                        watched.session_ended()
                    elif failed:
                        watched.store_failed()


class EventStream:
    """One open stream: knows whether an event is complete, and what to say at the end."""

    __slots__ = ("_drain", "_last", "session", "session_over", "wake")

    def __init__(self, drain: Drain, wake: Wake, session: bytes) -> None:
        self._drain = drain
        self._last = b"\n\n"
        self.wake = wake
        self.session = session
        self.session_over = False

    def forwarded(self, data: bytes) -> None:
        """Note that these bytes were forwarded."""
        self._last = (self._last + data[-4:])[-4:]

    def leave(self) -> None:
        """Have the stream's relay look whether it should end."""
        self.wake()

    def session_ended(self) -> None:
        """End the stream at the next event."""
        self.session_over = True
        self.wake()

    def store_failed(self) -> None:
        """Go on: nothing ends early."""

    @property
    def should_end(self) -> bool:
        """Whether it must end, and no event is half sent."""
        must = self._drain.started or self.session_over
        return must and self._last.endswith((b"\n\n", b"\r\r", b"\r\n\r\n"))

    def farewell(self) -> bytes:
        """Tells the client after how many milliseconds to come back; empty if it has no session to come back with."""
        if self.session_over:
            return b""
        return b"retry: %d\n\n" % random.randint(_FIRST_RETURN, _LAST_RETURN)  # noqa: S311 - jitter

    def close(self) -> None:
        """The stream has ended."""
        self._drain.closed(self)


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer, by its raw headers in lower case, is an event stream whose bytes can be read as they are."""
    kind, plain = b"", True
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif name in (b"content-encoding", b"content-length"):
            plain = False
    return plain and kind == b"text/event-stream"
