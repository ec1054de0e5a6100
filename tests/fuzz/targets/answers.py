# ruff: noqa: E501 - data in lines
"""Bytes of an upstream's, through a connection of the pool without a socket.

Input: how to cut (one byte), flags (one byte: 1 the request was HEAD, 2 an upgrade was asked for, 4 the upstream closes
at the end), then what the upstream sends. However it is cut, the request's sink hears the same: one head whose fields
are one line each, a body of the length that was told, and an end or a fault, once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import cast

from proxy.http.header_plan import HeaderEdits, ResponsePlan
from proxy.http.location import Locations
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.pool import Pool, PoolSettings
from proxy.upstream.receiver import Fault, ResponseReceiver
from proxy.upstream.retry import NEVER
from tests.attack import test_responses
from tests.fuzz.memory import Loop, Upstream, Wire, pieces
from tests.fuzz.strict import read_head

MAX_SIZE = 4096
WORDS = (
    "HTTP/1.1 200 OK\r\n", "HTTP/1.1 204 No Content\r\n", "HTTP/1.1 304 x\r\n", "HTTP/1.1 103 Early Hints\r\n\r\n", "HTTP/1.1 101 Switching Protocols\r\n",
    "HTTP/1.0 200\r\n", "content-length: ", "transfer-encoding: chunked\r\n", "connection: close\r\n", "connection: upgrade\r\nupgrade: websocket\r\n", "connection: x-a\r\n",
    "content-type: text/event-stream\r\n", "\r\n\r\n", "0\r\n\r\n", "5\r\nhello\r\n", "keep-alive: timeout=5\r\n", "proxy-authenticate: x\r\n", "access-control-allow-origin: *\r\n",
)  # fmt: skip
SETTINGS = PoolSettings(connect_timeout=1, response_timeout=1, idle_timeout=1, max_connections=1, max_pending=0)
PLAN = ResponsePlan(
    HeaderEdits(), vary=(), no_store=False, nosniff=False, session_cookie="session_token", locations=Locations()
)
_ENDING = b"x-request-id: 1\r\n\r\n"
_DROPPED = (b"connection", b"keep-alive", b"te", b"trailer", b"transfer-encoding", b"upgrade", b"x-request-id")
_DROPPED_PREFIXES = (b"proxy-", b"access-control-")


@dataclass
class Heard(ResponseReceiver):
    """What a sink is told, in order. `after`: what the next request
    on the connection heard, if there may be one."""

    heads: list[tuple[int, bytes, tuple[tuple[bytes, bytes], ...], int | None, bool]] = field(default_factory=list)
    body: bytes = b""
    ends: list[str] = field(default_factory=list)
    after: str = ""

    def on_head(self, head: ResponseHead) -> None:
        assert not self.heads
        assert not self.ends
        self.heads.append((head.status, head.reason, tuple(head.headers), head.length, head.chunked))

    def on_body(self, data: bytes) -> None:
        assert self.heads
        assert not self.ends
        self.body += data

    def on_batch(self) -> None:
        assert self.heads
        assert not self.ends

    def on_end(self) -> None:
        assert self.heads
        self.ends.append("end")

    def on_fault(self, fault: Fault) -> None:
        self.ends.append(fault.kind)


def hear(data: bytes, cut: int, flags: int) -> Heard:
    """What the sink of one request hears."""
    heard = Heard()

    async def talk() -> None:
        pool = Pool("http://noetl.test", SETTINGS, None, None)
        connection = UpstreamConnection(pool)
        wire = Wire(connection, lambda _: None)
        connection.connection_made(cast(asyncio.Transport, wire))
        connection.begin(
            heard, b"GET / HTTP/1.1\r\n\r\n", head_only=bool(flags & 1), deadline=NEVER, upgrade=bool(flags & 2)
        )
        for part in pieces(data, cut):
            if wire.is_closing():
                break
            connection.data_received(part)
        if heard.ends and connection.usable:
            heard.after = next_heard(connection)
        if flags & 4 and not wire.is_closing():
            wire.close()
            await loop.settled()
        assert connection.receiver is None or not heard.ends
        await pool.close()

    loop = _loop()
    loop.run_until_complete(talk())
    assert not loop.failures, loop.failures
    return heard


def next_heard(connection: UpstreamConnection) -> str:
    """What the next request on a connection hears when its answer comes."""
    following = Heard()
    connection.begin(following, b"GET / HTTP/1.1\r\n\r\n", head_only=False, deadline=NEVER)
    connection.data_received(b"HTTP/1.1 201 Next\r\ncontent-length: 4\r\n\r\nnext")
    return f"{[head[:2] for head in following.heads]} {following.body!r} {following.ends}"


_LOOPS: list[Loop] = []


def _loop() -> Loop:
    if not _LOOPS:
        _LOOPS.append(Loop(Upstream(lambda _: None)))
    return _LOOPS[0]


def run(data: bytes) -> None:
    """Raise AssertionError where the connection does not do as it must."""
    if len(data) < 3:
        return
    cut, flags, text = data[0], data[1], data[2:]
    if flags & 1:
        flags &= ~2  # nobody asks for an upgrade by HEAD
    whole = hear(text, 0, flags)
    check(whole, head_only=bool(flags & 1))
    if cut:
        parts = hear(text, cut, flags)
        check(parts, head_only=bool(flags & 1))
        assert (parts.heads, parts.body, parts.ends) == (whole.heads, whole.body, whole.ends), (
            f"cut: {parts}\nwhole: {whole}"
        )


def check(heard: Heard, *, head_only: bool) -> None:
    """What was heard makes sense, and makes a strict head for the client."""
    assert len(heard.ends) <= 1, heard.ends
    assert heard.after in ("", "[(201, b'Next')] b'next' ['end']"), f"another heard {heard.after}"
    assert not heard.after or heard.ends == ["end"], heard
    for status, reason, fields, length, chunked in heard.heads:
        assert length is None or not chunked or status in (204, 304), fields
        assert not (head_only and heard.body), heard.body
        if heard.ends == ["end"] and length is not None and not head_only:
            assert len(heard.body) == length, (len(heard.body), length)
        for name, value in fields:
            assert not set(b"\r\n\x00") & set(name + value), (name, value)
        if status == 101:
            continue
        made = PLAN.head(status, reason, list(fields), chunked=chunked).lines + _ENDING
        again, sent, end = read_head(made)
        assert (again, end) == (status, len(made)), made
        named = {one.strip().lower() for n, v in fields if n == b"connection" for one in v.split(b",")}
        dropped = {*_DROPPED, *named, *((b"content-length",) if chunked or status == 204 else ())}
        kept = [(n, v.strip()) for n, v in fields if n not in dropped and not n.startswith(_DROPPED_PREFIXES)]
        kept = [(n, v) for n, v in kept if n != b"set-cookie" or not v.lower().startswith(b"session_token")]
        assert sent[:-1] == kept, f"sent {sent[:-1]}\nexpected {kept}"


def seeds() -> Iterator[bytes]:
    """Everything that hostile upstreams of the attack tests answer."""
    for answer in (test_responses.REFUSED | test_responses.EITHER).values():
        if len(answer) < MAX_SIZE:
            for flags in (0, 1, 4):
                yield bytes([7, flags]) + answer
    upgrade = b"HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n\x81\x02hi"
    yield b"\x01\x02" + upgrade
    yield b"\x02\x04HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n\r\ndata: a\n\ndata: b\n\n"
    yield b"\x02\x00HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\n3\r\n{}\n\r\n0\r\n\r\n"
