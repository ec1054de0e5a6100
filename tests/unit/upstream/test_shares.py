"""Who may have a connection next, and how much of a pool one user may have."""

from __future__ import annotations

import asyncio

import pytest

from proxy.upstream.shares import Shares, Waiter


def waiter(user: object) -> Waiter[str]:
    return Waiter(user, asyncio.get_running_loop().create_future())


def waiting(shares: Shares[str], *users: object) -> list[Waiter[str]]:
    """Let a request of each user wait, as far as it may; return those that do."""
    made = []
    for user in users:
        if not shares.refusal(user):
            made.append(waiter(user))
            shares.wait(made[-1])
    return made


@pytest.mark.parametrize(
    ("connections", "share", "most"), [(512, 0.25, 128), (10, 0.25, 3), (1, 0.25, 1), (4, 1.0, 4), (3, 0.01, 1)]
)
def test_user_has_a_share_of_the_connections_and_at_least_one(connections: int, share: float, most: int) -> None:
    shares: Shares[str] = Shares(connections, 0, share)
    assert sum(shares.admits("anna") for _ in range(1000)) == most
    assert shares.admits("bert")
    assert all(shares.admits(None) for _ in range(1000))


def test_connection_that_ends_makes_room_for_its_user() -> None:
    shares: Shares[str] = Shares(4, 0, 0.5)
    assert [shares.admits("anna") for _ in range(3)] == [True, True, False]
    assert not shares.leave("anna")
    assert [shares.admits("anna"), shares.admits("anna")] == [True, False]


async def test_requests_beyond_the_share_wait_and_let_others_pass() -> None:
    shares: Shares[str] = Shares(4, 100, 0.25)
    assert shares.admits("anna")
    first, second, other = waiting(shares, "anna", "anna", "bert")
    assert (len(shares), [one.admitted for one in (first, second, other)]) == (3, [False, False, True])
    assert shares.next() is other
    assert shares.leave("anna")
    assert (first.admitted, second.admitted, shares.next(), len(shares)) == (True, False, first, 1)


async def test_user_has_a_share_of_the_queue() -> None:
    shares: Shares[str] = Shares(1, 8, 0.25)
    assert shares.admits("anna")
    assert len(waiting(shares, *["anna"] * 10)) == 2
    assert shares.refusal("anna") == "2 requests of the user wait; see user_share"
    assert len(waiting(shares, *(f"user {number}" for number in range(10)))) == 6
    assert shares.refusal("other") == "8 requests wait"


async def test_request_that_gave_up_is_not_admitted_and_counts_no_more() -> None:
    shares: Shares[str] = Shares(4, 100, 0.25)
    assert shares.admits("anna")
    gone, cancelled, left = waiting(shares, "anna", "anna", "anna")
    shares.remove(gone)
    cancelled.future.cancel()
    assert shares.leave("anna")
    assert (left.admitted, len(shares)) == (True, 1)
    shares.remove(left)
    assert len(shares) == 0


async def test_all_that_wait_are_cancelled_at_the_end() -> None:
    shares: Shares[str] = Shares(1, 8, 0.25)
    made = waiting(shares, "anna", "anna", None)
    shares.cancel()
    assert all(one.future.cancelled() for one in made)
