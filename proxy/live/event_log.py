"""The events of one client that are kept: bounded in number and bytes, and resumed by number. Pure."""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from itertools import islice
from typing import NamedTuple

from proxy.live.messages import RESULT


class Event(NamedTuple):
    """An event: its number, which grows, the method of its notification, and its JSON."""

    number: int
    method: str
    data: bytes


class LogFull(Exception):
    """There is no room for an event: all that could make room are results that were never written to a client."""


class EventLog:
    """Events in the order of their numbers.

    To make room, first events are removed that were written to a client, then unwritten ones that are no result.

    Args:
        most: the maximum number of events.
        max_bytes: the maximum size of their JSON, in bytes.
        start: the number before that of the first event.
    """

    __slots__ = ("_events", "_max_bytes", "_most", "last", "removed", "size", "written")

    def __init__(self, most: int, max_bytes: int, start: int) -> None:
        self._most = most
        self._max_bytes = max_bytes
        self._events: deque[Event] = deque()
        self.size = 0
        self.last = self.written = self.removed = start
        """The numbers of the last event, of the last one that was written to a client, and of the last removed one."""

    def __len__(self) -> int:
        return len(self._events)

    def append(self, number: int, method: str, data: bytes) -> None:
        """Add an event. Raises LogFull."""
        size = len(data)
        while len(self._events) >= self._most or (self.size + size > self._max_bytes and self._events):
            self._remove_one()
        self._events.append(Event(number, method, data))
        self.size += size
        self.last = number

    def _remove_one(self) -> None:
        for at, event in enumerate(self._events):
            if event.number <= self.written or event.method != RESULT:
                del self._events[at]
                self.size -= len(event.data)
                self.removed = max(self.removed, event.number)
                return
        raise LogFull

    def after(self, number: int) -> Sequence[Event]:
        """Return the events after a number."""
        behind = 0
        for event in reversed(self._events):
            if event.number <= number:
                break
            behind += 1
        return list(islice(self._events, len(self._events) - behind, None))

    def wrote(self, number: int) -> None:
        """Note that an event, and all before it, were written to a client."""
        self.written = max(self.written, number)
