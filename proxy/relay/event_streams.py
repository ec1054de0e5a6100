"""The open event streams and connections, and their end: by a drain of this process, or by the end of their session.

A forwarded stream of server-sent events may last for hours. A drain ends it between two events. Then the gateway sends
`retry:` with a random time, so that the clients do not reconnect at the same moment.
"""

from __future__ import annotations

import asyncio
import contextlib
import random
import time
from collections.abc import Awaitable, Callable, Collection, Iterable
from typing import Protocol

from proxy.sessions.store import StoreError

_FIRST_RETURN = 500
_LAST_RETURN = 5000
_POLL_SECONDS = 5.0
_AT_ONCE = 100
PATIENCE = 60.0
SHARED_PATIENCE = 5.0
"""How long streams go on while the session store is not available, in seconds; the second one is for a store that knows
sessions of its own for a time, so that these seconds come behind that time."""
Wake = Callable[[], None]


class Watched(Protocol):
    """A stream or a connection that ends with the process, and with the session that has the key `session`."""

    session: bytes

    def leave(self) -> None:
        """End because of the drain."""

    def session_ended(self) -> None:
        """End because the session has ended."""

    def store_failed(self) -> None:
        """Handle a session store that is unavailable, so that the state of the session is unknown."""


class Drain:
    """The state of the drain, with everything that must end with the process or with a session.

    `over`: the time of the drain is over, and the gateway closes the connections that are left.
    """

    __slots__ = ("_look", "_some", "_unknown_since", "_watched", "over", "patience", "started", "streams")

    def __init__(self) -> None:
        self.started = self.over = False
        self.streams = 0
        self._watched: set[Watched] = set()
        self.patience = PATIENCE
        """Seconds for which streams go on while the store can't say whether their sessions have ended."""
        self._unknown_since: dict[bytes, float] = {}
        self._look = asyncio.Event()
        self._some: set[bytes] | None = set()
        """Beginnings of the keys of sessions that may have ended; None: all may."""

    def open(self, wake: Wake, session: bytes) -> EventStream:
        """Return the state of a new event stream. `wake` makes the code that forwards the stream check `should_end`."""
        stream = EventStream(self, wake, session)
        self.streams += 1
        self._watched.add(stream)
        return stream

    def closed(self, stream: EventStream) -> None:
        """Remove an event stream that has ended."""
        if stream in self._watched:
            self._watched.discard(stream)
            self.streams -= 1

    def watch(self, watched: Watched) -> None:
        """Add something else that must end with the process or with its session."""
        self._watched.add(watched)

    def unwatch(self, watched: Watched) -> None:
        """Remove something that has ended."""
        self._watched.discard(watched)

    def start(self) -> None:
        """Start the drain."""
        self.started = True
        for watched in list(self._watched):
            watched.leave()

    def look(self) -> None:
        """Look now for sessions that have ended: there may be some."""
        self._some = None
        self._look.set()

    def look_at(self, beginnings: Collection[bytes]) -> None:
        """Look now at the sessions whose keys begin so, which may have ended; all beginnings have one length."""
        if self._some is not None:
            self._some.update(beginnings)
        self._look.set()

    async def end_with_sessions(self, alive: Callable[[bytes], Awaitable[bool]], every: float | None = None) -> None:
        """End everything that belongs to ended sessions, until cancelled. Each round looks up a session once.

        Args:
            alive: returns True if a session has not ended. Raises StoreError if the store is unavailable.
            every: seconds between two rounds, unless `look` is called; None means five.
        """
        while True:
            with contextlib.suppress(TimeoutError):
                async with asyncio.timeout(_POLL_SECONDS if every is None else every):
                    await self._look.wait()
            some = self._some if self._look.is_set() else None
            self._look.clear()
            self._some = set()
            await self._round(self._by_session(some), alive)

    async def _round(self, watched: dict[bytes, list[Watched]], alive: Callable[[bytes], Awaitable[bool]]) -> None:
        """Look at some sessions, many at a time: a store that is away may take seconds for each."""
        sessions = list(watched)
        for begin in range(0, len(sessions), _AT_ONCE):
            part = sessions[begin : begin + _AT_ONCE]
            for session, lives in zip(part, await asyncio.gather(*(_lives(alive, key) for key in part)), strict=True):
                ended = self._is_over(session, lives)
                for each in watched[session]:
                    if ended:
                        each.session_ended()
                    elif lives is None:
                        each.store_failed()
            await asyncio.sleep(0)  # a store that never waits would hold up everything else
        if self._unknown_since:
            open_now = {each.session for each in self._watched}
            self._unknown_since = {key: since for key, since in self._unknown_since.items() if key in open_now}

    def _is_over(self, session: bytes, lives: bool | None) -> bool:
        """Return whether a session has ended, or its state is unknown (None) for longer than `patience`."""
        if lives is not None:
            self._unknown_since.pop(session, None)
            return not lives
        now = time.monotonic()
        return now - self._unknown_since.setdefault(session, now) > self.patience

    def _by_session(self, beginnings: set[bytes] | None) -> dict[bytes, list[Watched]]:
        """Return what is watched, by its session; only sessions whose keys begin so, if that is given."""
        lengths = {len(each) for each in beginnings or ()}
        found: dict[bytes, list[Watched]] = {}
        for watched in self._watched:
            session = watched.session
            if session and (beginnings is None or any(session[:length] in beginnings for length in lengths)):
                found.setdefault(session, []).append(watched)
        return found


