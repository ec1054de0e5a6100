"""What every session store keeps of live executions: clients, requests that wait for a result, and events.

A client is a browser tab or a program with event streams. Events are numbered, so that a client resumes behind the last
one that it saw. Times are seconds since 1970.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import asdict, dataclass
from typing import NamedTuple, Protocol

from proxy.sessions.store import StoreError

RESULT = "playbook/result"
"""The method of events that are never removed to make room, unless they were written to a client."""
CLIENTS = 50_000
CLIENTS_OF_USER = 100
REQUESTS_OF_CLIENT = 1000
CLIENT_BYTES = 24 * 1024**2
ALL_BYTES = 256 * 1024**2
"""The limits: clients, clients of one user, requests of one client, bytes of a client's events, and bytes of all."""


class NoRoom(Exception):
    """A limit is reached; the text is for the log. Nothing was changed."""


class Event(NamedTuple):
    """An event: its number, which grows, the method of its notification, and its JSON."""

    number: int
    method: str
    data: bytes


@dataclass(frozen=True, slots=True)
class StoredRequest:
    """A start with the id of a client, which waits for the result.

    Args:
        request_id: its id.
        client_id: the client.
        user_id: the owner of the client.
        alive_at: when it began, or was last known to go on.
        identity: the lines of identity headers with which its execution is followed; Latin-1.
        process: the name of the process that follows it.
        execution_id: the execution; empty until the start has answered.
        path: the path of the playbook.
        is_over: True once the result is there.
    """

    request_id: str
    client_id: str
    user_id: int
    alive_at: float
    execution_id: str = ""
    path: str = ""
    is_over: bool = False
    identity: str = ""
    process: str = ""

    def encode(self) -> bytes:
        """Return the stored form."""
        return json.dumps(asdict(self), separators=(",", ":")).encode()

    @classmethod
    def decode(cls, data: bytes) -> StoredRequest:
        """Return the request of a stored form. Raises StoreError if it is malformed."""
        try:
            return cls(**json.loads(data))
        except (ValueError, TypeError):
            raise StoreError("a stored request can't be read") from None


class Kept(NamedTuple):
    """An event that is kept, as far as the rule for its removal needs it."""

    number: int
    method: str
    size: int


def removable(kept: Iterable[Kept], written: int, count: int, size: int) -> list[Kept]:
    """Return events whose removal makes room for `count` more events, and for `size` more bytes.

    First the oldest are taken that were written to a client (`written` is the number of the last one) or are no result.

    Raises:
        NoRoom: that does not make enough room.
    """
    found: list[Kept] = []
    for event in kept:
        if count <= 0 and size <= 0:
            break
        if event.number <= written or event.method != RESULT:
            found.append(event)
            count -= 1
            size -= event.size
    if count > 0 or size > 0:
        raise NoRoom("the results that wait for the client leave no room")
    return found


class LiveStore(Protocol):
    """Clients, requests and events, shared by all processes that open the same store.

    When a method that writes returns, its changes survive a crash; only `wrote` and `close_stream` may lose the latest.
    Every method raises StoreError if the store is not available.
    """

    async def open_client(self, client_id: str, user_id: int, now: float) -> int:
        """Note the use of a client, which belongs to the user who uses it first; return its owner. Raises NoRoom."""

    async def begin(self, request: StoredRequest) -> None:
        """Store a request. Raises NoRoom."""

    async def started(self, request_id: str, execution_id: str, path: str) -> None:
        """Note which execution a request has started."""

    async def keep(self, request_id: str, now: float) -> None:
        """Note that a request goes on."""

    async def followed_by(self, process: str) -> Sequence[StoredRequest]:
        """Return the requests that a process follows and that are not over."""

    async def abandon(self, request_id: str) -> None:
        """Delete a request that has started nothing."""

    async def request(self, request_id: str) -> StoredRequest | None:
        """Return a request, also one that is over."""

    async def waiting(self, client_id: str) -> Sequence[StoredRequest]:
        """Return the requests of a client that are not over, oldest first."""

    async def finish(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> bool:
        """Add the last events of a request, by method and JSON, once; return False if it was over. Raises NoRoom."""

    async def append(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> None:
        """Add events to the client of a request that is not over; `most` is the maximum that is kept. Raises NoRoom."""

    async def events(self, client_id: str, after: int) -> Sequence[Event]:
        """Return the first events of a client after a number: as many as are reasonable at once."""

    async def marks(self, client_id: str) -> tuple[int, int]:
        """Return the numbers of the last event of a client, and of the last one that was written to it."""

    def wrote(self, client_id: str, number: int) -> None:
        """Note that an event, and all before it, were written to a client."""

    async def open_stream(self, client_id: str, process: str) -> None:
        """Note that a process has an open stream of a client."""

    def close_stream(self, client_id: str, process: str, now: float) -> None:
        """Note that a process has no open stream of a client any more."""

    async def forget_streams(self, process: str) -> None:
        """Forget the streams of an earlier process of this name."""

    async def connected(self, client_id: str) -> bool:
        """Return whether any process has an open stream of a client."""

    async def purge_live(self, before: float) -> None:
        """Delete requests that began before a time, and clients that are not in use and were not used since."""


class SharedLive(Protocol):
    """A `LiveStore` that gateways on several machines share.

    `on_wake` is called for new events of a client that another process has stored, with their number; `on_connected`
    when such calls may have been missed; `on_adopted` with requests that this process is to follow from now on, since
    the one that did so is dead.
    """

    on_wake: Callable[[str, int], None]
    on_connected: Callable[[], None]
    on_adopted: Callable[[Sequence[StoredRequest]], None]
