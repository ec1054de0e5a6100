"""The requests of the scenarios: composition of the mix, and who is expected to reject them."""

from __future__ import annotations

import json
from collections import Counter

import pytest

from bench import upstream
from bench.requests import UNIQUE
from bench.scenarios import (
    AUTH_REQUEST,
    EDGE,
    EXECUTIONS,
    EXECUTIONS_OF_USERS,
    MIX,
    NO_SESSION_CHECK,
    RELAYING,
    STORED,
    USERS,
    Scenario,
    SignedIn,
    mix,
    scenarios,
)

WHO = SignedIn([f"token{number}" for number in range(USERS)], {7: "stored7"})
ALL = {scenario.name: scenario for scenario in scenarios(WHO)}
HEADLINES = ("status", "detail", "stats", "execute", "mix", "mix_many_users")


def test_headline_scenarios_come_first_and_everyone_receives_them() -> None:
    assert tuple(ALL)[: len(HEADLINES)] == HEADLINES
    assert all(set(RELAYING) <= set(ALL[name].requests) for name in HEADLINES)


def test_mix_is_twenty_requests_per_block() -> None:
    assert MIX == {"status": 13, "detail": 2, "catalog": 2, "executions": 1, "stats": 1, "execute": 1}
    requests = mix([{}], ["1", "2", "3"], blocks=7)
    for start in range(0, 140, 20):
        assert Counter(request.kind for request in requests[start : start + 20]) == MIX


def test_mix_of_one_user_polls_all_executions_equally_often() -> None:
    polled = Counter(each.path for each in ALL["mix"].requests[EDGE] if each.kind == "status")
    assert len(polled) == EXECUTIONS
    assert max(polled.values()) - min(polled.values()) <= 6
    assert {each.headers["authorization"] for each in ALL["mix"].requests[EDGE]} == {"Bearer token0"}


def test_mix_of_many_users_has_every_user_and_execution_and_each_polls_its_own() -> None:
    owners: dict[str, set[str]] = {}
    for each in ALL["mix_many_users"].requests[EDGE]:
        if each.kind in ("status", "detail"):
            owners.setdefault(each.path.split("/")[3].partition("?")[0], set()).add(each.headers["authorization"])
    assert len(owners) == EXECUTIONS_OF_USERS
    assert all(len(users) == 1 for users in owners.values())
    assert len(set.union(*owners.values())) == USERS


def test_mix_is_the_same_in_each_run() -> None:
    assert mix([{}], ["1", "2"], 3) == mix([{}], ["1", "2"], 3)


@pytest.mark.parametrize("name", ["stats", "execute", "executePlaybook"])
def test_requests_of_these_scenarios_are_never_alike(name: str) -> None:
    assert all(UNIQUE in each.path + each.body for each in ALL[name].requests[EDGE])


@pytest.mark.parametrize("scenario", ALL.values(), ids=ALL)
def test_contenders_with_a_session_check_must_reject_requests_without_session(scenario: Scenario) -> None:
    for name, requests in scenario.requests.items():
        expected = name not in NO_SESSION_CHECK and requests[0].kind != "validate"
        assert {request.guarded for request in requests} == {expected}


@pytest.mark.parametrize("name", ["executionStatus", "executePlaybook", "validate", "me"])
def test_own_endpoints_are_measured_beside_status_polls(name: str) -> None:
    assert ALL[name].requests[AUTH_REQUEST] == ALL["status"].requests[AUTH_REQUEST]


def test_stored_sessions_are_those_of_their_users() -> None:
    (request,) = ALL["sessions"].requests[STORED]
    assert request.headers["authorization"] == "Bearer stored7"
    assert request.expected["user"]["email"] == "user000007@bench.example"


def test_pieces_for_nginx_are_short_and_make_up_the_response() -> None:
    pieces = upstream.pieces("detail")
    assert len(pieces) > 1
    assert all(len(piece) < 4096 for piece in pieces)
    assert json.loads("".join(pieces).replace("${execution_id}", "17")) == upstream.document("detail", "17")
