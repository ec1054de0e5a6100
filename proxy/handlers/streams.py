"""Event streams that are open, and the word to their clients when this process is about to end.

A relayed server-sent-event stream may last for hours; a drain ends it between two events, with `retry:` and a moment
of each client's own, so that they do not all come back at once.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable

_FIRST_RETURN = 500
_LAST_RETURN = 5000


class Drain:
    """Whether this process is about to end, and whom to tell."""

    __slots__ = ("_streams", "started")

    def __init__(self) -> None:
        self.started = False
        self._streams: set[EventStream] = set()

    @property
    def streams(self) -> int:
        """How many event streams are open."""
        return len(self._streams)

    def open(self, wake: Callable[[], None]) -> EventStream:
        """A stream has begun; `wake` has its relay look whether it should end."""
        stream = EventStream(self, wake)
        self._streams.add(stream)
        return stream

    def forget(self, stream: EventStream) -> None:
        """A stream has ended."""
        self._streams.discard(stream)

    def start(self) -> None:
        """Tell every stream."""
        self.started = True
        for stream in list(self._streams):
            stream.wake()


class EventStream:
    """One open stream: knows whether an event is complete, and what to say at the end."""

    __slots__ = ("_drain", "_last", "wake")

    def __init__(self, drain: Drain, wake: Callable[[], None]) -> None:
        self._drain = drain
        self._last = b"\n\n"
        self.wake = wake

    def passed(self, data: bytes) -> None:
        """These bytes were passed on."""
        self._last = (self._last + data[-4:])[-4:]

    @property
    def should_end(self) -> bool:
        """Whether the process drains and no event is half sent."""
        return self._drain.started and self._last.endswith((b"\n\n", b"\r\r", b"\r\n\r\n"))

    def farewell(self) -> bytes:
        """Tells the client after how many milliseconds to come back."""
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
