"""Sessions in LMDB. Lookups read memory that all processes share; `kill -9` at any time does not damage the store.

Writes that arrive together share one transaction and one sync. The map grows when it is full. A folder that others can
read, that is damaged, or that another program created, is rejected.
"""

from __future__ import annotations

import asyncio
import os
import stat
import threading
from collections import deque
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

import lmdb

from proxy.bounded import BoundedCache
from proxy.sessions import disk_errors
from proxy.sessions.live_file import Environment, FileLive
from proxy.sessions.live_records import LIVE_TABLES, LiveRecords
from proxy.sessions.records import TABLES, Records, pack, prepare, unpack
from proxy.sessions.store import Logout, Session, StoreError, nobody_waits

_FIRST_MAP = 16 * 1024**2
_LARGEST_MAP = 64 * 1024**3
_BATCH = 256
_MAX_WAITING = 20_000
_TOUCH_DELAY = 1.0
_OWNERS_DELAY = 0.05
_LOOKS = 6
_MAX_DECODED = 10_000
_MAX_DECODED_BYTES = 32 * 1024**2
_SIZE_FACTOR = 4
"""A decoded session takes about so many times the bytes of its stored form."""
_MAX_NAME = 64
_UNKNOWN = -1
"""No snapshot: their numbers begin with 0."""
_MAX_TABLES = len(TABLES) + len(LIVE_TABLES)
_FILES = {"data.mdb", "lock.mdb"}
T = TypeVar("T")
Operation = Callable[[Any], Any]


def open_environment(folder: Path) -> tuple[Any, Records]:
    """Open the folder of the store; create it with mode 0700 if it does not exist. Raises StoreError with a remedy."""
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        _inspect(folder)
        env = lmdb.open(str(folder), max_dbs=_MAX_TABLES, map_size=_FIRST_MAP, mode=0o600, max_readers=512)
    except (lmdb.Error, OSError) as error:
        raise _unusable(folder, error, "is damaged or not a session folder") from None
    try:
        _check_length(env, folder)
        env.reader_check()
        records = Records.open(env)
        prepare(env, records, str(folder))
    except (lmdb.Error, OSError) as error:
        env.close()
        raise _unusable(folder, error, "is damaged") from None
    except StoreError:
        env.close()
        raise
    return env, records


def _unusable(folder: Path, error: Exception, otherwise: str) -> StoreError:
    if isinstance(error, OSError) or disk_errors.is_system_error(error):
        return StoreError(f"{folder} can't be used: {disk_errors.describe(error)}")
    return StoreError(f"{folder} {otherwise} ({error}); move it away to start with an empty one")


def _inspect(folder: Path) -> None:
    mode = stat.S_IMODE(folder.stat().st_mode)
    if mode & 0o077:
        raise StoreError(f"{folder} can be read by other users (mode {mode:04o}); run: chmod 700 {folder}")
    others = sorted(set(os.listdir(folder)) - _FILES)
    if others:
        raise StoreError(f"{folder} contains other files ({others[0]}); set sessions.path to an empty folder")


def _check_length(env: Any, folder: Path) -> None:
    """Raise StoreError for a truncated file: reading beyond its end would crash the process."""
    size = (folder / "data.mdb").stat().st_size
    page = env.stat()["psize"]
    if size % page or size < 2 * page or size < (env.info()["last_pgno"] + 1) * page:
        raise StoreError(f"{folder} is damaged (data.mdb is truncated); move it away to start with an empty one")


class _Decoded:
    """A decoded session: the snapshot in which it was last read, its stored form, and the time of a later use."""

    __slots__ = ("data", "session", "snapshot", "used_at")

    def __init__(self, snapshot: int, data: bytes, used_at: float | None, session: Session) -> None:
        self.snapshot = snapshot
        self.data = data
        self.used_at = used_at
        self.session = session


