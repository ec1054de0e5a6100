"""What all stores do alike: sessions, and the logouts that an identity provider tells."""

from __future__ import annotations

import asyncio
import itertools
import json
import time
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest

from proxy.http.credentials import key_of
from proxy.sessions import file, memory, records
from proxy.sessions.file import FileStore, open_environment
from proxy.sessions.memory import MemoryStore
from proxy.sessions.redis import store as redis_store
from proxy.sessions.redis.store import RedisStore
from proxy.sessions.store import (
    Identity,
    Logout,
    Session,
    SessionEnded,
    SessionStore,
    StoreError,
    new_session,
    new_token,
)

ISSUER = "https://tenant.test/"


@pytest.fixture(params=["memory", "file", "redis", "redis caching"])
async def store(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncIterator[SessionStore]:
    """An empty store of each kind."""
    opened: SessionStore
    if request.param == "memory":
        opened = MemoryStore()
    elif request.param == "file":
        opened = FileStore(tmp_path / "sessions")
    else:
        opened = RedisStore(request.getfixturevalue("redis_settings"))
        if request.param == "redis caching":
            opened.start()
            await eventually_connected(opened)
    yield opened
    await opened.close()


async def eventually_connected(store: RedisStore) -> None:
    """Wait until a store caches sessions."""
    async with asyncio.timeout(5):
        while not store.caches:  # noqa: ASYNC110 - the store has no such event
            await asyncio.sleep(0.01)


async def add(
    store: SessionStore, subject: str, sid: str = "", issuer: str = ISSUER, most: int = 0, key: bytes | None = None
) -> bytes:
    """The key of a new session."""
    key = key or key_of(new_token())
    assert key is not None
    identity = Identity(issuer, subject, f"{subject}@x.org", subject, "tenant.test", sid=sid)
    wanted = new_session(key, identity, now=time.time(), lifetime=600, ip="127.0.0.1", user_agent="tests")
    await store.create(key, wanted, max_per_user=most)
    return key


def told(subject: str = "", sid: str = "", name: bytes = b"1", until: float = 2e9) -> Logout:
    """A logout of the issuer's."""
    return Logout(ISSUER, subject, sid, name * 32, until)


async def left(store: SessionStore, *keys: bytes) -> list[bool]:
    """Which of the sessions are still there."""
    return [await store.get(key) is not None for key in keys]


async def test_a_logout_of_a_user_ends_all_of_the_users_and_no_others(store: SessionStore) -> None:
    keys = [await add(store, "anna"), await add(store, "anna", "s1"), await add(store, "ben")]
    keys.append(await add(store, "anna", issuer="https://other.test/"))
    ended = await store.end_by_logout(told("anna"))
    assert [session.identity.subject for session in ended or ()] == ["anna", "anna"]
    assert await left(store, *keys) == [False, False, True, True]


async def test_a_logout_of_a_sid_ends_those_that_began_with_it(store: SessionStore) -> None:
    keys = [await add(store, "anna", "s1"), await add(store, "anna", "s2"), await add(store, "anna")]
    keys.append(await add(store, "eve", "s1", issuer="https://other.test/"))
    assert len(await store.end_by_logout(told(sid="s1")) or ()) == 1
    assert await left(store, *keys) == [False, True, True, True]


async def test_a_logout_of_a_user_and_a_sid_ends_what_may_be_meant(store: SessionStore) -> None:
    keys = [await add(store, "anna", "s1"), await add(store, "anna", "s2"), await add(store, "anna")]
    keys.append(await add(store, "eve", "s1"))
    await store.end_by_logout(told("anna", "s1"))
    assert await left(store, *keys) == [False, True, False, True]


async def test_a_logout_of_nobody_here_is_none_the_less_remembered(store: SessionStore) -> None:
    assert await store.end_by_logout(told("nobody")) == []
    assert await store.end_by_logout(told("nobody")) is None


async def test_repeated_logout_ends_nothing(store: SessionStore) -> None:
    await store.end_by_logout(told("anna"))
    key = await add(store, "anna")
    assert await store.end_by_logout(told("anna")) is None
    assert await left(store, key) == [True]


async def test_concurrent_repeated_logout_counts_once(store: SessionStore) -> None:
    await add(store, "anna")
    outcomes = await asyncio.gather(*(store.end_by_logout(told("anna")) for _ in range(8)))
    assert sorted(outcome is None for outcome in outcomes) == [False] + [True] * 7


async def test_logouts_are_forgotten_when_their_time_is_over(store: SessionStore) -> None:
    now = time.time()
    await store.end_by_logout(told("anna", until=now + 10))
    await store.purge(now + 5, 0)
    assert await store.end_by_logout(told("anna")) is None
    await store.purge(now + 20, 0)
    assert await store.end_by_logout(told("anna")) == []


async def test_sessions_end_also_when_no_more_logouts_can_be_remembered(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    for module in (memory, records, redis_store):
        monkeypatch.setattr(module, "MAX_LOGOUTS", 2)
    await store.end_by_logout(told("anna", name=b"1"))
    await store.end_by_logout(told("anna", name=b"2"))
    key = await add(store, "anna")
    ended = await store.end_by_logout(told("anna", name=b"3"))
    assert ended is not None
    assert (len(ended), await left(store, key)) == (1, [False])
    assert await store.end_by_logout(told("anna", name=b"1")) is None
    assert await store.end_by_logout(told("anna", name=b"3")) == []


async def test_beyond_the_limit_of_a_user_the_oldest_session_ends(store: SessionStore) -> None:
    keys = [await add(store, "anna", most=2) for _ in range(3)]
    other = await add(store, "ben", most=2)
    assert await left(store, *keys, other) == [False, True, True, True]


async def test_sessions_of_one_millisecond_end_in_the_order_of_their_creation(
    store: SessionStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = itertools.count(1_764_000_000_000_100)
    monkeypatch.setattr(time, "time", lambda: next(clock) / 1e6)
    keys = [await add(store, "anna", most=2, key=bytes([9 - age]) * 32) for age in range(4)]
    assert await left(store, *keys) == [False, False, True, True]


def entries(folder: Path, *tables: str) -> list[int]:
    """How many entries tables of a closed store have."""
    env, records = open_environment(folder)
    with env.begin() as txn:
        found = [txn.stat(getattr(records, table))["entries"] for table in tables]
    env.close()
    return found


async def test_a_session_is_in_no_index_after_its_end(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "sessions")
    key = await add(store, "anna", "s1")
    tables = ("sessions", "by_user", "expiry", "by_sid")
    await store.close()
    assert entries(store.folder, *tables) == [1, 1, 1, 1]
    store = FileStore(store.folder)
    await store.end(key)
    await store.close()
    assert entries(store.folder, *tables) == [0, 0, 0, 0]


async def test_a_session_that_was_stored_before_there_was_a_sid_can_be_read() -> None:
    before = {
        "id": "00", "user_id": 1, "created_at": 1.0, "expires_at": 2.0, "last_seen_at": 1.0, "ip": "", "user_agent": "",
        "identity": {
            "issuer": ISSUER, "subject": "anna", "email": "", "display_name": "anna", "tenant": "t", "claims": {},
        },
    }  # fmt: skip
    session = Session.decode(json.dumps(before).encode())
    assert (session.identity.sid, json.loads(session.encode())) == ("", before)


async def test_a_folder_that_was_made_before_there_were_logouts_is_used_on(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("proxy.sessions.file.TABLES", records.TABLES[:7])
    with monkeypatch.context() as before:
        before.setattr(records.Records, "open", classmethod(_open_as_before))
        store = FileStore(tmp_path / "sessions")
        key = await add(store, "anna")
        await store.close()
    monkeypatch.undo()
    store = FileStore(tmp_path / "sessions")
    assert await left(store, key) == [True]
    assert len(await store.end_by_logout(told("anna")) or ()) == 1
    await store.close()


def _open_as_before(kind: type[records.Records], env: object) -> records.Records:
    made = [env.open_db(name.encode()) for name in records.TABLES[:7]]  # type: ignore[attr-defined]
    return kind(*[*made, made[0], made[0], made[0]])


def of_noetl(key: bytes, user_id: int = 7, kept_for: float = 600.0) -> Session:
    """A session that NoETL keeps for some seconds."""
    who, now = Identity("noetl", str(user_id), "", "", ""), time.time()
    made = new_session(key, who, now=now, lifetime=60, ip="127.0.0.1", user_agent="tests")
    return replace(made, user_id=user_id, verified_at=now, kept_until=now + kept_for)


async def test_a_session_of_noetl_keeps_its_user_and_can_be_renewed(store: SessionStore) -> None:
    key = bytes(32)
    for _ in range(2):
        assert (await store.create(key, of_noetl(key), max_per_user=1)).user_id == 7
    assert [session.user_id for session in await store.of_user(7)] == [7]
    assert len(await store.all(10)) == 1


@pytest.mark.parametrize("end", ["end", "end_id", "end_user", "purge"])
async def test_a_session_of_noetl_that_ended_here_is_not_created_again(store: SessionStore, end: str) -> None:
    key, other = bytes(32), bytes(31) + b"1"
    made = await store.create(key, of_noetl(key), max_per_user=0)
    if end == "end":
        await store.end(key)
    elif end == "end_id":
        assert await store.end_id(made.id, lambda session: True)
    elif end == "end_user":
        assert await store.end_user(7) == 1
    else:
        await store.purge(time.time() + 120, 0)  # the gateway's own limit is over, NoETL's is not
    with pytest.raises(SessionEnded):
        await store.create(key, of_noetl(key), max_per_user=0)
    await store.create(other, of_noetl(other), max_per_user=0)
    assert await left(store, key, other) == [False, True]


async def test_the_end_of_a_session_is_forgotten_when_noetl_has_forgotten_the_session(store: SessionStore) -> None:
    key = bytes(32)
    await store.create(key, of_noetl(key, kept_for=300), max_per_user=0)
    await store.end(key)
    await store.purge(time.time() + 400, 0)
    assert (await store.create(key, of_noetl(key), max_per_user=0)).user_id == 7


async def test_a_logout_at_the_identity_provider_ends_sessions_of_noetl(store: SessionStore) -> None:
    key = bytes(32)
    who = Identity(ISSUER, "anna", "", "", "", sid="s1")
    await store.create(key, replace(of_noetl(key), identity=who), max_per_user=0)
    assert len(await store.end_by_logout(told("anna")) or ()) == 1
    with pytest.raises(SessionEnded):
        await store.create(key, replace(of_noetl(key), identity=who), max_per_user=0)


async def test_all_ends_that_are_kept_have_a_limit(store: SessionStore, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in (memory, records, redis_store):
        monkeypatch.setattr(module, "MAX_ENDED", 2)
    keys = [bytes(31) + bytes([number]) for number in range(3)]
    for key in keys:
        await store.create(key, of_noetl(key), max_per_user=0)
        await store.end(key)
    with pytest.raises(SessionEnded):
        await store.create(keys[2], of_noetl(keys[2]), max_per_user=0)
    await store.create(keys[0], of_noetl(keys[0]), max_per_user=0)


@pytest.mark.parametrize(
    "text", ["", '","last_seen_at":1,"', ',"last_seen_at":9e9,', "\\", "é\ud83d", ',"last_seen_at":']
)
def test_a_use_changes_the_time_of_a_stored_session_and_nothing_else(text: str) -> None:
    claims = {"last_seen_at": 3, text: {"last_seen_at": 4, "a": [text, ',"last_seen_at":5,']}}
    who = Identity(ISSUER, text, text, text, "t", claims, text)
    session = Session("00", 1, who, 1000.5, 2000.5, 1000.5, text, text)
    seen = Session.encoded_with_use(session.encode(), 1234.25)
    assert seen is not None
    assert Session.decode(seen) == session.with_last_use(1234.25)
    assert seen == session.with_last_use(1234.25).encode()
    assert Session.encoded_with_use(seen, 1234.0) is None


@pytest.mark.parametrize("data", [b"", b"{}", b'{,"last_seen_at":', b'{,"last_seen_at":x,'])
def test_what_is_no_session_is_not_used_again(data: bytes) -> None:
    assert Session.encoded_with_use(data, 1.0) is None


async def test_a_use_is_noted_and_does_not_bring_an_ended_session_back(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "sessions")
    used, ended = await add(store, "anna"), await add(store, "anna")
    for key in (used, ended):
        store.touch(key, 5e9)
    await store.end(ended)
    await store.close()
    store = FileStore(tmp_path / "sessions")
    session = await store.get(used)
    assert session is not None
    assert (session.last_seen_at, await left(store, ended)) == (5e9, [False])
    await store.close()


async def test_a_use_counts_also_while_it_is_being_written(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "sessions")
    key = await add(store, "anna")
    store.touch(key, 2e9)
    store.flush_touched()
    session = store.peek(key)
    await store.close()
    assert session is not None
    assert session.last_seen_at == 2e9


async def test_a_purge_forgets_all_that_is_over_however_much_it_is(tmp_path: Path) -> None:
    store = FileStore(tmp_path / "sessions")
    key = await add(store, "anna")
    await asyncio.gather(*(store.store_ticket(number.to_bytes(32), key, 1e9) for number in range(1000)))
    await asyncio.gather(*(store.end_by_logout(told("ben", name=b"%c" % number, until=1e9)) for number in range(256)))
    await store.end_by_logout(told("ben", name=b"ab", until=1e9))
    assert await store.purge(time.time(), 0) == 0
    assert await left(store, key) == [True]
    await store.close()
    assert entries(store.folder, "tickets", "logouts") == [0, 0]


@pytest.mark.parametrize("shared", [True, False])
async def test_owner_that_another_process_is_storing_is_waited_for_where_stores_are_shared(
    tmp_path: Path, shared: bool
) -> None:
    store = FileStore(tmp_path / "sessions", shared=shared)
    asyncio.get_running_loop().call_later(0.08, store.store_execution_owner, "7", 5, time.time())
    assert await store.execution_owner("7") is None
    assert await store.execution_owner("7", wait=True) == (5 if shared else None)
    assert await store.execution_owner("8", wait=True) is None
    await store.close()


async def test_an_execution_keeps_the_user_who_started_it(store: SessionStore) -> None:
    for user_id in (7, 8):
        store.store_execution_owner("42", user_id, 1_800_000_000.0)
        assert await store.execution_owner("42") == 7


async def test_an_execution_keeps_its_user_when_the_file_is_opened_again(tmp_path: Path) -> None:
    for user_id in (7, 8, 9):
        store = FileStore(tmp_path / "sessions")
        store.store_execution_owner("42", user_id, 1_800_000_000.0)
        assert await store.execution_owner("42") == 7
        await store.close()


async def test_memory_of_decoded_sessions_is_bounded_in_bytes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file, "_MAX_DECODED_BYTES", 64 * 1024)
    store = FileStore(tmp_path / "sessions")
    keys = await asyncio.gather(*(add(store, f"user {number}") for number in range(300)))
    first = store.peek(keys[0])
    assert store.peek(keys[0]) is first
    assert all(store.peek(key) is not None for key in keys)
    assert store.peek(keys[-1]) is store.peek(keys[-1])
    assert store.peek(keys[0]) is not first
    assert store.peek(keys[0]) == first
    await store.close()


async def test_full_memory_store_accepts_no_session_and_has_room_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(memory, "_MAX_BYTES", 5000)
    store = MemoryStore()
    keys = [await add(store, "user 0")]
    first = store.peek(keys[0])
    assert first is not None
    keys += [await add(store, f"user {number}") for number in range(1, 5000 // len(first.encode()) + 1)]
    with pytest.raises(StoreError, match="the memory store is full"):
        await add(store, "anna")
    await store.end(keys[0])
    await add(store, "anna")
