"""Live executions in Redis: a `LiveStore` that shares the connection of the redis store.

The scripts do what must be one step; which events make room for others is decided here, by the one rule of `live.py`.
New events are announced in the step that stores them, so that no gateway has to live until it has told the others.
"""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable, Sequence
from dataclasses import asdict
from typing import Any

from proxy.sessions.live import CLIENT_BYTES, CLIENTS_OF_USER, REQUESTS_OF_CLIENT, Event, Kept, NoRoom, StoredRequest
from proxy.sessions.live import removable as removable_events
from proxy.sessions.redis.connection import RedisConnection, Script
from proxy.sessions.redis.link import Sender
from proxy.sessions.store import StoreError

CLIENTS = 200_000
ALL_BYTES = 1024**3
"""The limits for all gateways together: clients, and bytes of all events."""
DEAD_SECONDS = 20
"""A process that was not seen for so long is dead, and another one follows its executions."""
_AT_ONCE, _BYTES_AT_ONCE = 64, 1024**2
_BATCH = 500
_WROTE_DELAY = 0.2
_TRIES = 20
_FULL, _ROOM = 0, 2


def _no_one(client_id: str, count: int) -> None:
    """Do nothing: the first value of `on_wake`."""


def _nothing(requests: Sequence[StoredRequest]) -> None:
    """Do nothing: the first value of `on_adopted`."""


def _everyone() -> None:
    """Do nothing: the first value of `on_connected`."""