async def _lives(alive: Callable[[bytes], Awaitable[bool]], session: bytes) -> bool | None:
    """Return whether a session has not ended; None if the store can't say."""
    try:
        return await alive(session)
    except StoreError:
        return None


def come_back() -> bytes:
    """Return an event that lets a client reconnect after a random time, in milliseconds (WHATWG HTML, 9.2.6)."""
    return b"retry: %d\n\n" % random.randint(_FIRST_RETURN, _LAST_RETURN)  # noqa: S311 - jitter


class EventStream:
    """One open event stream.

    Args:
        drain: the drain of the process.
        wake: makes the code that forwards the stream check `should_end`.
        session: the key of the session; empty: no session.
    """

    __slots__ = ("_drain", "_last", "session", "session_over", "wake")

    def __init__(self, drain: Drain, wake: Wake, session: bytes) -> None:
        self._drain = drain
        self._last = b"\n\n"
        self.wake = wake
        self.session = session
        self.session_over = False

    def forwarded(self, data: bytes) -> None:
        """Record forwarded bytes, to recognize the end of an event."""
        self._last = (self._last + data[-4:])[-4:]

    def leave(self) -> None:
        """Make the code that forwards the stream check `should_end`."""
        self.wake()

    def session_ended(self) -> None:
        """End the stream at the next event."""
        self.session_over = True
        self.wake()

    def store_failed(self) -> None:
        """Do nothing: the stream continues."""

    @property
    def should_end(self) -> bool:
        """Return True if the stream must end and no event is incomplete."""
        must = self._drain.started or self.session_over
        return must and self._last.endswith((b"\n\n", b"\r\r", b"\r\n\r\n"))

    def farewell(self) -> bytes:
        """Return the last event, `retry` with the milliseconds until a reconnect; empty if the session has ended."""
        if self.session_over:
            return b""
        return come_back()

    def close(self) -> None:
        """Remove the stream from the drain."""
        self._drain.closed(self)


def is_event_stream(headers: Iterable[tuple[bytes, bytes]]) -> bool:
    """Return True if a response, by its raw headers in lower case, is an event stream without content encoding."""
    kind, plain = b"", True
    for name, value in headers:
        if name == b"content-type":
            kind = value.partition(b";")[0].strip().lower()
        elif name in (b"content-encoding", b"content-length"):
            plain = False
    return plain and kind == b"text/event-stream"
