"""The tables of a tenant: their bound, their lifetime, and refresh-token families."""

from __future__ import annotations

import random

from mock_auth0.state import Authorization, RefreshTokens, Table

GRANT = Authorization(client_id="client", subject="auth0|1", scope=("openid",))


class FixedClock:
    """A clock that a test moves."""

    def __init__(self) -> None:
        self.instant = 0.0

    def now(self) -> float:
        return self.instant


def table_of(limit: int = 10, clock: FixedClock | None = None) -> Table[str]:
    return Table(clock or FixedClock(), random.Random(1), limit)


def tokens_of(clock: FixedClock | None = None) -> RefreshTokens:
    return RefreshTokens(clock or FixedClock(), random.Random(1))


def test_a_value_is_found_under_its_handle() -> None:
    table = table_of()
    assert table.get(table.add("value", 60)) == "value"


def test_a_popped_value_is_gone() -> None:
    table = table_of()
    handle = table.add("value", 60)
    assert (table.pop(handle), table.pop(handle)) == ("value", None)


def test_a_value_is_gone_when_its_lifetime_is_over() -> None:
    clock = FixedClock()
    table = table_of(clock=clock)
    handle = table.add("value", 60)
    clock.instant = 60.0
    assert table.get(handle) is None


def test_expired_values_make_room() -> None:
    clock = FixedClock()
    table = table_of(clock=clock)
    table.add("old", 60)
    clock.instant = 61.0
    table.add("new", 60)
    assert len(table) == 1


def test_a_full_table_drops_the_oldest() -> None:
    table = table_of(limit=2)
    handles = [table.add(text, 60) for text in "abc"]
    assert [table.get(handle) for handle in handles] == [None, "b", "c"]


def test_handles_of_equal_seeds_are_equal() -> None:
    assert table_of().add("value", 60) == table_of().add("value", 60)


def test_a_revoked_family_has_no_usable_token() -> None:
    tokens = tokens_of()
    token = tokens.issue(GRANT, "family", 60)
    tokens.revoke("family")
    assert tokens.find(token) is None


def test_another_family_is_not_touched_by_a_revocation() -> None:
    tokens = tokens_of()
    token = tokens.issue(GRANT, "family", 60)
    tokens.revoke("other")
    assert tokens.find(token)


def test_a_replaced_token_is_valid_within_the_leeway_only() -> None:
    clock = FixedClock()
    tokens = tokens_of(clock)
    old = tokens.issue(GRANT, "family", 600)
    found = tokens.find(old)
    assert found
    new = tokens.rotate(old, found, 600)
    clock.instant = 9.0
    assert tokens.find(old, leeway=10)
    clock.instant = 10.0
    assert tokens.find(old, leeway=10) is None
    assert tokens.find(new) is None, "its family is revoked"
