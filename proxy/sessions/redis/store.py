"""Sessions in a Redis or Valkey that any number of gateways share.

What two gateways could mix up is one Lua script each. A session that is used often is cached in this process, and its
end elsewhere is announced to it; see `cache.py` and `link.py`.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from proxy.observe.logs import get_logger
from proxy.sessions.redis.cache import ID, SessionCache
from proxy.sessions.redis.connection import RedisConnection, RedisSettings, Script
from proxy.sessions.redis.link import Link, Sender, cancelled
from proxy.sessions.redis.live import RedisLive
from proxy.sessions.redis.records import Record, person, read_record, sid_mark, used_text
from proxy.sessions.store import (
    EXECUTIONS_KEPT,
    MAX_ENDED,
    MAX_LOGOUTS,
    Logout,
    MustWait,
    Session,
    SessionEnded,
    StoreError,
    nobody_waits,
)

_BATCH = 500
_IDLE_BATCHES = 4
_MAX_WAITING = 20_000
_TOUCH_DELAY = 1.0
_TOUCHES_AT_ONCE = 500
_REFRESH_DELAY = 0.1
_COUNT_SECONDS = 5.0
_OWNERS_DELAY = 0.05
_LOOKS = 6
_MAX_NAME = 64
_TICKET_MARGIN = 60
_OLDEST_REDIS = (7, 0)


class RedisStore:
    """A `SessionStore`. Sessions are cached once `start` was called."""

    def __init__(self, settings: RedisSettings) -> None:
        """Prepare the store; Redis is reached when it is first needed. Raises StoreError."""
        self.settings = settings
        self._connection = RedisConnection(settings)
        self._script = Script("sessions", settings.prefix, "sessions", ("create", "use_logout"))
        self._limits = Script("limits", settings.prefix, "limits", ("count",))
        self._base = self._script.base.encode()
        self._sender = Sender(_MAX_WAITING, settings.local_grace)
        self.live = RedisLive(self._connection, self._sender)
        self.on_ended: Callable[[], None] = nobody_waits
        self.on_some_ended: Callable[[Collection[bytes]], None] = _ignore
        self.on_message: Callable[[bytes], None] = _ignore
        self._messages = f"{settings.prefix}messages".encode()
        channels = {self._base + b"ended": self._ended, self.live.channel: self.live.receive}
        channels[self._messages] = self._message
        self._link = Link(self._connection, channels, self._connected)
        self._cache = SessionCache(self._link, settings.recheck, settings.local_grace, settings.idle_timeout)
        self._touched: dict[bytes, float] = {}
        self._owners: dict[str, int] = {}
        self._idle_cursor = 0
        self._count = 0
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to cache sessions, and to receive what other processes announce."""
        self._link.start()
        if self._task is None:
            self._task = asyncio.get_running_loop().create_task(self._work())

    @property
    def caches(self) -> bool:
        """Whether cached sessions can be trusted now, as announcements arrive."""
        return time.monotonic() < self._link.trusted_until

    async def _run(self, operation: str, *arguments: Any) -> Any:
        return await self._connection.run(self._script, operation, MAX_ENDED, *arguments)

    async def _write(self, operation: str, *arguments: Any) -> Any:
        return await self._connection.write(self._script, operation, MAX_ENDED, *arguments)

    async def create(self, key: bytes, session: Session, *, max_per_user: int) -> Session:
        who = session.identity
        user_id, *ended = await self._write(
            "create",
            key, key[:ID].hex(), session.user_id, person(who.issuer, who.subject), sid_mark(who.issuer, who.sid),
            used_text(session.kept_until), repr(session.created_at), repr(session.expires_at),
            used_text(session.last_seen_at), max_per_user,
            session.encode(),
        )  # fmt: skip
        if user_id < 0:
            raise SessionEnded
        self._end([key[:ID], *map(_name_of, ended)])
        return session.with_user_id(user_id)

    async def get(self, key: bytes) -> Session | None:
        try:
            return self._cache.find(key)
        except MustWait:
            pass
        epoch, unchanged = self._cache.begin(key), False
        try:
            data = await self._connection.command("GET", self._name(key))
        except StoreError:
            await self._link.settled()
            session = self._cache.while_away(key)
            if session is None:
                raise
            return session
        finally:
            unchanged = self._cache.end(key)
        if data is None or data[: len(key)] != key:
            if self._cache.knows(key[:ID]):
                self._end([key[:ID]])  # its end was not announced
            return None
        return self._keep(read_record(data), epoch if unchanged else -1)

    def _keep(self, record: Record, epoch: int) -> Session:
        """Cache a session that was read."""
        return self._cache.put(record.key, self._with_use(record), record.data, epoch)

    def _with_use(self, record: Record) -> Session:
        """Return a session that was read, with a later use here that is not stored yet."""
        used, session = self._touched.get(record.key, 0.0), record.session
        return session.with_last_use(used) if used > session.last_seen_at else session

    def peek(self, key: bytes) -> Session | None:
        """Return a cached session. Raises MustWait, StoreError."""
        return self._cache.find(key)

    def _name(self, key: bytes) -> bytes:
        return self._base + b"s:" + key[:ID].hex().encode()

    def touch(self, key: bytes, now: float) -> None:
        self._cache.touch(key, now)
        if len(self._touched) < _MAX_WAITING or key in self._touched:
            self._touched[key] = now

    async def _write_touched(self) -> None:
        """Write the times of use; until that is done, they are read from memory."""
        while self._touched:
            some = dict(list(self._touched.items())[:_TOUCHES_AT_ONCE])
            words = [part for key, used in some.items() for part in (key[:ID].hex(), key, used_text(used))]
            await self._run("touch", *words)
            for key, used in some.items():
                if self._touched.get(key) == used:
                    del self._touched[key]

    async def end(self, key: bytes) -> bool:
        ended = bool(await self._write("finish", key[:ID].hex(), key))
        self._end([key[:ID]])
        return ended

    async def end_id(self, session_id: str, allowed: Callable[[Session], bool]) -> bool:
        if len(session_id) != 2 * ID or not session_id.isascii() or not session_id.isalnum():
            return False
        data = await self._connection.command("GET", self._base + b"s:" + session_id.lower().encode())
        if data is None:
            return False
        record = read_record(data)
        return allowed(record.session) and await self.end(record.key)

    async def end_user(self, user_id: int) -> int:
        total, last = 0, _BATCH
        while last == _BATCH:
            ended = await self._write("end_user", user_id, _BATCH)
            self._end([*map(_name_of, ended)])
            last = len(ended)
            total += last
        return total

    async def end_by_logout(self, logout: Logout) -> Sequence[Session] | None:
        new = await self._write("use_logout", logout.name, repr(logout.until), MAX_LOGOUTS)
        if not new:
            return None
        sid = sid_mark(logout.issuer, logout.sid) if logout.sid else b""
        by_person = b"1" if logout.subject else b"0"
        who, found, more = person(logout.issuer, logout.subject), [], True
        while more:
            some = await self._write("end_logout", who, sid, by_person, _BATCH)
            records = [read_record(data) for data in some]
            self._end([record.key[:ID] for record in records])
            found += [record.session for record in records]
            more = len(some) == _BATCH
        return found

    async def of_user(self, user_id: int) -> Sequence[Session]:
        names = await self._connection.command("ZRANGE", self._base + b"u:%d" % user_id, 0, -1)
        return await self._read(names)

    async def all(self, limit: int) -> Sequence[Session]:
        names = await self._connection.command("ZRANGE", self._base + b"expiry", 0, limit - 1)
        return await self._read(names)

    async def _read(self, names: Sequence[bytes]) -> list[Session]:
        """Return the sessions with these names that exist."""
        found: list[Session] = []
        for first in range(0, len(names), _BATCH):
            keys = [self._base + b"s:" + name for name in names[first : first + _BATCH]]
            values = await self._connection.command("MGET", *keys)
            found += [self._with_use(read_record(data)) for data in values if data is not None]
        return found

    def count(self) -> int:
        """Return the number of stored sessions, as it was some seconds ago."""
        return self._count

    async def purge(self, now: float, idle_timeout: float) -> int:
        total, last = 0, _BATCH
        while last == _BATCH:
            last = int(await self._run("purge", repr(now), _BATCH))
            total += last
        return total + (await self._purge_idle(now - idle_timeout) if idle_timeout else 0)

    async def _purge_idle(self, limit: float) -> int:
        """Check up to 2000 sessions, from where the last call stopped, and delete those that are idle too long."""
        await self._write_touched()
        total = 0
        for _ in range(_IDLE_BATCHES):
            words = (used_text(limit), self._idle_cursor, _BATCH)
            dead, seen = await self._run("purge_idle", *words)
            total += dead
            self._idle_cursor = self._idle_cursor + seen - dead if seen == _BATCH else 0
            if seen < _BATCH:
                break
        return total

    async def store_ticket(self, ticket: bytes, key: bytes, expires_at: float) -> None:
        at = max(1, math.ceil(expires_at)) + _TICKET_MARGIN  # the clock of Redis may differ
        await self._connection.command("SET", self._ticket(ticket), used_text(expires_at) + key, "EXAT", at)

    async def redeem_ticket(self, ticket: bytes, now: float) -> bytes | None:
        data: bytes | None = await self._connection.command("GETDEL", self._ticket(ticket))
        return data[18:] if data is not None and float(data[:18]) > now else None

    def _ticket(self, ticket: bytes) -> bytes:
        return self._base + b"t:" + ticket.hex().encode()

    def store_execution_owner(self, execution_id: str, user_id: int, now: float) -> None:
        if not 0 < len(execution_id) <= _MAX_NAME or execution_id in self._owners:
            return
        name, kept = self._owner(execution_id), int(EXECUTIONS_KEPT)

        async def store() -> None:
            await self._connection.command("SET", name, user_id, "NX", "EX", kept)
            self._owners.pop(execution_id, None)

        if self._sender.send(store):
            self._owners[execution_id] = user_id

    def _owner(self, execution_id: str) -> bytes:
        return self._base + b"o:" + execution_id.encode()

    async def execution_owner(self, execution_id: str, *, wait: bool = False) -> int | None:
        if not 0 < len(execution_id) <= _MAX_NAME:
            return None
        for look in range(_LOOKS if wait else 1):
            if look:  # another process may be about to store it
                await asyncio.sleep(_OWNERS_DELAY)
            own = self._owners.get(execution_id)  # before the answer, as its write may end meanwhile
            data = await self._connection.command("GET", self._owner(execution_id))
            if data is not None:
                return int(data)
            if own is not None:
                return own
        return None

    async def check(self) -> None:
        await self._run("touch")

    async def version(self) -> str:
        """Return the version of Redis, or the one that a Valkey is compatible with. Raises StoreError if too old."""
        version = _version(await self._connection.command("INFO", "server"))
        if tuple(int(part) for part in version.split(".")[:2]) < _OLDEST_REDIS:
            raise StoreError(f"{self._connection}: it has version {version}; 7.0 or newer is required")
        return version

    async def advice(self) -> str:
        """Return what the configuration of Redis lacks, for the operator; empty if nothing, or if it can't be read."""
        try:
            found = await self._connection.command("CONFIG", "GET", "maxmemory-policy", "appendonly", "appendfsync")
        except StoreError:
            return ""  # managed services do not show it
        words = [word.decode() for word in found] if isinstance(found, list) else []
        values = dict(zip(words[::2], words[1::2], strict=True))
        if values.get("maxmemory-policy", "noeviction") != "noeviction":
            return "set maxmemory-policy noeviction: else Redis drops sessions and results when it is full"
        if values.get("appendonly") == "no":
            return "set appendonly yes: else a restart of Redis loses sessions and results"
        if values.get("appendfsync", "always") != "always":
            return "appendfsync is not always: a crash of Redis loses up to a second"
        return ""

    async def count_requests(self, counted: Sequence[tuple[str, float, int]]) -> Sequence[float]:
        words = [word for name, each, count in counted for word in (name, repr(each), count)]
        return [float(left) for left in await self._connection.run(self._limits, "count", *words)]

    def broadcast(self, data: bytes) -> None:
        """Send a small message to all other processes, without waiting; it is lost if too many are waiting."""
        self._sender.send(lambda: self._connection.command("PUBLISH", self._messages, self.live.origin + data))

    def _message(self, data: bytes) -> None:
        size = len(self.live.origin)
        if data[:size] != self.live.origin:
            self.on_message(data[size:])

    # What other processes announce

    def _ended(self, data: bytes) -> None:
        self._end([_name_of(data[start : start + 2 * ID]) for start in range(0, len(data), 2 * ID)])

    def _end(self, names: Sequence[bytes]) -> None:
        """Forget sessions that have ended or changed, and look at what belongs to them."""
        for name in names:
            self._cache.drop(name)
        self.on_some_ended(names)

    def _connected(self) -> None:
        self._cache.stale |= self._cache.names()
        self.live.connected_again()
        self.on_ended()  # what has ended meanwhile was not announced

    # What runs by itself

    async def _work(self) -> None:
        touched_at = counted_at = 0.0
        while True:
            await asyncio.sleep(_REFRESH_DELAY)
            now = time.monotonic()
            try:
                if self._cache.stale:
                    await self._refresh()
                if now - touched_at > _TOUCH_DELAY:
                    touched_at = now
                    await self._write_touched()
                if now - counted_at > _COUNT_SECONDS:
                    counted_at = now
                    self._count = int(await self._connection.command("ZCARD", self._base + b"expiry"))
                    await self.live.beat()
            except StoreError as error:
                get_logger().debug("redis.work_failed", reason=str(error))
            except Exception:  # a defect in one round must not end all later ones
                get_logger().exception("redis.work_failed")

    async def _refresh(self) -> None:
        """Read cached sessions again before their time is over, so that no request waits for that."""
        stale, self._cache.stale = self._cache.stale, set()
        keys = self._cache.keys(stale)
        for first in range(0, len(keys), _BATCH):
            some = keys[first : first + _BATCH]
            epochs = [self._cache.begin(key) for key in some]
            found: dict[bytes, Any] = {}
            unchanged: list[bool] = []
            try:
                values = await self._connection.command("MGET", *map(self._name, some))
                found = dict(zip(some, values, strict=True))
            finally:
                unchanged = [self._cache.end(key) for key in some]
            for key, epoch, same in zip(some, epochs, unchanged, strict=True):
                data = found[key]
                if data is None or data[: len(key)] != key:
                    self._cache.drop(key[:ID])
                elif same:
                    self._keep(read_record(data), epoch)

    async def close(self) -> None:
        if self._task is not None:
            await cancelled(self._task)
        await self._link.close()
        self.live.flush()
        try:
            await self._write_touched()
            await self.live.finish_process()
        except StoreError as error:
            get_logger().warning("redis.close_failed", reason=str(error))
        await self._sender.flush()
        await self._connection.close()


def _ignore(_: object) -> None:
    """Do nothing: the first value of `on_message` and `on_some_ended`."""


def _name_of(session_id: bytes) -> bytes:
    """Return the beginning of a session's key, of which its id is the hexadecimal form."""
    return bytes.fromhex(session_id.decode())


def _version(info: Any) -> str:
    """Return the version in an INFO response: of Valkey the one of Redis that it is compatible with."""
    if isinstance(info, dict):
        found = info if "redis_version" in info else next(iter(info.values()), {})
        return str(found.get("redis_version", "0.0"))
    return next((line[14:] for line in bytes(info).decode().splitlines() if line.startswith("redis_version:")), "0.0")
