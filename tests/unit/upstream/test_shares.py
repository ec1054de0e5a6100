"""Who may have a connection next, and how much of a pool one user may have."""

from __future__ import annotations

import asyncio

import pytest

from proxy.upstream.shares import Shares, Waiter


def waiting(shares: Shares[str], *users: object) -> list[Waiter[str]]:
    """Let a request of each user wait, as far as it may; return those that do."""
    made = []
    for user in users:
        if not shares.refusal(shares.load(user)):
            made.append(Waiter(shares.load(user), asyncio.get_running_loop().create_future()))
            shares.wait(made[-1])
    return made


@pytest.mark.parametrize(
    ("connections", "share", "most"), [(512, 0.25, 128), (10, 0.25, 3), (1, 0.25, 1), (4, 1.0, 4), (3, 0.01, 1)]
)
def test_user_has_a_share_of_the_connections_and_at_least_one(connections: int, share: float, most: int) -> None:
    shares: Shares[str] = Shares(connections, 0, share)
    assert sum(shares.load("anna").admits() for _ in range(1000)) == most
    assert shares.load("bert").admits()
    assert all(shares.load(None).admits() for _ in range(1000))


def test_connection_that_ends_makes_room_for_its_user() -> None:
    shares: Shares[str] = Shares(4, 0, 0.5)
    assert [shares.load("anna").admits() for _ in range(3)] == [True, True, False]
    assert not shares.leave(shares.load("anna"))
    assert [shares.load("anna").admits(), shares.load("anna").admits()] == [True, False]


async def test_requests_beyond_the_share_wait_and_let_others_pass() -> None:
    shares: Shares[str] = Shares(4, 100, 0.25)
    assert shares.load("anna").admits()
    first, second, other = waiting(shares, "anna", "anna", "bert")
    assert (len(shares), [one.admitted for one in (first, second, other)]) == (3, [False, False, True])
    assert shares.next() is other
    assert shares.leave(shares.load("anna"))
    assert (first.admitted, second.admitted, shares.next(), len(shares)) == (True, False, first, 1)


async def test_user_has_a_share_of_the_queue() -> None:
    shares: Shares[str] = Shares(1, 8, 0.25)
    assert shares.load("anna").admits()
    assert len(waiting(shares, *["anna"] * 10)) == 2
    assert shares.refusal(shares.load("anna")) == "2 requests of the user wait; see user_share"
    assert len(waiting(shares, *(f"user {number}" for number in range(10)))) == 6
    assert shares.refusal(shares.load("other")) == "8 requests wait"


async def test_request_that_gave_up_is_not_admitted_and_counts_no_more() -> None:
    shares: Shares[str] = Shares(4, 100, 0.25)
    assert shares.load("anna").admits()
    gone, cancelled, left = waiting(shares, "anna", "anna", "anna")
    shares.remove(gone)
    cancelled.future.cancel()
    assert shares.leave(shares.load("anna"))
    assert (left.admitted, len(shares)) == (True, 1)
    shares.remove(left)
    assert len(shares) == 0


async def test_all_that_wait_are_cancelled_at_the_end() -> None:
    shares: Shares[str] = Shares(1, 8, 0.25)
    made = waiting(shares, "anna", "anna", None)
    shares.cancel()
    assert all(one.future.cancelled() for one in made)


def test_loads_of_users_who_have_nothing_in_use_are_forgotten() -> None:
    shares: Shares[str] = Shares(4, 100, 0.25)
    assert shares.load("anna").admits()
    for number in range(5000):
        shares.load(number)
    assert len(shares.loads) < 2000
    assert shares.load("anna").count == 1
    assert shares.load(None).admits()
