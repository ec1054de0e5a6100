"""Who is let in, also after a reload has changed the limits under open connections."""

from __future__ import annotations

import pytest

from proxy.config.model import ServerLimits
from proxy.server.connection_limits import ConnectionLimits


def per_address(limit: int) -> ServerLimits:
    return ServerLimits(max_connections_per_ip=limit)


@pytest.fixture
def admissions() -> Admissions:
    return ConnectionLimits(per_address(0), ())


def test_a_limit_that_a_reload_brings_counts_connections_that_were_open_before(admissions: Admissions) -> None:
    assert admissions.admit("a", trusted=False)
    admissions.limits = per_address(1)
    assert not admissions.admit("a", trusted=False)
    assert admissions.admit("b", trusted=False)
    admissions.leave("a")
    assert admissions.admit("a", trusted=False)


def test_a_limit_that_goes_and_comes_back_finds_the_count_right(admissions: Admissions) -> None:
    admissions.limits = per_address(2)
    assert admissions.admit("a", trusted=False)
    assert admissions.admit("a", trusted=False)
    admissions.limits = per_address(0)
    admissions.leave("a")
    admissions.limits = per_address(2)
    assert admissions.admit("a", trusted=False)
    assert not admissions.admit("a", trusted=False)


def test_an_address_is_limited_once_a_reload_no_longer_trusts_it(admissions: Admissions) -> None:
    admissions.limits = per_address(1)
    assert admissions.admit("a", trusted=True)
    assert not admissions.admit("a", trusted=False)


def test_an_address_without_connections_is_not_remembered(admissions: Admissions) -> None:
    assert admissions.admit("a", trusted=False)
    admissions.limits = per_address(1)
    admissions.leave("a")
    assert not admissions._by_address
