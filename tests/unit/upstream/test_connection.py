"""A connection to an upstream, fed with bytes: no sockets."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from proxy.upstream.balance import Balance, Balancer, Endpoint
from proxy.upstream.client import OutgoingRequest, UpstreamClient
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.heads import ResponseHead
from proxy.upstream.pool import Pool, PoolSettings
from proxy.upstream.receiver import Fault, ResponseReceiver
from proxy.upstream.retry import NEVER

SETTINGS = PoolSettings(connect_timeout=1, response_timeout=1, idle_timeout=1, max_connections=1, max_pending=0)


class Receiver(ResponseReceiver):
    """Notes what it is given."""

    def __init__(self) -> None:
        self.status = 0
        self.body = b""
        self.ended = False
        self.fault: Fault | None = None

    def on_head(self, head: ResponseHead) -> None:
        self.status = head.status

    def on_body(self, data: bytes) -> None:
        self.body += data

    def on_batch(self) -> None:
        """What has arrived was given."""

    def on_end(self) -> None:
        self.ended = True

    def on_fault(self, fault: Fault) -> None:
        self.fault = fault


class Wire:
    """A transport that goes nowhere."""

    def write(self, data: bytes) -> None:
        """Sent."""

    closed = False

    def abort(self) -> None:
        self.closed = True

    def is_closing(self) -> bool:
        return self.closed


def answered_with(data: bytes) -> Receiver:
    """What a request's receiver is given when the answer comes in one piece."""
    connection, receiver = UpstreamConnection(Pool("http://upstream", SETTINGS, None, None)), Receiver()
    connection.connection_made(cast(asyncio.Transport, Wire()))
    connection.begin(receiver, b"GET / HTTP/1.1\r\n\r\n", head_only=False, deadline=NEVER)
    connection.data_received(data)
    return receiver


@pytest.mark.parametrize("size", [1000, 200_000, 1_000_000])
async def test_a_body_that_arrives_with_the_head_does_not_make_the_head_too_large(size: int) -> None:
    receiver = answered_with(b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n" % size + b"x" * size)
    assert (receiver.status, len(receiver.body), receiver.ended, receiver.fault) == (200, size, True, None)


async def test_a_head_over_the_limit_is_refused_also_in_one_piece() -> None:
    fields = b"".join(b"x-%d: %b\r\n" % (number, b"y" * 1000) for number in range(70))
    receiver = answered_with(b"HTTP/1.1 200 OK\r\ncontent-length: 0\r\n" + fields + b"\r\n")
    assert receiver.fault is not None
    assert not receiver.ended


@pytest.mark.parametrize("rest", [b"more", b"HTTP/1.1 101 x\r\nconnection: upgrade\r\nupgrade: x\r\n\r\n", b"\x00"])
@pytest.mark.parametrize("together", [True, False], ids=["in one piece", "in two"])
async def test_what_follows_a_whole_answer_takes_nothing_from_it(rest: bytes, together: bool) -> None:
    connection, receiver, wire = UpstreamConnection(Pool("http://upstream", SETTINGS, None, None)), Receiver(), Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    connection.begin(receiver, b"HEAD / HTTP/1.1\r\n\r\n", head_only=True, deadline=NEVER)
    head = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n"
    for part in [head + rest] if together else [head, rest]:
        connection.data_received(part)
    assert (receiver.status, receiver.ended, receiver.fault, wire.closed) == (200, True, None, True)


async def test_an_upgrade_to_nothing_is_no_answer() -> None:
    """Its message has ended, so that the connection would be the next request's while a tunnel writes on it."""
    connection, receiver = UpstreamConnection(Pool("http://upstream", SETTINGS, None, None)), Receiver()
    connection.connection_made(cast(asyncio.Transport, Wire()))
    connection.begin(receiver, b"GET / HTTP/1.1\r\n\r\n", head_only=False, deadline=NEVER, upgrade=True)
    connection.data_received(b"HTTP/1.1 101 Switching Protocols\r\n\r\n")
    assert (receiver.status, receiver.ended, receiver.fault is not None) == (0, False, True)


async def test_a_request_given_up_just_as_its_answer_came_leaves_the_connection_to_the_next(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    pool, wire = Pool("http://upstream", SETTINGS, None, None), Wire()
    connection = UpstreamConnection(pool)
    connection.connection_made(cast(asyncio.Transport, wire))

    async def acquire(method: str, user: object) -> UpstreamConnection:
        return connection

    monkeypatch.setattr(pool, "acquire", acquire)

    balancer = Balancer((Endpoint(pool, None, alone=True),), Balance.ROUND_ROBIN, None)

    async def first() -> None:
        async with UpstreamClient("upstream", balancer).request(OutgoingRequest("GET", "/", b"")):
            pytest.fail("it was given up")

    given_up = asyncio.create_task(first())
    async with asyncio.timeout(5):
        while connection.receiver is None:  # noqa: ASYNC110 - it takes a turn or two of the loop
            await asyncio.sleep(0)
    # In one turn of the loop: the answer, the next request on that connection, and the first client leaves.
    connection.data_received(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
    following = Receiver()
    connection.begin(following, b"GET / HTTP/1.1\r\n\r\n", head_only=False, deadline=NEVER)
    given_up.cancel()
    await asyncio.wait([given_up])
    assert (connection.receiver, wire.closed) == (following, False)


async def test_a_connection_whose_answer_says_close_in_a_trailer_is_not_used_again() -> None:
    connection, receiver, wire = UpstreamConnection(Pool("http://upstream", SETTINGS, None, None)), Receiver(), Wire()
    connection.connection_made(cast(asyncio.Transport, wire))
    connection.begin(receiver, b"GET / HTTP/1.1\r\n\r\n", head_only=False, deadline=NEVER)
    head, body = b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n", b"2\r\nok\r\n0\r\nconnection: close\r\n\r\n"
    connection.data_received(head + body)
    assert (receiver.body, receiver.ended, wire.closed) == (b"ok", True, True)


@pytest.mark.parametrize(
    ("version", "spoken"), [("1.1", True), ("1.0", True), ("2.0", False), ("0.9", False), ("1.2", False)]
)
async def test_response_of_another_version_of_http_is_no_answer(version: str, spoken: bool) -> None:
    receiver = answered_with(f"HTTP/{version} 200 OK\r\ncontent-length: 2\r\n\r\nok".encode())
    assert (receiver.ended, receiver.fault is None) == (spoken, spoken)
