"""How many requests a key may make."""

from __future__ import annotations

import tracemalloc
from collections.abc import Hashable

import pytest

from proxy.policy.ratelimit import MAX_KEYS, LimitKey, LimitSettings, RateLimiter, Rejection, address_key

SETTINGS = LimitSettings("login", requests=60, period=60.0, burst=3, key=LimitKey.IP)


def allowed(limiter: RateLimiter, moments: list[float], key: object = "a") -> list[bool]:
    return [limiter.acquire(key, moment) is None for moment in moments]


def test_a_burst_is_allowed_at_once_and_then_one_for_each_interval() -> None:
    limiter = RateLimiter(SETTINGS)
    assert allowed(limiter, [100, 100, 100, 100]) == [True, True, True, False]
    assert allowed(limiter, [101, 101]) == [True, False]


def test_a_key_that_was_quiet_has_its_whole_burst_again_and_no_more() -> None:
    limiter = RateLimiter(SETTINGS)
    allowed(limiter, [100] * 3)
    assert allowed(limiter, [1000] * 4) == [True, True, True, False]


def test_a_refused_request_costs_nothing() -> None:
    limiter = RateLimiter(SETTINGS)
    allowed(limiter, [100] * 3)
    assert allowed(limiter, [100.5] * 50) == [False] * 50
    assert allowed(limiter, [101]) == [True]


def test_keys_do_not_count_for_each_other() -> None:
    limiter = RateLimiter(SETTINGS)
    allowed(limiter, [100] * 4, "a")
    assert allowed(limiter, [100] * 3, "b") == [True] * 3


def test_asking_whether_it_is_allowed_counts_nothing() -> None:
    limiter = RateLimiter(SETTINGS)
    assert all(limiter.allows("a", 100) for _ in range(10))
    allowed(limiter, [100] * 3)
    assert not limiter.allows("a", 100)


def test_over_a_long_time_it_is_the_rate() -> None:
    limiter = RateLimiter(SETTINGS)
    assert sum(allowed(limiter, [step / 10 for step in range(36_000)])) in range(3600, 3604)


def test_a_refusal_tells_when_to_come_back_in_the_draft_s_fields() -> None:
    limiter = RateLimiter(LimitSettings("api", 2, 60.0, 1, LimitKey.SESSION))
    limiter.acquire("a", 100)
    rejection = limiter.acquire("a", 110)
    assert isinstance(rejection, Rejection)
    assert rejection.retry_after == 20
    assert dict(rejection.fields) == {"ratelimit-policy": '"api";q=2;w=60', "ratelimit": '"api";r=0;t=20'}


@pytest.mark.parametrize(
    ("one", "other", "same"),
    [
        ("192.0.2.1", "192.0.2.1", True),
        ("192.0.2.1", "192.0.2.2", False),
        ("192.0.2.1", "::ffff:192.0.2.1", True),
        ("2001:db8:0:1::1", "2001:db8:0:1:ffff::2", True),
        ("2001:db8:0:1::1", "2001:db8:0:2::1", False),
        ("::1", "0.0.0.0", False),
    ],
)
def test_an_ipv6_client_is_its_64_and_a_mapped_address_the_address(one: str, other: str, same: bool) -> None:
    assert (address_key(one) == address_key(other)) is same


def test_a_million_keys_take_less_than_64_mib() -> None:
    limiter, most = RateLimiter(SETTINGS), 0
    for number in range(1_000_000):
        limiter.acquire(_address_key_of(number), 100.0)
        if number % MAX_KEYS == MAX_KEYS - 1:
            most = max(most, len(limiter._whole_at))  # noqa: SLF001 - how many keys are kept is not public
    assert most <= 2 * MAX_KEYS
    assert most * _bytes_of_a_key() < 64 * 1024**2


def _address_key_of(number: int) -> Hashable:
    return address_key(f"2001:db8:{number >> 16:x}:{number & 0xFFFF:x}::1")


def _bytes_of_a_key() -> float:
    """Return the memory of a key, measured with fewer keys: the measurement makes every call slow."""
    limiter, count = RateLimiter(SETTINGS, max_keys=10_000), 20_000
    tracemalloc.start()
    try:
        for number in range(count):
            limiter.acquire(_address_key_of(number), 100.0)
        return tracemalloc.get_traced_memory()[1] / count
    finally:
        tracemalloc.stop()
