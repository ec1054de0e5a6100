"""The tables of live executions in the file store, and the operations on them within one transaction."""

from __future__ import annotations

import struct
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Any, NamedTuple

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
from proxy.sessions.records import pack, unpack
from proxy.sessions.store import StoreError

LIVE_TABLES = ("live_clients", "live_of_user", "live_requests", "live_waiting", "live_events", "live_streams")
_CLIENT = struct.Struct(">QQQQQQ")
_ALL = b"bytes of live events"
_AT_ONCE, _BYTES_AT_ONCE = 64, 1024**2
Transaction = Any


class StoredClient(NamedTuple):
    """A client: its owner, its last use, the numbers of its last event and of the last written one, and its events.

    `size` are the bytes of its `kept` events.
    """

    user_id: int
    used_at: int
    last: int
    written: int
    size: int
    kept: int


def _event_key(client_id: str, number: int) -> bytes:
    return client_id.encode() + b"\0" + pack(number)


@dataclass(frozen=True, slots=True)
class LiveRecords:
    """The open tables.

    Args:
        meta: the bytes of all events.
        clients: client id to `StoredClient`.
        of_user: user id and client id of each client.
        requests: request id to `StoredRequest`.
        waiting: client id and request id of each request that is not over.
        events: client id and number to method and JSON.
        streams: client id and process of each open stream.
    """

    meta: Any
    clients: Any
    of_user: Any
    requests: Any
    waiting: Any
    events: Any
    streams: Any

    @classmethod
    def open(cls, env: Any, meta: Any) -> LiveRecords:
        """Return the tables of an environment; create those that do not exist."""
        return cls(meta, *(env.open_db(name.encode()) for name in LIVE_TABLES))

    # Clients

    def client(self, txn: Transaction, client_id: str) -> StoredClient | None:
        """Return a client, or None."""
        data = txn.get(client_id.encode(), db=self.clients)
        return None if data is None else StoredClient(*_CLIENT.unpack(data))

    def _put_client(self, txn: Transaction, client_id: str, client: StoredClient) -> None:
        txn.put(client_id.encode(), _CLIENT.pack(*client), db=self.clients)

    def open_client(self, txn: Transaction, client_id: str, user_id: int, now: float) -> int:
        """Note the use of a client, and return its owner. Raises NoRoom."""
        known = self.client(txn, client_id)
        if known is None:
            self._make_room_for_client(txn, user_id)
            number = int(time.time() * 1000)  # so that numbers grow, also for an id that was forgotten
            known = StoredClient(user_id, int(now), number, number, 0, 0)
            txn.put(pack(user_id) + client_id.encode(), b"", db=self.of_user)
        if known.user_id == user_id:
            self._put_client(txn, client_id, known._replace(used_at=int(now)))
        return known.user_id

    def _make_room_for_client(self, txn: Transaction, user_id: int) -> None:
        own = [key[8:].decode() for key in self._keys(txn, self.of_user, pack(user_id))]
        if len(own) >= CLIENTS_OF_USER:
            away = next((each for each in own if not self._in_use(txn, each)), None)
            if away is None:
                raise NoRoom(f"user {user_id} has {len(own)} clients")
            self._drop_client(txn, away)
        if txn.stat(db=self.clients)["entries"] >= CLIENTS:
            raise NoRoom(f"there are {CLIENTS} clients")

    def _in_use(self, txn: Transaction, client_id: str) -> bool:
        prefix = client_id.encode() + b"\0"
        return any(True for table in (self.waiting, self.streams) for _ in self._keys(txn, table, prefix))

    def _drop_client(self, txn: Transaction, client_id: str) -> None:
        name, client = client_id.encode(), self.client(txn, client_id)
        for key in list(self._keys(txn, self.events, name + b"\0")):
            txn.delete(key, db=self.events)
        if client is not None:
            txn.delete(pack(client.user_id) + name, db=self.of_user)
            self._count(txn, -client.size)
        txn.delete(name, db=self.clients)

    # Requests

    def begin(self, txn: Transaction, request: StoredRequest) -> None:
        """Store a request. Raises NoRoom."""
        prefix = request.client_id.encode() + b"\0"
        if sum(1 for _ in self._keys(txn, self.waiting, prefix)) >= REQUESTS_OF_CLIENT:
            raise NoRoom(f"client {request.client_id} waits for {REQUESTS_OF_CLIENT} results")
        self._put_request(txn, request)
        txn.put(prefix + request.request_id.encode(), b"", db=self.waiting)

    def _put_request(self, txn: Transaction, request: StoredRequest) -> None:
        txn.put(request.request_id.encode(), request.encode(), db=self.requests)

    def started(self, txn: Transaction, request_id: str, execution_id: str, path: str) -> None:
        """Note which execution a request has started."""
        request = self.request(txn, request_id)
        if request is not None:
            self._put_request(txn, replace(request, execution_id=execution_id, path=path))

    def keep(self, txn: Transaction, request_id: str, now: float) -> None:
        """Note that a request goes on."""
        request = self.request(txn, request_id)
        if request is not None and not request.is_over:
            self._put_request(txn, replace(request, alive_at=now))

    def followed_by(self, txn: Transaction, process: str) -> list[StoredRequest]:
        """Return the requests that a process follows and that are not over."""
        found = (_readable(data) for _, data in txn.cursor(db=self.requests))
        return [each for each in found if each and each.process == process and each.execution_id and not each.is_over]

    def request(self, txn: Transaction, request_id: str) -> StoredRequest | None:
        """Return a request, or None."""
        data = txn.get(request_id.encode(), db=self.requests) if 0 < len(request_id) <= 128 else None
        return None if data is None else StoredRequest.decode(data)

    def waiting_of(self, txn: Transaction, client_id: str) -> list[StoredRequest]:
        """Return the requests of a client that are not over, oldest first."""
        prefix = client_id.encode() + b"\0"
        found = (self.request(txn, key[len(prefix) :].decode()) for key in self._keys(txn, self.waiting, prefix))
        return sorted((each for each in found if each is not None), key=lambda each: each.alive_at)

    def drop_request(self, txn: Transaction, request_id: str) -> None:
        """Delete a request."""
        request = _readable(txn.pop(request_id.encode(), db=self.requests) or b"")
        if request is not None:
            self._no_longer_waits(txn, request)

    def _no_longer_waits(self, txn: Transaction, request: StoredRequest) -> None:
        txn.delete(request.client_id.encode() + b"\0" + request.request_id.encode(), db=self.waiting)

    # Events

    def append(
        self, txn: Transaction, request_id: str, events: Sequence[tuple[str, bytes]], most: int, *, last: bool
    ) -> bool:
        """Add events to the client of a request that is not over; `last`: they end it.

        Returns False if it is over or unknown. Raises NoRoom.
        """
        request = self.request(txn, request_id)
        client = self.client(txn, request.client_id) if request is not None else None
        if request is None or client is None or request.is_over:
            return False
        size = sum(len(data) for _, data in events)
        if self._all_bytes(txn) + size > ALL_BYTES:
            raise NoRoom("the space for events is used up")
        client = self._with_room(txn, request.client_id, client, len(events), size, most)
        number = client.last
        for method, data in events:
            number = max(number + 1, int(time.time() * 1000))
            txn.put(_event_key(request.client_id, number), method.encode() + b"\0" + data, db=self.events)
        client = client._replace(last=number, size=client.size + size, kept=client.kept + len(events))
        self._put_client(txn, request.client_id, client)
        self._count(txn, size)
        if last:
            self._put_request(txn, replace(request, is_over=True))
            self._no_longer_waits(txn, request)
        return True

    def _with_room(
        self, txn: Transaction, client_id: str, client: StoredClient, count: int, size: int, most: int
    ) -> StoredClient:
        """Return the client after the removal of events that leave no room for new ones."""
        too_many, too_large = client.kept + count - most, client.size + size - CLIENT_BYTES
        if too_many <= 0 and too_large <= 0:
            return client
        freed = 0
        for event in removable(self._kept(txn, client_id), client.written, too_many, too_large):
            txn.delete(_event_key(client_id, event.number), db=self.events)
            freed += event.size
            client = client._replace(size=client.size - event.size, kept=client.kept - 1)
        self._count(txn, -freed)
        return client

    def _kept(self, txn: Transaction, client_id: str) -> Iterator[Kept]:
        for event in list(self._events(txn, client_id, 0)):
            yield Kept(event.number, event.method, len(event.data))

    def _events(self, txn: Transaction, client_id: str, after: int) -> Iterator[Event]:
        prefix, cursor = client_id.encode() + b"\0", txn.cursor(db=self.events)
        more = cursor.set_range(_event_key(client_id, after + 1))
        while more and cursor.key().startswith(prefix):
            method, _, data = bytes(cursor.value()).partition(b"\0")
            yield Event(unpack(cursor.key()[len(prefix) :]), method.decode(), data)
            more = cursor.next()

    def events_after(self, txn: Transaction, client_id: str, after: int) -> list[Event]:
        """Return the first events of a client after a number."""
        found, size = [], 0
        for event in self._events(txn, client_id, after):
            found.append(event)
            size += len(event.data)
            if len(found) >= _AT_ONCE or size >= _BYTES_AT_ONCE:
                break
        return found

    def wrote(self, txn: Transaction, client_id: str, number: int, now: float) -> None:
        """Note that an event, and all before it, were written to a client."""
        client = self.client(txn, client_id)
        if client is not None and number > client.written:
            self._put_client(txn, client_id, client._replace(written=number, used_at=int(now)))

    def _all_bytes(self, txn: Transaction) -> int:
        data = txn.get(_ALL, db=self.meta)
        return 0 if data is None else unpack(data)

    def _count(self, txn: Transaction, change: int) -> None:
        txn.put(_ALL, pack(max(0, self._all_bytes(txn) + change)), db=self.meta)

    # Streams

    def open_stream(self, txn: Transaction, client_id: str, process: str) -> None:
        """Note that a process has an open stream of a client."""
        txn.put(f"{client_id}\0{process}".encode(), b"", db=self.streams)

    def close_stream(self, txn: Transaction, client_id: str, process: str, now: float) -> None:
        """Note that a process has no open stream of a client any more."""
        txn.delete(f"{client_id}\0{process}".encode(), db=self.streams)
        client = self.client(txn, client_id)
        if client is not None:
            self._put_client(txn, client_id, client._replace(used_at=int(now)))

    def forget_streams(self, txn: Transaction, process: str) -> None:
        """Forget the streams of an earlier process of this name."""
        ending = b"\0" + process.encode()
        for key in [bytes(key) for key, _ in txn.cursor(db=self.streams) if bytes(key).endswith(ending)]:
            txn.delete(key, db=self.streams)

    def connected(self, txn: Transaction, client_id: str) -> bool:
        """Return whether any process has an open stream of a client."""
        return any(True for _ in self._keys(txn, self.streams, client_id.encode() + b"\0"))

    def purge(self, txn: Transaction, before: float) -> None:
        """Delete requests that began before a time, and clients that were used last then and are not in use."""
        found = [(bytes(name).decode(), _readable(data)) for name, data in txn.cursor(db=self.requests)]
        old = [name for name, request in found if request is None or request.alive_at < before]
        for request_id in old:
            self.drop_request(txn, request_id)
        clients = [(bytes(name).decode(), bytes(data)) for name, data in txn.cursor(db=self.clients)]
        for client_id, data in clients:
            used_at = StoredClient(*_CLIENT.unpack(data)).used_at
            if used_at < before and not self._in_use(txn, client_id):
                self._drop_client(txn, client_id)

    def _keys(self, txn: Transaction, table: Any, prefix: bytes) -> Iterator[bytes]:
        cursor = txn.cursor(db=table)
        found = cursor.set_range(prefix)
        while found and cursor.key().startswith(prefix):
            yield bytes(cursor.key())
            found = cursor.next()


def _readable(data: bytes) -> StoredRequest | None:
    """Return a request; None if it can't be read, so that one damaged record stops nothing."""
    try:
        return StoredRequest.decode(bytes(data))
    except StoreError:
        return None
