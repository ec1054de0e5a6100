"""Live executions in the memory of this process: a `LiveStore` that uses dictionaries."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from proxy.sessions.live import (
    ALL_BYTES,
    CLIENT_BYTES,
    CLIENTS,
    CLIENTS_OF_USER,
    REQUESTS_OF_CLIENT,
    Event,
    Kept,
    NoRoom,
    StoredRequest,
    removable,
)

_AT_ONCE = 64


@dataclass(slots=True)
class _Client:
    user_id: int
    used_at: float
    last: int
    written: int
    size: int = 0
    events: deque[Event] = field(default_factory=deque)
    waiting: dict[str, None] = field(default_factory=dict)
    streams: set[str] = field(default_factory=set)

    @property
    def in_use(self) -> bool:
        return bool(self.waiting or self.streams)


class MemoryLive:
    """A `LiveStore`."""

    def __init__(self) -> None:
        self._clients: dict[str, _Client] = {}
        self._of_user: dict[int, dict[str, None]] = {}
        self._requests: dict[str, StoredRequest] = {}
        self._bytes = 0

    async def open_client(self, client_id: str, user_id: int, now: float) -> int:
        client = self._clients.get(client_id)
        if client is None:
            self._make_room_for_client(user_id)
            number = int(time.time() * 1000)
            client = self._clients[client_id] = _Client(user_id, now, number, number)
            self._of_user.setdefault(user_id, {})[client_id] = None
        if client.user_id == user_id:
            client.used_at = now
        return client.user_id

    def _make_room_for_client(self, user_id: int) -> None:
        own = self._of_user.get(user_id, {})
        if len(own) >= CLIENTS_OF_USER:
            away = next((each for each in own if not self._clients[each].in_use), None)
            if away is None:
                raise NoRoom(f"user {user_id} has {len(own)} clients")
            self._drop(away)
        if len(self._clients) >= CLIENTS:
            raise NoRoom(f"there are {CLIENTS} clients")

    def _drop(self, client_id: str) -> None:
        client = self._clients.pop(client_id)
        self._bytes -= client.size
        own = self._of_user[client.user_id]
        del own[client_id]
        if not own:
            del self._of_user[client.user_id]

    async def begin(self, request: StoredRequest) -> None:
        waiting = self._clients[request.client_id].waiting
        if len(waiting) >= REQUESTS_OF_CLIENT:
            raise NoRoom(f"client {request.client_id} waits for {REQUESTS_OF_CLIENT} results")
        waiting[request.request_id] = None
        self._requests[request.request_id] = request

    async def started(self, request_id: str, execution_id: str, path: str) -> None:
        request = self._requests.get(request_id)
        if request is not None:
            self._requests[request_id] = replace(request, execution_id=execution_id, path=path)

    async def keep(self, request_id: str, now: float) -> None:
        request = self._requests.get(request_id)
        if request is not None:
            self._requests[request_id] = replace(request, alive_at=now)

    async def followed_by(self, process: str) -> Sequence[StoredRequest]:
        return []

    async def abandon(self, request_id: str) -> None:
        request = self._requests.pop(request_id, None)
        if request is not None:
            self._no_longer_waits(request)

    def _no_longer_waits(self, request: StoredRequest) -> None:
        client = self._clients.get(request.client_id)
        if client is not None:
            client.waiting.pop(request.request_id, None)

    async def request(self, request_id: str) -> StoredRequest | None:
        return self._requests.get(request_id)

    async def waiting(self, client_id: str) -> Sequence[StoredRequest]:
        client = self._clients.get(client_id)
        return [] if client is None else [self._requests[each] for each in client.waiting]

    async def finish(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> bool:
        request = self._requests.get(request_id)
        if request is None or not self._append(request, events, most):
            return False
        self._requests[request_id] = replace(request, is_over=True)
        self._no_longer_waits(request)
        return True

    async def append(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> None:
        request = self._requests.get(request_id)
        if request is not None:
            self._append(request, events, most)

    def _append(self, request: StoredRequest, events: Sequence[tuple[str, bytes]], most: int) -> bool:
        client = self._clients.get(request.client_id)
        if client is None or request.is_over:
            return False
        size = sum(len(data) for _, data in events)
        if self._bytes + size > ALL_BYTES:
            raise NoRoom("the memory for events is used up")
        self._make_room(client, len(client.events) + len(events) - most, client.size + size - CLIENT_BYTES)
        for method, data in events:
            client.last = max(client.last + 1, int(time.time() * 1000))
            client.events.append(Event(client.last, method, data))
        client.size += size
        self._bytes += size
        return True

    def _make_room(self, client: _Client, count: int, size: int) -> None:
        if count <= 0 and size <= 0:
            return
        kept = [Kept(event.number, event.method, len(event.data)) for event in client.events]
        removed = removable(kept, client.written, count, size)
        numbers, freed = {event.number for event in removed}, sum(event.size for event in removed)
        client.events = deque(event for event in client.events if event.number not in numbers)
        client.size -= freed
        self._bytes -= freed

    async def events(self, client_id: str, after: int) -> Sequence[Event]:
        client = self._clients.get(client_id)
        if client is None or client.last <= after:
            return []
        return [event for event in client.events if event.number > after][:_AT_ONCE]

    async def marks(self, client_id: str) -> tuple[int, int]:
        client = self._clients.get(client_id)
        return (0, 0) if client is None else (client.last, client.written)

    def wrote(self, client_id: str, number: int) -> None:
        client = self._clients.get(client_id)
        if client is not None:
            client.written = max(client.written, number)

    async def open_stream(self, client_id: str, process: str) -> None:
        client = self._clients.get(client_id)
        if client is not None:
            client.streams.add(process)

    def close_stream(self, client_id: str, process: str, now: float) -> None:
        client = self._clients.get(client_id)
        if client is not None:
            client.streams.discard(process)
            client.used_at = now

    async def forget_streams(self, process: str) -> None:
        for client in self._clients.values():
            client.streams.discard(process)

    async def connected(self, client_id: str) -> bool:
        client = self._clients.get(client_id)
        return client is not None and bool(client.streams)

    async def purge_live(self, before: float) -> None:
        for request in [each for each in self._requests.values() if each.alive_at < before]:
            await self.abandon(request.request_id)
        for client_id in [n for n, each in self._clients.items() if each.used_at < before and not each.in_use]:
            self._drop(client_id)