class FileStore:
    """A `SessionStore` in a folder. Reads run in the thread of the event loop, writes in a separate thread."""

    def __init__(self, folder: Path, *, shared: bool = False) -> None:
        """Open the store. `shared`: other processes serve with it at the same time. Raises StoreError."""
        self.folder = folder
        self._looks = _LOOKS if shared else 1
        self._env, self._records = open_environment(folder)
        self._resize = threading.Lock()
        self._executor = ThreadPoolExecutor(max_workers=1, thread_name_prefix="sessions")
        self._waiting: deque[tuple[Operation, asyncio.Future[Any]]] = deque()
        self._writer: asyncio.Task[None] | None = None
        self._touched: dict[bytes, float] = {}
        self._touch_timer: asyncio.TimerHandle | None = None
        self._owners: dict[bytes, bytes] = {}
        self._new_owners: dict[bytes, bytes] = {}
        self._owners_timer: asyncio.TimerHandle | None = None
        self._idle_cursor = b""
        environment = Environment(self._read, self._write, self._write_in_background)
        self.live = FileLive(environment, LiveRecords.open(self._env, self._records.meta))
        self.on_ended: Callable[[], None] = nobody_waits
        self._decoded: BoundedCache[bytes, _Decoded] = BoundedCache(_MAX_DECODED, _MAX_DECODED_BYTES)

    async def create(self, key: bytes, session: Session, *, max_per_user: int) -> Session:
        stored: Session
        stored, ended = await self._write(lambda txn: self._records.create(txn, key, session, max_per_user))
        if ended:
            self.on_ended()
        return stored

    async def get(self, key: bytes) -> Session | None:
        return self.peek(key)

    def peek(self, key: bytes) -> Session | None:
        """Return the session as `get` does, without waiting; the same object while the stored session is unchanged.

        The session is read again only if anything was written to the store since, by any process: the number of the
        snapshot says so. That saves time, and `Transaction.get` lets the thread of the writer run first.
        """
        known, used_at = self._decoded[key], self._touched.get(key)
        try:
            transaction = self._env.begin()  # it ends with its object; `with` would cost as much as the lookup
            snapshot = transaction.id()
            if known is not None and known.snapshot == snapshot and known.used_at == used_at:
                return known.session
            data = transaction.get(key, None, self._records.sessions)
        except lmdb.Error:
            snapshot, data = _UNKNOWN, self._read(lambda txn: txn.get(key, db=self._records.sessions))
        if data is None:
            self._decoded.drop(key)
            return None
        if known is not None and known.data == data and known.used_at == used_at:
            known.snapshot = snapshot
            return known.session
        session = Session.decode(data)
        if used_at is not None:
            session = session.with_last_use(used_at)
        self._decoded.put(key, _Decoded(snapshot, data, used_at, session), _SIZE_FACTOR * len(data))
        return session

    def touch(self, key: bytes, now: float) -> None:
        if len(self._touched) >= _MAX_WAITING:
            return
        self._touched[key] = now
        if self._touch_timer is None:
            self._touch_timer = asyncio.get_running_loop().call_later(_TOUCH_DELAY, self.flush_touched)

    def flush_touched(self) -> None:
        """Write the times of use to the store; until that is done, they are read from memory."""
        self._touch_timer = None
        touched = dict(self._touched)

        def note(txn: Any) -> None:
            for key, now in touched.items():
                self._records.touch(txn, key, now)

        def forget() -> None:
            for key, now in touched.items():
                if self._touched.get(key) == now:
                    del self._touched[key]

        if touched:
            self._write_in_background(note, forget)

    async def end(self, key: bytes) -> bool:
        return bool(await self._end(lambda txn: self._records.drop(txn, key)))

    async def end_id(self, session_id: str, allowed: Callable[[Session], bool]) -> bool:
        def end(txn: Any) -> bool:
            key = self._records.by_id(txn, session_id)
            session = self._records.load(txn, key) if key else None
            if key is None or session is None or not allowed(session):
                return False
            return self._records.drop(txn, key)

        return bool(await self._end(end))

    async def end_user(self, user_id: int) -> int:
        def end(txn: Any) -> int:
            return sum(self._records.drop(txn, key) for key in list(self._records.keys_of_user(txn, user_id)))

        return int(await self._end(end))

    async def end_by_logout(self, logout: Logout) -> Sequence[Session] | None:
        ended: list[Session] | None = await self._end(lambda txn: self._records.end_by_logout(txn, logout))
        return ended

    async def of_user(self, user_id: int) -> Sequence[Session]:
        def find(txn: Any) -> list[Session]:
            found = (self._records.load(txn, key) for key in self._records.keys_of_user(txn, user_id))
            return [session for session in found if session is not None]

        return self._read(find)

    async def all(self, limit: int) -> Sequence[Session]:
        def find(txn: Any) -> list[Session]:
            entries = zip(range(limit), txn.cursor(db=self._records.sessions), strict=False)
            return [Session.decode(data) for _, (_, data) in entries]

        return self._read(find)

    def count(self) -> int:
        return int(self._read(lambda txn: txn.stat(self._records.sessions)["entries"]))

    async def purge(self, now: float, idle_timeout: float) -> int:
        total, more = 0, True
        while more:
            count, more = await self._write(lambda txn: self._records.purge(txn, now, _BATCH))
            total += count
        return total + (await self._purge_idle(now, idle_timeout) if idle_timeout else 0)

    async def _purge_idle(self, now: float, idle_timeout: float) -> int:
        """Check up to 2000 sessions, from where the last call stopped, and delete those that are idle too long."""

        def find(txn: Any) -> tuple[list[bytes], bytes]:
            cursor = txn.cursor(db=self._records.sessions)
            more, dead, seen = cursor.set_range(self._idle_cursor), [], 0
            while more and seen < 2000:
                if not Session.decode(cursor.value()).alive(now, idle_timeout):
                    dead.append(bytes(cursor.key()))
                more, seen = cursor.next(), seen + 1
            return dead, bytes(cursor.key()) if more else b""

        dead, self._idle_cursor = self._read(find)
        dead = [key for key in dead if key not in self._touched]
        return int(await self._write(lambda txn: sum(self._records.drop(txn, key) for key in dead))) if dead else 0

    async def store_ticket(self, ticket: bytes, key: bytes, expires_at: float) -> None:
        await self._write(lambda txn: txn.put(ticket, pack(expires_at) + key, db=self._records.tickets))

    async def redeem_ticket(self, ticket: bytes, now: float) -> bytes | None:
        key: bytes | None = await self._write(lambda txn: self._records.redeem_ticket(txn, ticket, now))
        return key

    def store_execution_owner(self, execution_id: str, user_id: int, now: float) -> None:
        name, data = execution_id.encode(), pack(now) + pack(user_id)
        if not 0 < len(name) <= _MAX_NAME or len(self._owners) >= _MAX_WAITING or name in self._owners:
            return
        self._owners[name] = self._new_owners[name] = data
        if self._owners_timer is None:
            self._owners_timer = asyncio.get_running_loop().call_later(_OWNERS_DELAY, self._flush_owners)

    def _flush_owners(self) -> None:
        """Write the owners of executions to the store; until that is done, they are read from memory."""
        self._owners_timer = None
        owners, self._new_owners = self._new_owners, {}

        def note(txn: Any) -> None:
            for name, data in owners.items():
                txn.put(name, data, overwrite=False, db=self._records.executions)

        def forget() -> None:
            for name in owners:
                del self._owners[name]

        if owners:
            self._write_in_background(note, forget)

    async def execution_owner(self, execution_id: str, *, wait: bool = False) -> int | None:
        name = execution_id.encode()
        if not 0 < len(name) <= _MAX_NAME:
            return None
        for look in range(self._looks if wait else 1):
            if look:  # another process may be about to store it
                await asyncio.sleep(_OWNERS_DELAY)
            data = self._read(lambda txn: txn.get(name, db=self._records.executions)) or self._owners.get(name)
            if data is not None:
                return unpack(data[8:])
        return None

    async def check(self) -> None:
        self._read(lambda txn: txn.get(b"format", db=self._records.meta))

    async def close(self) -> None:
        if self._touch_timer is not None:
            self._touch_timer.cancel()
            self.flush_touched()
        if self._owners_timer is not None:
            self._owners_timer.cancel()
            self._flush_owners()
        self.live.flush()
        while self._writer is not None and not self._writer.done():
            await asyncio.wait([self._writer])
        self._executor.shutdown(wait=True)
        self._env.close()

    def _read(self, find: Callable[[Any], T]) -> T:
        for _ in range(3):
            try:
                with self._env.begin(buffers=False) as txn:
                    return find(txn)
            except lmdb.MapResizedError:
                self._use_new_size()
            except lmdb.Error as error:
                raise StoreError(f"reading {self.folder}: {disk_errors.describe(error)}") from None
        raise StoreError(f"reading {self.folder}: its size keeps changing")

    def _use_new_size(self) -> None:
        """Use the new size of the map after another process has enlarged it."""
        with self._resize:
            self._env.set_mapsize(0)

    def _grow(self) -> None:
        with self._resize:
            size = self._env.info()["map_size"]
            if size >= _LARGEST_MAP:
                raise StoreError(f"{self.folder} contains {size} bytes, which is the limit")
            self._env.set_mapsize(size * 2)

    def _write_in_background(self, operation: Operation, then: Callable[[], object] = lambda: None) -> None:
        """Write without waiting, and ignore failures. `then` is called when the write has ended."""
        try:
            self._enqueue(operation).add_done_callback(lambda done: (done.cancelled() or done.exception(), then()))
        except StoreError:
            then()

    async def _end(self, operation: Operation) -> Any:
        """Write what may end sessions."""
        result = await self._enqueue(operation)
        self.on_ended()
        return result

    async def _write(self, operation: Operation) -> Any:
        return await self._enqueue(operation)

    def _enqueue(self, operation: Operation) -> asyncio.Future[Any]:
        if len(self._waiting) >= _MAX_WAITING:
            raise StoreError("too many writes are waiting")
        loop = asyncio.get_running_loop()
        future: asyncio.Future[Any] = loop.create_future()
        self._waiting.append((operation, future))
        if self._writer is None or self._writer.done():
            self._writer = loop.create_task(self._drain())
        return future

    async def _drain(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            batch = [self._waiting.popleft() for _ in range(min(_BATCH, len(self._waiting)))]
            outcomes = await self._run_batch(loop, [operation for operation, _ in batch])
            for (_, future), outcome in zip(batch, outcomes, strict=True):
                if future.done():
                    continue
                if isinstance(outcome, Exception):
                    future.set_exception(outcome)
                else:
                    future.set_result(outcome)

    async def _run_batch(self, loop: asyncio.AbstractEventLoop, operations: list[Operation]) -> list[Any]:
        """Return the result or the exception of each operation. A failed operation does not affect the others."""
        try:
            return await self._commit_growing(loop, operations)
        except Exception as error:
            if len(operations) == 1:
                return [error]
        return [(await self._run_batch(loop, [operation]))[0] for operation in operations]

    async def _commit_growing(self, loop: asyncio.AbstractEventLoop, operations: list[Operation]) -> list[Any]:
        while True:
            try:
                return await loop.run_in_executor(self._executor, self._commit, operations)
            except lmdb.MapFullError:
                self._grow()
            except lmdb.MapResizedError:
                self._use_new_size()
            except (lmdb.Error, OSError) as error:
                raise StoreError(f"writing {self.folder}: {disk_errors.describe(error)}") from None

    def _commit(self, operations: list[Operation]) -> list[Any]:
        with self._resize, self._env.begin(write=True) as txn:
            return [operation(txn) for operation in operations]
