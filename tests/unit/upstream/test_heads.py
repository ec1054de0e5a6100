"""Answers whose head came before, byte for byte: the parser does not see them, and nothing else differs."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.pool import Pool, PoolSettings
from proxy.upstream.receiver import FaultKind
from proxy.upstream.retry import NEVER
from tests.unit.upstream.test_connection import Receiver, Wire

SETTINGS = PoolSettings(connect_timeout=1, response_timeout=1, idle_timeout=1, max_connections=1, max_pending=0)
HEAD = b"HTTP/1.1 200 OK\r\ncontent-type: text/plain\r\ncontent-length: 5\r\n\r\n"


class Noting(Receiver):
    """A receiver that keeps the heads."""

    def on_head(self, head: ResponseHead) -> None:
        super().on_head(head)
        self.head = head


class Line:
    """A connection of a pool, with a transport that goes nowhere."""

    def __init__(self, pool: Pool) -> None:
        self.wire = Wire()
        self.connection = UpstreamConnection(pool)
        self.connection.connection_made(cast(asyncio.Transport, self.wire))

    def ask(self, *parts: bytes, head_only: bool = False) -> Noting:
        """What a request's receiver is given when the answer comes in these parts."""
        receiver = Noting()
        self.connection.begin(receiver, b"", head_only=head_only, deadline=NEVER)
        for part in parts:
            self.connection.data_received(part)
        return receiver


@pytest.fixture
async def pool() -> Pool:
    return Pool("http://upstream", SETTINGS, None, None)


@pytest.fixture
async def line(pool: Pool) -> Line:
    """A connection whose pool knows HEAD."""
    line = Line(pool)
    line.ask(HEAD + b"first")
    assert pool.heads.find(HEAD + b"again") is not None
    return line


async def test_an_answer_with_a_known_head_is_given_in_full(line: Line) -> None:
    known = line.ask(HEAD + b"again").head
    receiver = line.ask(HEAD + b"other")
    assert (receiver.status, receiver.body, receiver.ended, receiver.fault) == (200, b"other", True, None)
    assert receiver.head is known
    assert not line.wire.closed


async def test_each_answer_is_counted(line: Line, pool: Pool) -> None:
    line.ask(HEAD + b"again")
    line.ask(HEAD + b"other")
    assert pool.answers[2] == 3


@pytest.mark.parametrize("at", range(1, len(HEAD) + 5))
async def test_it_does_not_matter_how_the_bytes_are_cut(line: Line, at: int) -> None:
    data = HEAD + b"again"
    receiver = line.ask(data[:at], data[at:])
    assert (receiver.status, receiver.body, receiver.ended, receiver.fault) == (200, b"again", True, None)
    assert not line.wire.closed


async def test_more_than_the_body_is_no_answer_that_is_known(line: Line) -> None:
    receiver = line.ask(HEAD + b"again" + HEAD + b"extra")
    assert (receiver.body, receiver.ended) == (b"again", True)
    assert line.wire.closed


async def test_a_known_head_within_a_body_is_body(line: Line) -> None:
    inner = HEAD + b"inner"
    outer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % (2 * len(inner))
    receiver = line.ask(outer, inner, inner)
    assert (receiver.body, receiver.ended) == (2 * inner, True)


async def test_a_known_head_after_an_interim_answer_is_the_answer(line: Line) -> None:
    receiver = line.ask(b"HTTP/1.1 103 Early Hints\r\n\r\n", HEAD + b"again")
    assert (receiver.status, receiver.body, receiver.ended) == (200, b"again", True)


async def test_a_known_head_answers_a_head_request_without_a_body(line: Line) -> None:
    receiver = line.ask(HEAD, head_only=True)
    assert (receiver.status, receiver.body, receiver.ended) == (200, b"", True)
    assert (line.ask(HEAD + b"again").body, line.wire.closed) == (b"again", False)


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nx: " + b"y" * 5000 + b"\r\ncontent-length: 2\r\n\r\nok",
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok",
    ],
    ids=["one that closes", "chunks", "a large head", "an interim answer before it"],
)
async def test_only_plain_heads_are_kept(pool: Pool, answer: bytes) -> None:
    assert Line(pool).ask(answer).body == b"ok"
    assert len(pool.heads) == 0


async def test_heads_that_are_kept_are_bounded(pool: Pool) -> None:
    line = Line(pool)
    for number in range(1000):
        line.ask(b"HTTP/1.1 200 OK\r\nx: %d\r\ncontent-length: 0\r\n\r\n" % number)
    assert 0 < len(pool.heads) <= 512


@pytest.mark.parametrize("cut", range(1, 40))
async def test_space_before_a_colon_is_removed_wherever_the_head_is_cut(pool: Pool, cut: int) -> None:
    data = b"HTTP/1.1 200 OK\r\nX-Odd \t: 1\r\nx: 2\r\ncontent-length: 0\r\n\r\n"
    receiver = Line(pool).ask(data[:cut], data[cut:])
    assert receiver.head.headers == [(b"x-odd", b"1"), (b"x", b"2"), (b"content-length", b"0")]


@pytest.mark.parametrize("cut", range(1, 40))
async def test_space_within_a_name_is_never_removed(pool: Pool, cut: int) -> None:
    data = b"HTTP/1.1 200 OK\r\ntransfer-enc oding: chunked\r\ncontent-length: 0\r\n\r\n"
    receiver = Line(pool).ask(data[:cut], data[cut:])
    assert (receiver.status, receiver.fault and receiver.fault.kind) == (0, FaultKind.GARBAGE)
