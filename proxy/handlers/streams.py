"""Streams that are open, and the word to their clients when they must end: with this process, or with their session.

A relayed server-sent-event stream may last for hours. A drain ends it between two events, with `retry:` and a moment
of each client's own, so that they do not all come back at once. The end of its session ends it too.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Iterable

_FIRST_RETURN = 500
_LAST_RETURN = 5000
_LOOK_SECONDS = 5.0
Wake = Callable[[], None]


class Drain:
    """Whether this process is about to end, and whom to tell."""

    __slots__ = ("_others", "_streams", "started")

    def __init__(self) -> None:
        self.started = False
        self._streams: set[EventStream] = set()
        self._others: set[Wake] = set()

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        return len(self._streams)

    def open(self, wake: Wake, session: bytes) -> EventStream:
        """A stream of a session has begun; `wake` has its relay look whether it should end."""
        stream = EventStream(self, wake, session)
        self._streams.add(stream)
        return stream

    def forget(self, stream: EventStream) -> None:
        """A stream has ended."""
        self._streams.discard(stream)

    def tell(self, wake: Wake) -> None:
        """Have something else that lasts told of the drain."""
        self._others.add(wake)

    def tell_no_more(self, wake: Wake) -> None:
        """It has ended."""
        self._others.discard(wake)

    def start(self) -> None:
        """Tell everyone."""
        self.started = True
        for wake in [*(stream.wake for stream in self._streams), *self._others]:
            wake()

    async def end_with_sessions(self, alive: Callable[[bytes], Awaitable[bool]]) -> None:
        """End the streams whose session has ended, until cancelled. Each session is asked after once in a round."""
        while True:
            await asyncio.sleep(_LOOK_SECONDS)
            for session in {stream.session for stream in self._streams if stream.session}:
                if not await alive(session):
                    for stream in [stream for stream in self._streams if stream.session == session]:
                        stream.session_over = True
                        stream.wake()


class EventStream:
    """One open stream: knows whether an event is complete, and what to say at the end."""

    __slots__ = ("_drain", "_last", "session", "session_over", "wake")

    def __init__(self, drain: Drain, wake: Wake, session: bytes) -> None:
        self._drain = drain
        self._last = b"\n\n"
        self.wake = wake
        self.session = session
        self.session_over = False

    def passed(self, data: bytes) -> None:
        """These bytes were passed on."""
        self._last = (self._last + data[-4:])[-4:]

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
        self._drain.forget(self)


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Whether an answer, by its raw headers in lower case, is an event stream whose bytes can be read as they are."""
    kind, plain = b"", True
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif name in (b"content-encoding", b"content-length"):
            plain = False
    return plain and kind == b"text/event-stream"
