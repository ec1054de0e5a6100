"""Who is let in, also after a reload has changed the limits under open connections."""

from __future__ import annotations

import pytest

from proxy.config.model import ServerLimits
from proxy.server.connection_limits import ConnectionLimits


def per_address(limit: int) -> ServerLimits:
    return ServerLimits(max_connections_per_ip=limit)


@pytest.fixture
def limits() -> ConnectionLimits:
    return ConnectionLimits(per_address(0), ())


def test_a_limit_that_a_reload_brings_counts_connections_that_were_open_before(limits: ConnectionLimits) -> None:
    assert limits.admit("a", trusted=False)
    limits.limits = per_address(1)
    assert not limits.admit("a", trusted=False)
    assert limits.admit("b", trusted=False)
    limits.release("a")
    assert limits.admit("a", trusted=False)


def test_a_limit_that_goes_and_comes_back_finds_the_count_right(limits: ConnectionLimits) -> None:
    limits.limits = per_address(2)
    assert limits.admit("a", trusted=False)
    assert limits.admit("a", trusted=False)
    limits.limits = per_address(0)
    limits.release("a")
    limits.limits = per_address(2)
    assert limits.admit("a", trusted=False)
    assert not limits.admit("a", trusted=False)


def test_an_address_is_limited_once_a_reload_no_longer_trusts_it(limits: ConnectionLimits) -> None:
    limits.limits = per_address(1)
    assert limits.admit("a", trusted=True)
    assert not limits.admit("a", trusted=False)


def test_connections_that_ended_do_not_count_against_an_address(limits: ConnectionLimits) -> None:
    limits.limits = per_address(1)
    for _ in range(3):
        assert limits.admit("a", trusted=False)
        limits.release("a")
    assert limits.open == 0
