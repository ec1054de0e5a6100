"""The tables a tenant remembers things in: their bound, their lifetime, and refresh-token families."""

from __future__ import annotations

from dataclasses import dataclass

from mock_auth0.state import Authorization, RefreshTokens, Table

GRANT = Authorization(client_id="client", subject="auth0|1", scope=("openid",))


@dataclass
class Clock:
    now: float = 0.0

    def __call__(self) -> float:
        return self.now


def test_a_value_is_found_under_its_handle() -> None:
    table: Table[str] = Table(60)
    assert table.get(table.add("value")) == "value"


def test_a_popped_value_is_gone() -> None:
    table: Table[str] = Table(60)
    handle = table.add("value")
    assert (table.pop(handle), table.pop(handle)) == ("value", None)


def test_a_value_is_forgotten_when_its_time_is_over() -> None:
    clock = Clock()
    table: Table[str] = Table(60, clock=clock)
    handle = table.add("value")
    clock.now = 60.0
    assert table.get(handle) is None


def test_expired_values_make_room() -> None:
    clock = Clock()
    table: Table[str] = Table(60, clock=clock)
    table.add("old")
    clock.now = 61.0
    table.add("new")
    assert len(table) == 1


def test_a_full_table_forgets_the_oldest() -> None:
    table: Table[int] = Table(60, limit=2)
    handles = [table.add(number) for number in range(3)]
    assert [table.get(handle) for handle in handles] == [None, 1, 2]


def test_a_revoked_family_has_no_usable_token() -> None:
    tokens = RefreshTokens()
    token = tokens.issue(GRANT, "family")
    tokens.revoke("family")
    assert tokens.find(token) is None


def test_another_family_is_not_touched_by_a_revocation() -> None:
    tokens = RefreshTokens()
    token = tokens.issue(GRANT, "family")
    tokens.revoke("other")
    assert tokens.find(token)
