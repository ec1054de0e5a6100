"""Live executions in the folder of the file store: a `LiveStore` that shares its environment and its writer."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from proxy.sessions.live import Event, StoredRequest
from proxy.sessions.live_records import LiveRecords, StoredClient

_WROTE_DELAY = 0.2
Operation = Callable[[Any], Any]


@dataclass(frozen=True, slots=True)
class Environment:
    """The file store, as far as this module uses it.

    Args:
        read: returns what a function finds in a transaction. Raises StoreError.
        write: returns the result of an operation once it is on the disk. Raises StoreError.
        write_in_background: writes without waiting, and ignores failures.
    """

    read: Callable[[Callable[[Any], Any]], Any]
    write: Callable[[Operation], Awaitable[Any]]
    write_in_background: Callable[[Operation], None]


class FileLive:
    """A `LiveStore`."""

    def __init__(self, environment: Environment, records: LiveRecords) -> None:
        self._environment = environment
        self._records = records
        self._written: dict[str, int] = {}
        self._in_background: dict[str, int] = {}
        self._timer: asyncio.TimerHandle | None = None

    async def open_client(self, client_id: str, user_id: int, now: float) -> int:
        write, records = self._environment.write, self._records
        return int(await write(lambda txn: records.open_client(txn, client_id, user_id, now)))

    async def begin(self, request: StoredRequest) -> None:
        await self._environment.write(lambda txn: self._records.begin(txn, request))

    async def started(self, request_id: str, execution_id: str, path: str) -> None:
        await self._environment.write(lambda txn: self._records.started(txn, request_id, execution_id, path))

    async def keep(self, request_id: str, now: float) -> None:
        await self._environment.write(lambda txn: self._records.keep(txn, request_id, now))

    async def followed_by(self, process: str) -> Sequence[StoredRequest]:
        found: Sequence[StoredRequest] = self._environment.read(lambda txn: self._records.followed_by(txn, process))
        return found

    async def abandon(self, request_id: str) -> None:
        await self._environment.write(lambda txn: self._records.drop_request(txn, request_id))

    async def request(self, request_id: str) -> StoredRequest | None:
        found: StoredRequest | None = self._environment.read(lambda txn: self._records.request(txn, request_id))
        return found

    async def waiting(self, client_id: str) -> Sequence[StoredRequest]:
        found: Sequence[StoredRequest] = self._environment.read(lambda txn: self._records.waiting_of(txn, client_id))
        return found

    async def finish(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> bool:
        append = self._records.append
        return bool(await self._environment.write(lambda txn: append(txn, request_id, events, most, last=True)))

    async def append(self, request_id: str, events: Sequence[tuple[str, bytes]], most: int) -> None:
        append = self._records.append
        await self._environment.write(lambda txn: append(txn, request_id, events, most, last=False))

    async def events(self, client_id: str, after: int) -> Sequence[Event]:
        found: Sequence[Event] = self._environment.read(lambda txn: self._records.events_after(txn, client_id, after))
        return found

    async def marks(self, client_id: str) -> tuple[int, int]:
        client: StoredClient | None = self._environment.read(lambda txn: self._records.client(txn, client_id))
        if client is None:
            return 0, 0
        return client.last, max(client.written, self._read_mark(client_id))

    def wrote(self, client_id: str, number: int) -> None:
        self._written[client_id] = max(number, self._written.get(client_id, 0))
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_WROTE_DELAY, self._write_marks)

    def _read_mark(self, client_id: str) -> int:
        return self._written.get(client_id) or self._in_background.get(client_id, 0)

    def _write_marks(self) -> None:
        """Write the numbers of the written events together; until that is done, they are read from memory."""
        self._timer = None
        written = self._in_background = self._written
        self._written = {}
        now = time.time()

        def note(txn: Any) -> None:
            for client_id, number in written.items():
                self._records.wrote(txn, client_id, number, now)

        if written:
            self._environment.write_in_background(note)

    async def open_stream(self, client_id: str, process: str) -> None:
        await self._environment.write(lambda txn: self._records.open_stream(txn, client_id, process))

    def close_stream(self, client_id: str, process: str, now: float) -> None:
        number = self._read_mark(client_id)  # the client may come back at once, to another process

        def note(txn: Any) -> None:
            self._records.wrote(txn, client_id, number, now)
            self._records.close_stream(txn, client_id, process, now)

        self._environment.write_in_background(note)

    async def forget_streams(self, process: str) -> None:
        await self._environment.write(lambda txn: self._records.forget_streams(txn, process))

    async def connected(self, client_id: str) -> bool:
        return bool(self._environment.read(lambda txn: self._records.connected(txn, client_id)))

    async def purge_live(self, before: float) -> None:
        await self._environment.write(lambda txn: self._records.purge(txn, before))

    def flush(self) -> None:
        """Write what is still collected."""
        if self._timer is not None:
            self._timer.cancel()
            self._write_marks()
