"""How many denials get a line of their own in the audit log, and how the others are counted."""

from __future__ import annotations

from proxy.policy.denials import ALL_ADDRESSES, EACH, MAX_NAMED, Counted, DenialBudget, Denied

ANNA, EVE = Denied(1, ""), Denied(None, "192.0.2.1")


def written(budget: DenialBudget, who: Denied, count: int, now: float = 0.0) -> int:
    """How many of so many denials are written."""
    return sum(budget.admits(who, now) for _ in range(count))


def test_each_address_and_user_has_a_budget_and_the_rest_is_counted() -> None:
    budget = DenialBudget()
    assert (written(budget, ANNA, 100), written(budget, EVE, 50)) == (EACH.burst, EACH.burst)
    assert list(budget.take_counts()) == [
        Counted(ANNA, True, 100 - EACH.burst, 0),
        Counted(EVE, False, 50 - EACH.burst, 0),
    ]
    assert not budget.has_counted


def test_budget_grows_by_one_line_a_minute() -> None:
    budget = DenialBudget()
    written(budget, EVE, 100)
    assert [written(budget, EVE, 100, now) for now in (30.0, 61.0, 62.0, 181.0)] == [0, 1, 0, 2]


def test_many_addresses_have_a_budget_together_and_leave_that_of_users_alone() -> None:
    budget = DenialBudget()
    addresses = [Denied(None, f"198.51.{n // 256}.{n % 256}") for n in range(10_000)]
    assert sum(budget.admits(who, 0.0) for who in addresses) == ALL_ADDRESSES.burst
    assert written(budget, ANNA, 5) == 5


def test_counts_name_the_most_active_ones_and_add_the_others_up() -> None:
    budget = DenialBudget()
    for number in range(30_000):
        budget.admits(Denied(None, str(number % 15_000)), 0.0)
    counts = list(budget.take_counts())
    assert len(counts) == MAX_NAMED + 1
    assert sum(count.number for count in counts) == 30_000 - ALL_ADDRESSES.burst
    assert counts[-1].who is None
    assert counts[-1].others > 5000
