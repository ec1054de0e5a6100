"""When an event stream may end, and what ends it."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

import pytest

from proxy.relay.event_streams import Drain, EventStream, is_event_stream
from proxy.sessions.store import StoreError


def opened(drain: Drain, session: bytes = b"key") -> tuple[EventStream, list[str]]:
    """Return an event stream and a list that grows each time it is woken."""
    woken: list[str] = []
    return drain.open(lambda: woken.append("woken"), session), woken


@pytest.mark.parametrize(
    ("parts", "complete"),
    [
        ((), True),
        ((b"data: 1\n\n",), True),
        ((b"data: 1\n",), False),
        ((b"data: 1\n", b"\n"), True),
        ((b"data: 1\r\n\r\n",), True),
        ((b"data: 1\r\n", b"\r", b"\n"), True),
        ((b"data: 1\r\n\r",), False),
        ((b"data: 1\r\r",), True),
        ((b"data: 1\n\nd",), False),
        ((b"\n", b"d", b"\n"), False),
        ((b"data: 1\n\n", b""), True),
    ],
)
def test_stream_ends_only_between_two_events(parts: tuple[bytes, ...], complete: bool) -> None:
    drain = Drain()
    stream, _ = opened(drain)
    for part in parts:
        stream.forwarded(part)
    assert not stream.should_end, "nothing ends it yet"
    drain.start()
    assert stream.should_end is complete


def test_drain_wakes_all_streams_and_their_last_event_spreads_the_reconnects() -> None:
    drain = Drain()
    streams = [opened(drain) for _ in range(3)]
    drain.start()
    assert [woken for _, woken in streams] == [["woken"]] * 3
    last = [stream.farewell() for stream, _ in streams for _ in range(50)]
    times = [int(event.removeprefix(b"retry: ").removesuffix(b"\n\n")) for event in last]
    assert all(500 <= each <= 5000 for each in times)
    assert len(set(times)) > 100


def test_stream_of_an_ended_session_ends_without_a_time_to_reconnect() -> None:
    stream, woken = opened(Drain())
    stream.session_ended()
    assert (stream.should_end, stream.farewell(), woken) == (True, b"", ["woken"])


def test_closed_stream_is_counted_once_and_not_woken() -> None:
    drain = Drain()
    (first, woken), _ = opened(drain), opened(drain)
    assert drain.streams == 2
    first.close()
    first.close()
    assert drain.streams == 1
    drain.start()
    assert woken == []


class Connection:
    """Something other than an event stream that ends with its session; `events` is what it was told."""

    def __init__(self, session: bytes) -> None:
        self.session = session
        self.events: list[str] = []

    def leave(self) -> None:
        self.events.append("leave")

    def session_ended(self) -> None:
        self.events.append("ended")

    def store_failed(self) -> None:
        self.events.append("failed")


async def one_round(drain: Drain, ended: Iterable[bytes] = (), failed: Iterable[bytes] = ()) -> list[bytes]:
    """Run a round over the sessions; return those that were looked up."""
    looked_up: list[bytes] = []
    first = asyncio.Event()

    async def alive(session: bytes) -> bool:
        looked_up.append(session)
        first.set()
        if session in failed:
            raise StoreError("disk full")
        return session not in ended

    async with asyncio.timeout(10):
        task = asyncio.create_task(drain.end_with_sessions(alive, 0.01))
        await first.wait()
        for _ in range(10):  # the lookups of a round are made side by side
            await asyncio.sleep(0)
        task.cancel()
    return looked_up


async def test_stream_ends_if_the_store_can_not_say_for_too_long_whether_its_session_has_ended() -> None:
    drain, watched = Drain(), [Connection(b"a"), Connection(b"b")]
    drain.patience = 0.1
    for each in watched:
        drain.watch(each)

    async def alive(session: bytes) -> bool:
        if session == b"a":
            raise StoreError("away")
        return True

    task = asyncio.create_task(drain.end_with_sessions(alive, 0.01))
    async with asyncio.timeout(10):
        while "ended" not in watched[0].events:  # noqa: ASYNC110 - no such event
            await asyncio.sleep(0.01)
    task.cancel()
    assert watched[0].events[0] == "failed"
    assert watched[1].events == []


async def test_slow_lookups_of_many_sessions_are_made_side_by_side() -> None:
    drain, running, most = Drain(), 0, 0
    for number in range(60):
        drain.watch(Connection(b"%d" % number))

    async def alive(session: bytes) -> bool:
        nonlocal running, most
        running += 1
        most = max(most, running)
        await asyncio.sleep(0.01)
        running -= 1
        return True

    task = asyncio.create_task(drain.end_with_sessions(alive, 0.01))
    async with asyncio.timeout(10):
        while most < 60:  # noqa: ASYNC110 - no such event
            await asyncio.sleep(0.01)
    task.cancel()


async def test_end_of_a_session_ends_what_belongs_to_it() -> None:
    drain, watched = Drain(), [Connection(key) for key in (b"a", b"a", b"b", b"c", b"")]
    for each in watched:
        drain.watch(each)
    looked_up = await one_round(drain, ended=[b"a"], failed=[b"c"])
    assert sorted(looked_up) == [b"a", b"b", b"c"], "each session once, and none for what has no session"
    assert [each.events for each in watched] == [["ended"], ["ended"], [], ["failed"], []]


def test_what_is_no_longer_watched_is_left_alone() -> None:
    drain, watched = Drain(), Connection(b"a")
    drain.watch(watched)
    drain.unwatch(watched)
    drain.unwatch(watched)
    drain.start()
    assert watched.events == []


def test_event_stream_goes_on_while_the_store_fails() -> None:
    stream, woken = opened(Drain())
    stream.store_failed()
    assert (stream.should_end, woken) == (False, [])


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ([(b"content-type", b"text/event-stream")], True),
        ([(b"content-type", b"Text/Event-Stream; charset=utf-8")], True),
        ([(b"content-type", b"text/event-stream"), (b"content-encoding", b"gzip")], False),
        ([(b"content-length", b"5"), (b"content-type", b"text/event-stream")], False),
        ([(b"content-type", b"text/event-stream-x")], False),
        ([(b"content-type", b"application/json")], False),
        ([], False),
    ],
)
def test_event_stream_is_recognized_by_its_plain_media_type(fields: list[tuple[bytes, bytes]], expected: bool) -> None:
    assert is_event_stream(fields) is expected


async def test_only_sessions_that_may_have_ended_are_looked_up() -> None:
    drain, asked = Drain(), list[bytes]()
    streams = {key: opened(drain, key)[0] for key in (b"aa1", b"ab2", b"b33")}

    async def alive(key: bytes) -> bool:
        asked.append(key)
        return False

    watching = asyncio.create_task(drain.end_with_sessions(alive, 60))
    try:
        for beginnings, wanted in (([b"aa"], [b"aa1"]), ([b"zz"], []), ([b"ab", b"b3"], [b"ab2", b"b33"])):
            asked.clear()
            drain.look_at(beginnings)
            for _ in range(5):
                await asyncio.sleep(0)
            assert sorted(asked) == wanted
        assert all(stream.session_over for stream in streams.values())
    finally:
        watching.cancel()


async def test_a_look_at_all_sessions_is_not_narrowed_by_one_at_some() -> None:
    drain, asked = Drain(), list[bytes]()
    for key in (b"aa1", b"b33"):
        opened(drain, key)

    async def alive(key: bytes) -> bool:
        asked.append(key)
        return True

    watching = asyncio.create_task(drain.end_with_sessions(alive, 60))
    try:
        await asyncio.sleep(0)
        drain.look()
        drain.look_at([b"aa"])
        for _ in range(5):
            await asyncio.sleep(0)
        assert sorted(asked) == [b"aa1", b"b33"]
    finally:
        watching.cancel()
