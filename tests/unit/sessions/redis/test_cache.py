"""How long a cached session may be used, by the state of the subscription; the clock is the test's."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import Any, cast

import pytest

from proxy.sessions.redis.cache import SessionCache
from proxy.sessions.redis.link import Link, State
from proxy.sessions.store import Identity, MustWait, Session, StoreError, new_session

KEY = bytes(range(32))
RECHECK, GRACE = 30.0, 10.0


@dataclass
class Subscription:
    """What the cache reads of a subscription."""

    state: State = State.CONNECTED
    epoch: int = 1
    trusted_until: float = 1e9
    lost_at: float = 0.0


@pytest.fixture
def clock(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The time, which the test changes; it is the wall clock too."""
    now = [1000.0]
    monkeypatch.setattr(time, "monotonic", lambda: now[0])
    monkeypatch.setattr(time, "time", lambda: now[0])
    return now


@pytest.fixture
def link() -> Subscription:
    """A subscription that is trusted."""
    return Subscription()


def cache_of(link: Subscription, idle: float = 0.0) -> SessionCache:
    """A cache with this subscription."""
    return SessionCache(cast(Link, link), RECHECK, GRACE, idle)


def session(key: bytes = KEY, now: float = 1000.0) -> Session:
    """A session."""
    who = Identity("https://tenant.test/", "anna", "", "anna", "tenant.test")
    return new_session(key, who, now=now, lifetime=600, ip="", user_agent="")


def read(cache: SessionCache, key: bytes = KEY, data: bytes = b"1") -> Session:
    """Let the cache see a session that is read from Redis."""
    epoch = cache.begin(key)
    return cache.put(key, session(key), data, epoch if cache.end(key) else -1)


def found(cache: SessionCache, key: bytes = KEY) -> Any:
    """The session, or the kind of the error."""
    try:
        return cache.find(key)
    except (MustWait, StoreError) as error:
        return type(error)


def test_a_session_is_used_from_the_cache_until_it_is_to_be_read_again(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link)
    assert found(cache) is MustWait
    first = read(cache)
    clock[0] += RECHECK * 0.5
    assert found(cache) is first
    assert cache.stale == set()
    clock[0] += RECHECK * 0.4
    assert found(cache) is first
    assert cache.keys(cache.stale) == [KEY]
    clock[0] += RECHECK * 0.2
    assert found(cache) is MustWait


def test_another_key_with_the_same_beginning_is_another_session(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link)
    read(cache)
    assert found(cache, KEY[:12] + bytes(20)) is MustWait


def test_nothing_is_trusted_without_a_recent_pong(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link)
    read(cache)
    link.trusted_until = clock[0]
    assert found(cache) is MustWait


def test_what_was_read_without_trust_or_in_an_earlier_subscription_is_not_used(
    clock: list[float], link: Subscription
) -> None:
    cache = cache_of(link)
    link.trusted_until = 0.0
    read(cache)
    link.trusted_until = 1e9
    assert found(cache) is MustWait
    read(cache)
    link.epoch = 2
    assert found(cache) is MustWait
    again = read(cache)
    assert found(cache) is again


def test_a_session_that_ends_while_it_is_read_is_not_cached(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link)
    epoch = cache.begin(KEY)
    cache.drop(KEY[:12])
    assert not cache.end(KEY)
    assert found(cache) is MustWait
    assert epoch == 1
    again = read(cache)
    assert found(cache) is again


def test_an_ended_session_is_not_used_in_any_state(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link)
    read(cache)
    cache.drop(KEY[:12])
    assert found(cache) is MustWait
    link.state, link.lost_at = State.AWAY, clock[0]
    assert found(cache) is StoreError


def test_an_unchanged_session_is_the_same_object_and_a_later_use_another(
    clock: list[float], link: Subscription
) -> None:
    cache = cache_of(link)
    first = read(cache)
    assert read(cache) is first
    cache.touch(KEY, 1100.0)
    used = found(cache)
    assert (used, used.last_seen_at) == (first.with_last_use(1100.0), 1100.0)
    assert read(cache) is used
    assert read(cache, data=b"2") is not used


def test_while_redis_is_away_a_session_is_used_for_the_grace(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link)
    first = read(cache)
    clock[0] += 5
    link.state, link.lost_at = State.AWAY, clock[0]
    assert found(cache) is first
    assert found(cache, bytes(32)) is StoreError
    clock[0] += GRACE
    assert found(cache) is StoreError


def test_a_session_that_was_to_be_read_again_before_the_loss_is_not_used(
    clock: list[float], link: Subscription
) -> None:
    cache = cache_of(link)
    read(cache)
    clock[0] += RECHECK + 1
    link.state, link.lost_at = State.AWAY, clock[0]
    assert found(cache) is StoreError


def test_until_an_attempt_has_failed_redis_is_asked(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link)
    first = read(cache)
    link.state, link.lost_at, link.trusted_until = State.LOST, clock[0], 0.0
    assert found(cache) is MustWait
    assert cache.while_away(KEY) is first


def test_a_session_that_seems_idle_is_read_again(clock: list[float], link: Subscription) -> None:
    cache = cache_of(link, idle=10.0)
    first = read(cache)
    clock[0] += 9
    assert found(cache) is first
    clock[0] += 1
    assert found(cache) is MustWait
