"""Both transports do the same with random requests to random configurations; a rule broken on one of them is found.

`make transports CONFIGS=500` compares more of them.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager
from typing import Any

import pytest

from proxy.http.header_plan import HeaderEdits, PlannedHead, RequestPlan, ResponsePlan
from proxy.http.identity_headers import identity_lines
from proxy.http.location import Locations
from proxy.http.request import RequestFields
from proxy.noetl.surface import by_path
from proxy.policy.acl import Action
from proxy.policy.cors import CorsPolicy
from proxy.rate_limits import RateLimit
from tests.transports.compare import Seen, compared

CONFIGURATIONS, REQUESTS = 20, 40
Break = Callable[[pytest.MonkeyPatch], None]


@pytest.fixture(scope="module")
def runs() -> list[Seen]:
    """The sample: what the gateways with the fast path did, once nothing differs."""
    runs = []
    for seed in range(CONFIGURATIONS):
        found, seen = asyncio.run(compared(seed, REQUESTS))
        assert found is None, str(found)
        runs.append(seen)
    return runs


@pytest.mark.slow
def test_both_transports_do_the_same_with_random_requests(runs: list[Seen]) -> None:
    assert len(runs) == CONFIGURATIONS


@pytest.mark.slow
def test_sample_meets_every_kind_of_response_and_the_fast_path(runs: list[Seen]) -> None:
    statuses = Counter(line[3] for run in runs for lines in run.lines for line in lines)
    assert {200, 204, 304, 400, 401, 403, 404, 405, 413, 415, 429, 502} <= set(statuses)
    assert sum(run.served_fast for run in runs) > CONFIGURATIONS * REQUESTS // 4


BREAKS: dict[str, Break] = {
    "guards after the session are not applied": lambda p: p.setattr("proxy.guards.check_principal", lambda *_: None),
    "guards before the session are not applied": lambda p: p.setattr("proxy.guards.check_connection", lambda *_: None),
    "origins are not checked": lambda p: p.setattr("proxy.guards.is_trusted_origin", lambda *_: True),
    "rate limits do not count": lambda p: p.setattr(RateLimit, "count", lambda *_: None),
    "all fields are forwarded": lambda p: p.setattr(
        RequestPlan, "lines", lambda _, fields: b"".join(b"%b: %b\r\n" % field for field in fields)
    ),
    "header edits do not set fields": lambda p: p.setattr(HeaderEdits, "lines", property(lambda _: b"")),
    "response edits and cookies are not applied": lambda p: p.setattr(ResponsePlan, "head", _unplanned),
    "locations are not translated": lambda p: p.setattr(Locations, "translate", lambda _, value: value),
    "the address is the peer's": lambda p: p.setattr(RequestFields, "client", lambda _, peer, __: peer[:2]),
    "identity has no roles": lambda p: p.setattr("proxy.exchange.identity_lines", _without_roles),
    "every request is judged by its path": lambda p: p.setattr(
        "proxy.relay.relayed.classify", lambda *_: by_path(Action.VIEW)
    ),
    "CORS fields are left out": lambda p: p.setattr(CorsPolicy, "response_headers", lambda *_: ()),
    "request ids of clients are not kept": lambda p: p.setattr("proxy.http.request.is_request_id", lambda _: False),
    "only the first cookie is tried": lambda p: p.setattr("proxy.http.credentials._MAX_COOKIES", 1),
    "secrets in queries are logged": lambda p: p.setattr("proxy.server.dispatcher.redact_query", lambda query: query),
    "details are not logged": lambda p: p.setattr("proxy.exchange.Exchange.note", lambda *_: None),
}


FOUND_BY = {
    "rate limits do not count": 9,
    "header edits do not set fields": 2,
    "locations are not translated": 11,
    "only the first cookie is tried": 10,
}
"""The seed of a configuration that finds it; only to be quick: the others are tried next."""


def _unplanned(
    _: object, status: int, reason: bytes, fields: list[tuple[bytes, bytes]], *, chunked: bool, **__: bool
) -> PlannedHead:
    dropped = {b"connection", b"transfer-encoding"} | ({b"content-length"} if chunked or status == 204 else set())
    kept = [field for field in fields if field[0] not in dropped]
    lines = b"HTTP/1.1 %d %b\r\n" % (status, reason) + b"".join(b"%b: %b\r\n" % field for field in kept)
    return PlannedHead(lines, dated=True)


def _without_roles(user: Any, address: str, scheme: str, host: str) -> bytes:
    return identity_lines(user._replace(roles=()) if user else None, address, scheme, host)


def broken(name: str) -> Callable[[], AbstractContextManager[None]]:
    """Return a context in which one rule is broken."""

    @contextmanager
    def context() -> Iterator[None]:
        with pytest.MonkeyPatch.context() as patch:
            BREAKS[name](patch)
            yield

    return context


@pytest.mark.slow
@pytest.mark.parametrize("name", BREAKS)
def test_rule_that_is_broken_on_one_transport_is_found(name: str) -> None:
    known = FOUND_BY.get(name, 0)
    for seed in (known, *(seed for seed in range(CONFIGURATIONS) if seed != known)):
        found, _ = asyncio.run(compared(seed, REQUESTS, broken=broken(name)))
        if found is not None:
            return
    pytest.fail("not found")
