"""The guards of a request, in their order."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import ip_network
from typing import Any, cast

import pytest

from proxy.errors import Forbidden, TooManyRequests, Unauthorized
from proxy.guards import OPTIONAL, REQUIRED, RouteGuards, admit, is_trusted_origin
from proxy.http.credentials import Credentials
from proxy.http.origin import read_origin
from proxy.http.request import RequestFields, RequestHead
from proxy.identity.principal import Principal
from proxy.policy.cors import compile_cors
from proxy.policy.ratelimit import LimitKey, LimitSettings, RateLimiter
from proxy.rate_limits import RateLimit
from proxy.sessions.store import StoreError

TOKEN = "a" * 32
CORS = compile_cors(
    origins=("http://ours.test", "*"),
    allow_credentials=False,
    methods=(),
    headers=(),
    exposed=(),
    max_age=1,
    allow_private_network=False,
)
OPEN = RouteGuards("/x", CORS, (), OPTIONAL, frozenset(), None, True, False, read_origin("https://public.test"))
INSIDE = (ip_network("198.51.100.0/24"),)


class Somebody:
    """A principal, as far as guards look at one."""

    def __init__(self, *roles: str) -> None:
        self.key, self.user_id, self.subject = b"key", 1, self
        self.roles = frozenset(roles)


class Known:
    """Knows one principal; notes that it was asked."""

    def __init__(self, principal: Somebody | None = None) -> None:
        self.principal = principal
        self.asked = 0

    def find(self, credentials: Credentials, address: str, user_agent: str) -> Principal | None:
        self.asked += 1
        return cast(Principal | None, self.principal if credentials.keys else None)

    async def fetch(self, credentials: Credentials, address: str, user_agent: str) -> Principal | None:
        return self.find(credentials, address, user_agent)


def head(*lines: str, method: str = "GET", address: str = "198.51.100.7", scheme: str = "https") -> RequestHead:
    pairs = (line.partition(": ") for line in ("host: gateway.test", *lines))
    fields = RequestFields([(name.encode(), value.encode()) for name, _, value in pairs], "sid")
    return RequestHead(method, "/x", "", fields, address, scheme)


def limit(key: LimitKey) -> RateLimit:
    return RateLimit(RateLimiter(LimitSettings("api", requests=1, period=3600.0, burst=1, key=key)), {})


SIGNED_IN = f"authorization: Bearer {TOKEN}"
COOKIE = f"cookie: sid={TOKEN}"


def test_session_is_optional_or_required() -> None:
    assert admit(OPEN, head(), Known()) is None
    with pytest.raises(Unauthorized):
        admit(replace(OPEN, session=REQUIRED), head(), Known(Somebody()))
    somebody = Somebody()
    assert cast(Any, admit(replace(OPEN, session=REQUIRED), head(SIGNED_IN), Known(somebody))) is somebody


def test_session_is_not_looked_for_where_the_route_needs_none() -> None:
    known = Known(Somebody())
    assert admit(replace(OPEN, session="none"), head(SIGNED_IN), known) is None
    assert known.asked == 0


@pytest.mark.parametrize(("address", "fine"), [("198.51.100.7", True), ("203.0.113.1", False), ("unknown", False)])
def test_address_must_be_in_allow_from(address: str, fine: bool) -> None:
    guards, known = replace(OPEN, allow_from=INSIDE), Known()
    if fine:
        admit(guards, head(address=address), known)
        return
    with pytest.raises(Forbidden):
        admit(guards, head(address=address), known)
    assert known.asked == 0


def test_role_of_the_route_is_required() -> None:
    guards = replace(OPEN, roles=frozenset({"admin", "ops"}))
    admit(guards, head(SIGNED_IN), Known(Somebody("ops")))
    for known in (Known(Somebody("staff")), Known()):
        with pytest.raises(Forbidden):
            admit(guards, head(SIGNED_IN), known)


def test_limit_by_address_counts_before_the_session_is_looked_for() -> None:
    guards, known = replace(OPEN, limit=limit(LimitKey.IP), session=REQUIRED), Known()
    with pytest.raises(Unauthorized):
        admit(guards, head(), known)
    with pytest.raises(TooManyRequests):
        admit(guards, head(), known)
    assert known.asked == 1


def test_limit_by_session_counts_after_the_role() -> None:
    guards = replace(OPEN, limit=limit(LimitKey.SESSION), roles=frozenset({"admin"}))
    for _ in range(3):
        with pytest.raises(Forbidden):
            admit(guards, head(SIGNED_IN), Known(Somebody("staff")))
    admit(guards, head(SIGNED_IN), Known(Somebody("admin")))
    with pytest.raises(TooManyRequests):
        admit(guards, head(SIGNED_IN), Known(Somebody("admin")))


@pytest.mark.parametrize(
    ("lines", "method", "fine"),
    [
        ([COOKIE, "origin: http://evil.test"], "POST", False),
        ([COOKIE, "origin: null"], "DELETE", False),
        ([COOKIE, "origin: http://evil.test"], "GET", True),
        ([COOKIE], "POST", True),
        ([COOKIE, "origin: http://ours.test"], "POST", True),
        ([COOKIE, "origin: https://gateway.test:443"], "POST", True),
        ([COOKIE, "origin: https://public.test"], "POST", True),
        ([SIGNED_IN, "origin: http://evil.test"], "POST", True),
        ([SIGNED_IN, COOKIE, "origin: http://evil.test"], "POST", False),
        (["cookie: sid=zz", "origin: http://evil.test"], "POST", False),
    ],
)
def test_change_by_cookie_must_come_from_a_trusted_origin(lines: list[str], method: str, fine: bool) -> None:
    if fine:
        admit(OPEN, head(*lines, method=method), Known(Somebody()))
        return
    with pytest.raises(Forbidden, match="Origin not allowed"):
        admit(OPEN, head(*lines, method=method), Known(Somebody()))


def test_route_that_plants_a_cookie_checks_every_origin() -> None:
    guards = replace(OPEN, plants_cookie=True)
    with pytest.raises(Forbidden):
        admit(guards, head("origin: http://evil.test", method="POST"), Known())
    admit(guards, head("origin: http://ours.test", method="POST"), Known())


def test_wildcard_alone_trusts_no_origin() -> None:
    assert not is_trusted_origin(OPEN, head(), "http://evil.test")
    assert CORS.allows("http://evil.test")


def test_origin_is_checked_before_the_address() -> None:
    guards = replace(OPEN, allow_from=(ip_network("10.0.0.0/8"),))
    with pytest.raises(Forbidden, match="Origin not allowed"):
        admit(guards, head(COOKIE, "origin: http://evil.test", method="POST"), Known())


def test_store_failure_is_not_taken_for_no_session() -> None:
    class Broken(Known):
        def find(self, credentials: Credentials, address: str, user_agent: str) -> Principal | None:
            raise StoreError("broken")

    with pytest.raises(StoreError):
        admit(OPEN, head(SIGNED_IN), Broken())
