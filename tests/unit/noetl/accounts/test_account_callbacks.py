"""Which process a callback reaches, and how often it counts."""

from __future__ import annotations

import asyncio

import pytest

from proxy.errors import Unavailable
from proxy.noetl.accounts import callbacks
from proxy.noetl.accounts.callbacks import AuthCallbacks
from proxy.peer_messages import PeerMessages


def two_processes() -> tuple[AuthCallbacks, AuthCallbacks]:
    """The callbacks of two processes that can send messages to each other."""
    first, second = PeerMessages(), PeerMessages()
    first.transport, second.transport = second.receive, first.receive
    return AuthCallbacks(first), AuthCallbacks(second)


async def test_answer_reaches_the_process_that_waits_and_counts_once() -> None:
    waiting, other = two_processes()
    for here in (waiting, other):
        with waiting.expect() as (request_id, answer):
            assert await here.deliver(request_id, {"n": 1}) is True
            assert await here.deliver(request_id, {"n": 2}) is False
            assert await answer == {"n": 1}
        assert await here.deliver(request_id, {"n": 3}) is False


async def test_answer_for_which_nobody_waits_is_not_delivered() -> None:
    alone = AuthCallbacks(PeerMessages())
    async with asyncio.timeout(0.2):
        assert await alone.deliver("1", {}) is False


async def test_answer_to_one_request_does_not_reach_another() -> None:
    waiting, other = two_processes()
    with waiting.expect() as (first, one), waiting.expect() as (_, two):
        assert await other.deliver(first, "a")
        assert (one.done(), two.done()) == (True, False)


async def test_number_of_waiting_requests_has_a_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(callbacks, "MAX_WAITING", 1)
    alone = AuthCallbacks(PeerMessages())
    with alone.expect():
        with pytest.raises(Unavailable), alone.expect():
            pass
    with alone.expect():
        pass
