"""Which of several urls a request goes to."""

from __future__ import annotations

from collections import Counter

import pytest

from proxy.upstream.balance import Balance, Balancer, CircuitOpen, Endpoint
from proxy.upstream.circuit_breaker import CircuitBreaker, CircuitBreakerSettings
from proxy.upstream.pool import Pool, PoolSettings


class Clock(Pool):
    """A pool whose time and load a test decides."""

    at_work = 0

    def __init__(self, url: str, settings: PoolSettings) -> None:
        super().__init__(url, settings, None, None)
        self.moment = 100.0
        self.now = lambda: self.moment

    @property
    def busy(self) -> int:
        return self.at_work


def endpoint(number: int, *, circuit: bool = False, alone: bool = False) -> Endpoint:
    pool = Clock(f"http://10.0.0.{number}:80", PoolSettings(1, 1, 1, 1, 1))
    return Endpoint(pool, CircuitBreaker(CircuitBreakerSettings(1, 10, 5)) if circuit else None, alone=alone)


def balancer(balance: Balance, *endpoints: Endpoint, hash_on: str | None = None) -> Balancer:
    return Balancer(endpoints, balance, hash_on)


def three() -> tuple[Endpoint, Endpoint, Endpoint]:
    return endpoint(1), endpoint(2), endpoint(3)


def test_round_robin_takes_turns() -> None:
    a, b, c = three()
    turns = [balancer_.choose() for balancer_ in [balancer(Balance.ROUND_ROBIN, a, b, c)] for _ in range(6)]
    assert turns[:3] == turns[3:]
    assert set(turns[:3]) == {a, b, c}


def test_least_requests_takes_the_one_with_the_fewest() -> None:
    a, b, c = three()
    a.pool.at_work, b.pool.at_work, c.pool.at_work = 2, 1, 3  # type: ignore[attr-defined]
    chosen = balancer(Balance.LEAST_REQUESTS, a, b, c)
    assert [chosen.choose() for _ in range(3)] == [b, b, b]


def test_least_requests_spreads_where_all_have_as_many() -> None:
    chosen = balancer(Balance.LEAST_REQUESTS, *three())
    assert len({id(chosen.choose()) for _ in range(3)}) == 3


def test_a_key_always_goes_to_the_same_url() -> None:
    chosen = balancer(Balance.CONSISTENT_HASH, *three())
    assert len({id(chosen.choose(b"549325390032929117")) for _ in range(20)}) == 1


def test_keys_spread_over_the_urls() -> None:
    chosen = balancer(Balance.CONSISTENT_HASH, *three())
    counts = Counter(id(chosen.choose(b"%d" % number)) for number in range(3000))
    assert min(counts.values()) > 850


def test_an_url_that_goes_moves_only_its_own_keys() -> None:
    a, b, c = three()
    before = balancer(Balance.CONSISTENT_HASH, a, b, c)
    after = balancer(Balance.CONSISTENT_HASH, a, b)
    keys = [b"%d" % number for number in range(500)]
    stayed = [key for key in keys if before.choose(key) is not c]
    assert [before.choose(key) for key in stayed] == [after.choose(key) for key in stayed]


def test_without_a_key_a_consistent_hash_takes_turns() -> None:
    chosen = balancer(Balance.CONSISTENT_HASH, *three())
    assert len({id(chosen.choose(None)) for _ in range(3)}) == 3


def test_an_unhealthy_url_is_left_alone() -> None:
    a, b, c = three()
    b.healthy = False
    chosen = balancer(Balance.ROUND_ROBIN, a, b, c)
    assert b not in [chosen.choose() for _ in range(9)]


def test_where_all_are_unhealthy_all_are_tried() -> None:
    urls = three()
    for each in urls:
        each.healthy = False
    chosen = balancer(Balance.ROUND_ROBIN, *urls)
    assert {id(chosen.choose()) for _ in range(3)} == {id(each) for each in urls}


def test_one_that_can_not_be_reached_is_ejected_at_once_and_longer_each_time() -> None:
    a = endpoint(1)
    a.failed(unreachable=True)
    first = a.ejected_until - a.pool.now()
    a.pool.moment = a.ejected_until  # type: ignore[attr-defined]
    assert a.is_usable(a.pool.now())
    a.failed(unreachable=True)
    assert a.ejected_until - a.pool.now() == 2 * first


def test_one_that_answers_badly_is_ejected_after_five_in_a_row() -> None:
    a = endpoint(1)
    for _ in range(4):
        a.failed(unreachable=False)
    a.succeeded()
    for _ in range(4):
        a.failed(unreachable=False)
    assert a.is_usable(a.pool.now())
    a.failed(unreachable=False)
    assert not a.is_usable(a.pool.now())


def test_an_only_url_is_never_ejected() -> None:
    a = endpoint(1, alone=True)
    for _ in range(10):
        a.failed(unreachable=True)
    assert a.is_usable(a.pool.now())


def test_what_was_tried_before_is_avoided_while_there_is_another() -> None:
    a, b, c = three()
    chosen = balancer(Balance.ROUND_ROBIN, a, b, c)
    assert {chosen.choose(None, [a, c]) for _ in range(4)} == {b}
    assert chosen.choose(None, [a, b, c]) in (a, b, c)


def test_an_open_circuit_is_never_sent_to() -> None:
    a, b = endpoint(1, circuit=True), endpoint(2, circuit=True)
    a.failed(unreachable=False)
    chosen = balancer(Balance.ROUND_ROBIN, a, b)
    assert {chosen.choose() for _ in range(4)} == {b}


def test_request_with_all_circuits_open_gets_the_waiting_time() -> None:
    a, b = endpoint(1, circuit=True), endpoint(2, circuit=True)
    a.failed(unreachable=False)
    a.pool.moment = b.pool.moment = 102  # type: ignore[attr-defined]
    b.failed(unreachable=False)
    with pytest.raises(CircuitOpen) as caught:
        balancer(Balance.ROUND_ROBIN, a, b).choose()
    assert caught.value.retry_after == 3


def test_execution_of_a_shard_has_one_url_also_if_that_is_unhealthy() -> None:
    a, b, c, d = endpoint(1), endpoint(2), endpoint(3), endpoint(4)
    chosen = balancer(Balance.NOETL_SHARDS, a, b, c, d)
    b.healthy = False
    assert {chosen.choose(b"549325390032929117", avoid=(b,)) for _ in range(4)} == {b}
    assert {chosen.choose() for _ in range(12)} == {a, c, d}


def test_open_circuit_of_a_shard_is_not_ignored() -> None:
    a, b = endpoint(1, circuit=True), endpoint(2, circuit=True)
    b.failed(unreachable=False)
    chosen = balancer(Balance.NOETL_SHARDS, a, b)
    with pytest.raises(CircuitOpen):
        chosen.choose(b"549325390032929117")