class RedisLive:
    """A `LiveStore`.

    `on_wake` is called for new events of a client that another process has stored, `on_adopted` with requests that this
    process is to follow for one that is dead, `on_connected` when wakes may have been missed.
    """

    def __init__(self, connection: RedisConnection, sender: Sender) -> None:
        self._connection = connection
        self._sender = sender
        self._script = Script("live", connection.settings.prefix, "live", ("open_client", "begin", "append"))
        self.origin = secrets.token_hex(8).encode()
        self.channel = self._script.base.encode() + b"wake"
        self.on_wake: Callable[[str, int], None] = _no_one
        self.on_adopted: Callable[[Sequence[StoredRequest]], None] = _nothing
        self.on_connected: Callable[[], None] = _everyone
        self._process = ""
        self._open: set[str] = set()
        """The clients that have a stream in this process, so that an earlier end does not undo a later beginning."""
        self._written: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def _run(self, operation: str, *arguments: Any) -> Any:
        return await self._connection.run(self._script, operation, *arguments)

    async def _write(self, operation: str, *arguments: Any) -> Any:
        return await self._connection.write(self._script, operation, *arguments)

    async def open_client(self, client_id: str, user_id: int, now: float) -> int:
        number = int(time.time() * 1000)  # so that numbers grow, also for an id that was forgotten
        words = (client_id, user_id, repr(now), number, CLIENTS_OF_USER, CLIENTS)
        return int(_unless_full(await self._write("open_client", *words))[1])

    async def begin(self, request: StoredRequest) -> None:
        fields = [word for name, value in asdict(request).items() for word in (name, _text(value))]
        begun = repr(request.alive_at)
        words = (request.client_id, request.request_id, request.process, begun, REQUESTS_OF_CLIENT)
        _unless_full(await self._write("begin", *words, *fields))

    async def started(self, request_id: str, execution_id: str, path: str) -> None:
        await self._write("started", request_id, execution_id, path)

    async def keep(self, request_id: str, now: float) -> None:
        await self._run("keep", request_id, repr(now))

    async def followed_by(self, process: str) -> Sequence[StoredRequest]:
        self._process = process
        await self.beat()
        found = [_request(fields) for fields in await self._run("followed_by", process)]
        return [request for request in found if request.execution_id and not request.is_over]

    async def abandon(self, request_id: str) -> None:
        await self._run("abandon", request_id)

    async def request(self, request_id: str) -> StoredRequest | None:
        if not 0 < len(request_id) <= 128:
            return None
        fields = await self._connection.command("HGETALL", self._script.base + "r:" + request_id)
        return _request(fields) if fields else None

    async def waiting(self, client_id: str) -> Sequence[StoredRequest]:
        return [_request(fields) for fields in await self._run("waiting", client_id)]

    async def finish(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> bool:
        return await self._append(request_id, events, most, last=True)

    async def append(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> None:
        await self._append(request_id, events, most, last=False)

    async def _append(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int, *, last: bool) -> bool:
        limits = (most, CLIENT_BYTES, ALL_BYTES)
        added = [part for event in events for part in event]
        state: bytes | str = ""
        removed: list[bytes] = []
        for _ in range(_TRIES):
            words = (
                request_id,
                *limits,
                int(time.time() * 1000),
                self.origin,
                int(last),
                state,
                len(removed),
                *removed,
            )
            answer = _unless_full(await self._write("append", *words, *added))
            if answer[0] != _ROOM:
                return bool(answer[1])
            client, state, written, too_many, too_large, index = answer[1:7]
            seen = max(int(written), self._written.get(client.decode(), 0))
            removed = _removed(index, seen, int(too_many), int(too_large))
        raise StoreError(f"{self._connection}: the events of a client change too fast")

    async def events(self, client_id: str, after: int) -> Sequence[Event]:
        numbers, stored = await self._run("events", client_id, after, _AT_ONCE, _BYTES_AT_ONCE)
        found = []
        for number, value in zip(numbers, stored, strict=True):
            if value is not None:
                method, _, data = value.partition(b"\0")
                found.append(Event(int(number), method.decode(), data))
        return found

    async def marks(self, client_id: str) -> tuple[int, int]:
        last, written = await self._connection.command("HMGET", self._script.base + "c:" + client_id, "l", "w")
        return (0, 0) if last is None else (int(last), max(int(written), self._written.get(client_id, 0)))

    def wrote(self, client_id: str, number: int) -> None:
        self._written[client_id] = max(number, self._written.get(client_id, 0))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WROTE_DELAY, self._write_marks)

    def flush(self) -> None:
        """Have the numbers of the written events written now, as the store is about to close."""
        if self._timer is not None:
            self._timer.cancel()
            self._write_marks()

    def _write_marks(self) -> None:
        """Write the numbers of the written events together; until that is done, they are read from memory."""
        self._timer = None
        written = list(self._written.items())
        for first in range(0, len(written), _BATCH):
            self._write_some(written[first : first + _BATCH])

    def _write_some(self, some: Sequence[tuple[str, int]]) -> None:
        words = [word for pair in some for word in pair]

        async def write() -> None:
            await self._run("wrote", repr(time.time()), *words)
            for client_id, number in some:
                if self._written.get(client_id) == number:
                    del self._written[client_id]

        self._sender.send(write)

    async def open_stream(self, client_id: str, process: str) -> None:
        self._open.add(client_id)
        await self._run("open_stream", client_id, process)

    def close_stream(self, client_id: str, process: str, now: float) -> None:
        self._open.discard(client_id)
        number = self._written.get(client_id)  # the client may come back at once, to another process

        async def close() -> None:
            if number is not None:
                await self._run("wrote", repr(now), client_id, str(number))
            if client_id not in self._open:
                await self._run("close_stream", client_id, process, repr(now))
            if client_id in self._open:  # it was opened again in this moment
                await self._run("open_stream", client_id, process)

        self._sender.send(close)

    async def forget_streams(self, process: str) -> None:
        self._process = process
        await self.beat()
        while await self._run("forget_streams", process, _BATCH) == _BATCH:
            pass

    async def connected(self, client_id: str) -> bool:
        return bool(await self._connection.command("EXISTS", self._script.base + "st:" + client_id))

    async def purge_live(self, before: float) -> None:
        while await self._run("purge", repr(before), repr(time.time()), _BATCH) == _BATCH:
            pass

    # Other processes

    def receive(self, data: bytes) -> None:
        """Wake the streams of a client of whose new events another process tells."""
        origin, count, client_id = data.split(b" ", 2)
        if origin != self.origin:
            self.on_wake(client_id.decode(), int(count))

    def connected_again(self) -> None:
        """Wake all streams: what happened meanwhile was not announced."""
        self.on_connected()

    async def beat(self) -> None:
        """Tell the others that this process lives, and take over what a dead one has followed. Raises StoreError."""
        if self._process:
            found = [_request(fields) for fields in await self._run("beat", self._process, DEAD_SECONDS, _BATCH)]
            adopted = [request for request in found if request.execution_id and not request.is_over]
            if adopted:
                self.on_adopted(adopted)

    async def finish_process(self) -> None:
        """Leave what this process follows to the others. Raises StoreError."""
        if self._process:
            await self._run("retire", self._process)


def _unless_full(answer: Any) -> Any:
    """Return an answer of a script. Raises NoRoom for one that says what is full."""
    if answer[0] == _FULL:
        raise NoRoom(answer[1].decode())
    return answer


def _text(value: object) -> str:
    return str(int(value)) if isinstance(value, bool) else repr(value) if isinstance(value, float) else str(value)


def _request(fields: Any) -> StoredRequest:
    """Return the request of its fields, by name or in pairs. Raises StoreError if it is malformed."""
    values = fields if isinstance(fields, dict) else dict(zip(fields[::2], fields[1::2], strict=True))
    try:
        found = {name.decode(): value.decode() for name, value in values.items()}
        return StoredRequest(
            **{
                **found,
                "user_id": int(found["user_id"]),
                "alive_at": float(found["alive_at"]),
                "is_over": found["is_over"] == "1",
            }
        )
    except (ValueError, TypeError, KeyError):
        raise StoreError("a stored request can't be read") from None


def _removed(index: Sequence[bytes], written: int, too_many: int, too_large: int) -> list[bytes]:
    """Return the entries of the index that make room. Raises NoRoom."""
    entries = {}
    for entry in index:
        number, method, size = (entry.split(b":", 1)[0], *entry.split(b":", 1)[1].rsplit(b":", 1))
        entries[int(number)] = entry, Kept(int(number), method.decode(), int(size))
    removed = removable_events((kept for _, kept in entries.values()), written, too_many, too_large)
    return [entries[kept.number][0] for kept in removed]
