"""Which principal a request has, and what the outcome of the check is counted as."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field, replace

import pytest

from proxy.http.credentials import NO_CREDENTIALS, Credentials
from proxy.identity.principal import Principals, StoredSessions, TenantTrust, WrongBinding
from proxy.policy.acl import Action
from proxy.policy.binding import Bind
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import MustWait, Session, StoreError
from tests.unit.identity.people import policy, principal, rule, session

ADDRESS, AGENT = "192.0.2.1", "browser"
LIVE, ENDED, UNKNOWN = b"live", b"ended", b"unknown"
RULES = policy(rule("allow", Action.VIEW, playbooks="a/**", roles=("dev",)))


@dataclass(slots=True)
class Checks:
    """The counts of session checks."""

    session_checks: dict[str, int] = field(
        default_factory=lambda: dict.fromkeys(("valid", "invalid", "missing", "error"), 0)
    )

    @property
    def counted(self) -> list[str]:
        """The outcomes that were counted."""
        return [name for name, count in self.session_checks.items() for _ in range(count)]


class SlowStore:
    """A store that can only be read with a wait; a key in `broken` makes it fail."""

    def __init__(self, store: MemoryStore, broken: bytes = b"") -> None:
        self._store, self._broken = store, broken
        self.touched: list[bytes] = []

    async def get(self, key: bytes) -> Session | None:
        if key == self._broken:
            raise StoreError("disk full")
        return self._store.peek(key)

    def touch(self, key: bytes, now: float) -> None:
        self.touched.append(key)


class BrokenStore(MemoryStore):
    """A store whose read without a wait fails."""

    def peek(self, key: bytes) -> Session | None:
        raise StoreError("disk full")


def presented(*keys: bytes) -> Credentials:
    return Credentials(keys, (), has_cookie=False, presented=True, tokens=("",) * len(keys))


def live(*, last_seen: float = 0.0) -> Session:
    """A session that began now and was last used so many seconds ago."""
    now = time.time()
    return replace(session(), user_id=0, created_at=now, expires_at=now + 600, last_seen_at=now - last_seen)


def principals(
    store: object, checks: Checks, bind: Bind = Bind.NONE, *, idle: float = 0.0, claim: str | None = None
) -> Principals:
    sessions = StoredSessions(store)  # type: ignore[arg-type]
    trust = {"tenant.test": TenantTrust(claim, email_assumed=False)}
    return Principals(sessions, store, idle, RULES, bind, trust, checks)  # type: ignore[arg-type]


@pytest.fixture
async def store() -> MemoryStore:
    """A store with one live session and one that has expired."""
    made = MemoryStore()
    await made.create(LIVE, live(), max_per_user=0)
    await made.create(ENDED, replace(live(), expires_at=time.time() - 1), max_per_user=0)
    return made


@pytest.mark.parametrize(
    ("credentials", "found", "outcome"),
    [
        (presented(LIVE), LIVE, "valid"),
        (presented(ENDED, UNKNOWN, LIVE), LIVE, "valid"),
        (presented(ENDED), None, "invalid"),
        (presented(UNKNOWN), None, "invalid"),
        (presented(), None, "invalid"),
        (NO_CREDENTIALS, None, "missing"),
    ],
    ids=["live", "live after others", "ended", "unknown", "malformed", "none"],
)
async def test_first_live_session_is_the_principal_and_each_check_is_counted_once(
    store: MemoryStore, credentials: Credentials, found: bytes | None, outcome: str
) -> None:
    for fetched in (False, True):
        checks = Checks()
        finder = principals(SlowStore(store) if fetched else store, checks)
        if fetched and credentials.keys:
            with pytest.raises(MustWait):
                finder.find(credentials, ADDRESS, AGENT)
        who = await finder.fetch(credentials, ADDRESS, AGENT)
        assert (who.key if who else None, checks.counted) == (found, [outcome])


@pytest.mark.parametrize(("idle", "last_seen", "outcome"), [(60, 59, "valid"), (60, 61, "invalid"), (0, 599, "valid")])
async def test_unused_session_ends_after_the_idle_timeout(idle: float, last_seen: float, outcome: str) -> None:
    store, checks = MemoryStore(), Checks()
    await store.create(LIVE, live(last_seen=last_seen), max_per_user=0)
    principals(store, checks, idle=idle).find(presented(LIVE), ADDRESS, AGENT)
    assert checks.counted == [outcome]


@pytest.mark.parametrize(
    ("idle", "last_seen", "touched"),
    [(0, 59, False), (0, 61, True), (3600, 61, True), (100, 9, False), (100, 11, True)],
)
async def test_use_is_stored_after_a_minute_or_a_tenth_of_the_idle_timeout(
    idle: float, last_seen: float, touched: bool
) -> None:
    store = MemoryStore()
    await store.create(LIVE, live(last_seen=last_seen), max_per_user=0)
    slow = SlowStore(store)
    await principals(slow, Checks(), idle=idle).fetch(presented(LIVE), ADDRESS, AGENT)
    principals(store, Checks(), idle=idle).find(presented(LIVE), ADDRESS, AGENT)
    stored = store.peek(LIVE)
    assert stored is not None
    assert (slow.touched, time.time() - stored.last_seen_at < 5) == ([LIVE] if touched else [], touched)


@pytest.mark.parametrize("bind", [Bind.IP, Bind.BOTH])
async def test_session_from_another_address_is_rejected_and_names_no_token(store: MemoryStore, bind: Bind) -> None:
    for finder_store in (store, SlowStore(store)):
        checks = Checks()
        with pytest.raises(WrongBinding) as raised:
            await principals(finder_store, checks, bind).fetch(presented(LIVE), "198.51.100.9", AGENT)
        assert raised.value.detail == "session s1 of user 1 is bound to another address"
        assert (raised.value.status, raised.value.denied, checks.counted) == (401, True, ["invalid"])


async def test_user_agent_is_compared_by_its_stored_part() -> None:
    store, agent = MemoryStore(), "x" * 256
    await store.create(LIVE, replace(live(), user_agent=agent), max_per_user=0)
    finder = principals(store, Checks(), Bind.USER_AGENT)
    assert finder.find(presented(LIVE), ADDRESS, agent + "more") is not None


async def test_store_failure_is_counted_and_raised() -> None:
    slow, checks = SlowStore(MemoryStore(), broken=LIVE), Checks()
    with pytest.raises(StoreError):
        await principals(slow, checks).fetch(presented(LIVE), ADDRESS, AGENT)
    with pytest.raises(StoreError):
        principals(BrokenStore(), checks).find(presented(LIVE), ADDRESS, AGENT)
    assert checks.counted == ["error", "error"]


async def test_principal_is_the_same_object_until_the_stored_session_changes(store: MemoryStore) -> None:
    finder = principals(store, Checks())
    first = finder.find(presented(LIVE), ADDRESS, AGENT)
    assert finder.find(presented(LIVE), ADDRESS, AGENT) is first
    store.touch(LIVE, time.time() + 5)
    second = finder.find(presented(LIVE), ADDRESS, AGENT)
    assert second is not None
    assert second is not first
    assert second.session is store.peek(LIVE)


def test_session_that_was_just_made_is_not_cached() -> None:
    finder, made = principals(MemoryStore(), Checks()), live()
    assert finder.of_session(b"", made) is not finder.of_session(b"", made)


@pytest.mark.parametrize(
    ("claim", "claims", "email", "roles"),
    [
        ("roles", {"roles": ["ops", "a,b", 5]}, "anna@x.org", ["dev", "ops"]),
        ("roles", {"roles": "ops"}, "anna@y.org", ["ops"]),
        (None, {"roles": ["ops"]}, "anna@y.org", []),
        ("roles", {}, "", []),
    ],
)
def test_roles_come_from_the_claim_of_the_tenant_and_from_the_configuration(
    claim: str | None, claims: dict[str, object], email: str, roles: list[str]
) -> None:
    finder = principals(MemoryStore(), Checks(), claim=claim)
    who = finder.of_session(b"key", session(email, claims=claims))
    assert who.document["roles"] == roles
    assert sorted(who.user.roles) == roles
    assert who.permits.allows_playbook(Action.VIEW, "a/b") is ("dev" in roles)


def test_user_as_json_is_valid_utf_8_whatever_the_token_says() -> None:
    who = principal(RULES, session("a\ud800@x.org", name="Ännä \udfff", user_id=3))
    expected = {"user_id": 3, "email": "a?@x.org", "display_name": "Ännä ?", "roles": ["dev"]}
    assert json.loads(who.user_json) == expected
    assert json.loads(who.expires_at_json) == "2027-01-16T08:00:00+00:00"


async def test_session_is_alive_until_it_ends_or_is_removed(store: MemoryStore) -> None:
    finder = principals(store, Checks())
    assert [await finder.still_alive(key) for key in (LIVE, ENDED, UNKNOWN)] == [True, False, False]
    await store.end(LIVE)
    assert not await finder.still_alive(LIVE)
