"""Access decisions: without a call upstream where the playbook is known, and with one where it is not."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import pytest

from proxy.errors import BadRequest, Forbidden, GatewayError, NotFound, PayloadTooLarge
from proxy.http.request import RequestFields, RequestHead
from proxy.noetl.api import NoetlApi
from proxy.noetl.authorize import Authorized, Authorizer
from proxy.noetl.known_facts import KnownFacts
from proxy.noetl.needs import About, Need
from proxy.noetl.on_behalf import OnBehalf
from proxy.noetl.surface import Judged, by_path, classify
from proxy.policy.acl import Action
from proxy.sessions.memory import MemoryStore
from tests.unit.identity.people import policy, principal, rule

POLICY = policy(
    rule("allow", Action.VIEW, Action.EXECUTE, playbooks="open/**", roles=("dev",)),
    rule("allow", Action.VIEW, playbooks="seen/**", roles=("dev",)),
    rule("deny", playbooks="open/secret"),
    rule("allow", Action.VIEW, paths="/noetl/**", roles=("dev",)),
)
WHO = principal(POLICY)
BEHALF = OnBehalf(b"", b"id", b"", b"key")
EXECUTE, RESOURCE = classify("POST", "/api/execute", None), classify("POST", "/api/catalog/resource", None)
VIEW, CANCEL = classify("GET", "/api/executions/1", None), classify("POST", "/api/executions/1/cancel", None)
DELETE = replace(VIEW, needs=(Need(About.EXECUTION, Action.DELETE, "1"),))
RERUN = classify("POST", "/api/executions/1/rerun", None)
PATH = by_path(Action.VIEW)


def head(method: str = "POST", path: str = "/noetl/x", query: str = "") -> RequestHead:
    return RequestHead(method, path, query, RequestFields([], None), "192.0.2.1", "http")


class Upstream:
    """A NoETL server that knows some playbooks, by execution and by catalog id; `asked` are the calls."""

    def __init__(self, executions: Mapping[str, str | None] | None = None, catalog: Mapping[str, str] | None = None):
        self.known = KnownFacts()
        self.asked: list[str] = []
        self._executions, self._catalog = executions or {}, catalog or {}

    def known_catalog_path(self, catalog_id: str) -> str | None:
        return self.known.catalog[catalog_id]

    async def path_of(self, execution_id: str, on_behalf: OnBehalf) -> str | None:
        self.asked.append(execution_id)
        if execution_id not in self._executions:
            raise NotFound
        return self._executions[execution_id]

    async def path_of_catalog_id(self, catalog_id: str, on_behalf: OnBehalf) -> str:
        self.asked.append(catalog_id)
        if catalog_id not in self._catalog:
            raise NotFound
        return self._catalog[catalog_id]


def authorizer(upstream: Upstream | None = None, store: MemoryStore | None = None) -> tuple[Authorizer, Counter[str]]:
    outcomes: Counter[str] = Counter()
    api = cast(NoetlApi, upstream) if upstream is not None else None
    return Authorizer(POLICY, store or MemoryStore(), api, outcomes), outcomes


def body(**document: Any) -> bytes:
    return json.dumps(document).encode()


@pytest.mark.parametrize(
    ("judged", "sent", "started"),
    [
        (PATH, b"", None),
        (EXECUTE, body(path="open/a"), "open/a"),
        (RESOURCE, body(path="seen/a"), None),
        (EXECUTE, body(catalog_id="9"), "open/of-catalog"),
        (VIEW, b"", None),
        (CANCEL, b"", None),
        (RERUN, b"", "open/of-execution"),
    ],
)
def test_request_about_a_known_playbook_is_allowed_without_a_call(
    judged: Judged, sent: bytes, started: str | None
) -> None:
    upstream = Upstream()
    upstream.known.paths.put("1", "open/of-execution")
    upstream.known.catalog.put("9", "open/of-catalog")
    decide, outcomes = authorizer(upstream)
    found = decide.authorize_known(WHO, judged, head("GET"), sent)
    assert (found, outcomes, upstream.asked) == (Authorized(started), {"allowed": 1}, [])


@pytest.mark.parametrize(
    ("judged", "sent", "detail"),
    [
        (EXECUTE, body(path="seen/a"), "execute seen/a: no rule allows it"),
        (EXECUTE, body(path="open/secret"), "execute open/secret: denied by gateway.yaml:deny"),
        (EXECUTE, body(catalog_id="9"), "execute seen/b: no rule allows it"),
        (RESOURCE, body(path="other"), "view other: no rule allows it"),
        (RERUN, b"", "execute seen/c: no rule allows it"),
    ],
)
def test_request_about_a_known_playbook_is_denied_with_the_reason_in_the_log_only(
    judged: Judged, sent: bytes, detail: str
) -> None:
    upstream = Upstream()
    upstream.known.catalog.put("9", "seen/b")
    upstream.known.paths.put("1", "seen/c")
    decide, outcomes = authorizer(upstream)
    with pytest.raises(Forbidden) as raised:
        decide.authorize_known(WHO, judged, head(), sent)
    assert (raised.value.text, raised.value.detail) == ("No access to playbook", detail)
    assert outcomes == {"denied": 1}


@pytest.mark.parametrize(
    ("action", "method", "path", "allowed"),
    [
        (Action.VIEW, "GET", "/noetl/x/y", True),
        (Action.MODIFY, "POST", "/noetl/x/y", False),
        (Action.VIEW, "GET", "/other", False),
    ],
)
def test_other_requests_are_judged_by_their_path(action: Action, method: str, path: str, allowed: bool) -> None:
    decide, outcomes = authorizer()
    if allowed:
        assert decide.authorize_known(WHO, by_path(action), head(method, path), b"") == Authorized(None)
    else:
        with pytest.raises(Forbidden) as raised:
            decide.authorize_known(WHO, by_path(action), head(method, path), b"")
        assert raised.value.detail == f"{action.value} {method} {path}: no rule allows it"
    assert outcomes == {"allowed" if allowed else "denied": 1}


@pytest.mark.parametrize(
    ("judged", "sent"),
    [(VIEW, b""), (EXECUTE, body(catalog_id="8")), (classify("GET", "/api/executions/2", None), b"")],
    ids=["not allowed to its playbook, but perhaps its starter", "catalog id", "unknown execution"],
)
def test_decision_that_needs_a_call_is_left_open_and_not_counted(judged: Judged, sent: bytes) -> None:
    upstream = Upstream()
    upstream.known.paths.put("1", "hidden/a")
    decide, outcomes = authorizer(upstream)
    assert decide.authorize_known(WHO, judged, head("GET"), sent) is None
    assert (outcomes, upstream.asked) == ({}, [])


@pytest.mark.parametrize("sent", [b"", b"[]", b"{}", b'{"path":"a","catalog_id":"1"}', b'{"path":"a","path":"b"}'])
def test_body_that_names_no_playbook_or_two_is_rejected(sent: bytes) -> None:
    decide, outcomes = authorizer(Upstream())
    with pytest.raises(BadRequest):
        decide.authorize_known(WHO, EXECUTE, head(), sent)
    assert outcomes == {}


@pytest.mark.parametrize(
    ("judged", "playbook", "starter", "error"),
    [
        (VIEW, "open/a", False, None),
        (VIEW, "hidden/a", False, Forbidden),
        (VIEW, "hidden/a", True, None),
        (VIEW, None, False, Forbidden),
        (VIEW, None, True, None),
        (CANCEL, "seen/a", False, Forbidden),
        (CANCEL, "seen/a", True, None),
        (DELETE, "open/a", True, Forbidden),
        (RERUN, "open/a", False, None),
        (RERUN, "seen/a", True, Forbidden),
        (RERUN, None, True, Forbidden),
    ],
)
async def test_execution_is_judged_by_its_playbook_or_its_starter(
    judged: Judged, playbook: str | None, starter: bool, error: type[GatewayError] | None
) -> None:
    store, upstream = MemoryStore(), Upstream({"1": playbook})
    store.store_execution_owner("1", WHO.user_id if starter else WHO.user_id + 1, 1.0)
    decide, outcomes = authorizer(upstream, store)
    if error is None:
        started = playbook if judged is RERUN else None
        assert await decide.authorize(WHO, judged, head("GET"), b"", BEHALF) == Authorized(started)
        assert outcomes == {"allowed": 1}
    else:
        with pytest.raises(error):
            await decide.authorize(WHO, judged, head("GET"), b"", BEHALF)
        assert outcomes["allowed"] == 0
    assert upstream.asked == ["1"]


@pytest.mark.parametrize(("found", "error"), [("open/a", None), ("seen/a", Forbidden), (None, NotFound)])
async def test_catalog_id_is_judged_by_the_playbook_that_it_names(
    found: str | None, error: type[GatewayError] | None
) -> None:
    upstream = Upstream(catalog={"8": found} if found else {})
    decide, _ = authorizer(upstream)
    if error is None:
        decided = await decide.authorize(WHO, EXECUTE, head(), body(catalog_id=8), BEHALF)
        assert decided == Authorized(found)
    else:
        with pytest.raises(error):
            await decide.authorize(WHO, EXECUTE, head(), body(catalog_id=8), BEHALF)
    assert upstream.asked == ["8"]


@pytest.mark.parametrize(("judged", "sent"), [(VIEW, b""), (RERUN, b""), (EXECUTE, body(catalog_id="8"))])
async def test_without_a_noetl_upstream_there_are_no_executions_and_no_catalog(judged: Judged, sent: bytes) -> None:
    decide, _ = authorizer()
    with pytest.raises(NotFound):
        await decide.authorize(WHO, judged, head(), sent, BEHALF)


async def test_authorizer_with_another_api_has_the_same_rules_and_counts() -> None:
    decide, outcomes = authorizer(Upstream())
    other = Upstream({"1": "open/a"})
    assert await decide.using(cast(NoetlApi, other)).execution(WHO, Action.VIEW, "1", BEHALF) == Authorized("open/a")
    assert (outcomes, other.asked) == ({"allowed": 1}, ["1"])


BATCH = classify("POST", "/api/execute/batch", None)
REGISTER = classify("POST", "/api/catalog/register", None)
STATE = classify("GET", "/api/replay/state", None)


@pytest.mark.parametrize(
    ("members", "error", "asked"),
    [
        ([{"path": "open/a"}, {"path": "open/b"}], None, []),
        ([{"path": "open/a"}, {"catalog_id": 8}], None, ["8"]),
        ([{"path": "open/a"}, {"path": "open/secret"}], Forbidden, []),
        ([{"catalog_id": 8}, {"path": "open/secret"}], Forbidden, []),
        ([{"catalog_id": 9}, {"path": "open/a"}], Forbidden, ["9"]),
    ],
)
async def test_one_denied_member_denies_the_batch_and_before_anything_is_looked_up(
    members: list[dict[str, Any]], error: type[GatewayError] | None, asked: list[str]
) -> None:
    upstream = Upstream(catalog={"8": "open/c", "9": "seen/a"})
    decide, outcomes = authorizer(upstream)
    sent = body(executions=members)
    if error is None:
        assert await decide.authorize(WHO, BATCH, head(), sent, BEHALF) == Authorized(None)
    else:
        with pytest.raises(error):
            await decide.authorize(WHO, BATCH, head(), sent, BEHALF)
    assert (upstream.asked, outcomes) == (asked, {"denied" if error else "allowed": 1})


@pytest.mark.parametrize(
    ("query", "error"),
    [
        ("?execution_id=1", None),
        ("?execution_id=2", Forbidden),
        ("", Forbidden),
        ("?execution_id=1&execution_id=1", BadRequest),
    ],
)
async def test_execution_in_the_query_is_decided_on(query: str, error: type[GatewayError] | None) -> None:
    decide, _ = authorizer(Upstream({"1": "open/a", "2": "hidden/a"}))
    if error is None:
        assert await decide.authorize(WHO, STATE, head("GET", query=query), b"", BEHALF) == Authorized(None)
    else:
        with pytest.raises(error):
            await decide.authorize(WHO, STATE, head("GET", query=query), b"", BEHALF)


@pytest.mark.parametrize(
    ("judged", "sent"),
    [(EXECUTE, body(path="open/a", x="y" * 70_000)), (REGISTER, body(content="metadata: {path: open/a}"))],
    ids=["large", "content"],
)
def test_body_that_is_slow_to_read_is_left_to_a_thread(judged: Judged, sent: bytes) -> None:
    decide, outcomes = authorizer(Upstream())
    assert decide.authorize_known(WHO, judged, head(), sent) is None
    assert outcomes == {}


@pytest.mark.parametrize(
    ("judged", "size", "most"), [(EXECUTE, 1001, 1000), (REGISTER, 10_001, 10_000), (RERUN, 0, 5000), (PATH, 0, 5000)]
)
async def test_body_has_a_limit_if_it_is_judged(judged: Judged, size: int, most: int) -> None:
    outcomes: Counter[str] = Counter()
    upstream = Upstream({"1": "open/a"})
    decide = Authorizer(POLICY, MemoryStore(), cast(NoetlApi, upstream), outcomes, max_judged=1000)
    assert decide.max_body(judged, 1_000_000 if size else 5000) == most
    if size:
        with pytest.raises(PayloadTooLarge):
            await decide.authorize(WHO, judged, head(), b" " * size, BEHALF)
