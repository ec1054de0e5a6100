"""Event streams (HTML, 9.2.6): where the gateway may end one.

Input: how to cut (one byte), then a stream. Where `EventStream` says that a stream may end, a client has read every
event that had begun, and the word that the gateway adds is none of the upstream's events. A stream that ends as
servers end their events is one that may end.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from proxy.relay.event_streams import Drain, EventStream, is_event_stream
from tests.fuzz.memory import pieces

MAX_SIZE = 1024
WORDS = (
    "data: a\n\n",
    "data: b\r\n\r\n",
    "data: c\r\r",
    "event: x\n",
    "id: 1\n",
    "retry: 10\n",
    ": comment\n\n",
    "\r\n",
    "\n\r",
    "\ufeff",
    "data",
    "id:\n\n",
)
_LINE = re.compile(rb"([^\r\n]*)(\r\n|\n|\r)")


def read(data: bytes) -> tuple[list[tuple[bytes, bytes]], bytes, list[int]]:
    """What a client reads: events (name, data), what it has of an event that has not ended, and times to come back."""
    events: list[tuple[bytes, bytes]] = []
    pending: list[bytes] = []
    retries: list[int] = []
    at = 0
    while (line := _LINE.match(data, at)) is not None:
        at = line.end()
        text = line[1]
        if text:
            pending.append(text)
            name, _, value = text.partition(b":")
            if name == b"retry" and value.strip(b" ").isdigit():
                retries.append(int(value))
            continue
        fields = [one.partition(b":") for one in pending]
        body = [value.removeprefix(b" ") for name, _, value in fields if name == b"data"]
        kind = [value.removeprefix(b" ") for name, _, value in fields if name == b"event"]
        if body:
            events.append((kind[-1] if kind else b"message", b"\n".join(body)))
        pending = []
    return events, b"\n".join(pending) + data[at:], retries


def run(data: bytes) -> None:
    """Raise AssertionError where a stream may end in the middle of an event."""
    if len(data) < 2:
        return
    drain, passed = Drain(), b""
    stream = EventStream(drain, lambda: None, b"session")
    assert not stream.should_end
    drain.start()
    for part in pieces(data[1:], data[0]):
        stream.forwarded(part)
        passed += part
        check(stream, passed)
    fields = [(b"content-type", data[1:].partition(b"\n")[0].strip())]
    assert not is_event_stream([*fields, (b"content-encoding", b"gzip")])
    assert not is_event_stream([*fields, (b"content-length", b"5")])


def check(stream: EventStream, passed: bytes) -> None:
    """Where it may end, no event is half sent; the farewell is one, and tells the client when to come back."""
    events, rest, retries = read(passed)
    if not stream.should_end:
        assert not passed.endswith((b"\n\n", b"\r\r", b"\r\n\r\n")), passed[-20:]
        return
    assert not rest, f"ends within {rest!r}"
    farewell = stream.farewell()
    after, left, later = read(passed + farewell)
    assert (after, left) == (events, b""), farewell
    assert later[: len(retries)] == retries
    assert len(later) == len(retries) + 1, farewell
    assert 500 <= later[-1] <= 5000


def seeds() -> Iterator[bytes]:
    """Streams as servers write them, and line ends mixed up."""
    for end in ("\n", "\r", "\r\n"):
        text = end.join(
            [
                "retry: 1000",
                "event: done",
                'data: {"a": 1}',
                "data: more",
                "id: 7",
                "",
                ": keep-alive",
                "",
                "data: half",
            ]
        )
        yield b"\x01" + text.encode()
        yield b"\x05" + (text + end + end).encode()
    for mixed in (
        b"data: a\r\n\n",
        b"data: a\n\r\n",
        b"data: a\r\n\r",
        b"data: a\n\r",
        b"data\n\n",
        b"\xef\xbb\xbfdata: a\n\n",
        b"\n",
        b"\r\n\r\n",
    ):
        yield b"\x01" + mixed
