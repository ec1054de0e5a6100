"""What is asked: for each scenario the request that each contender gets, and the one answer that is right.

Every scenario is one piece of work that a client wants done; how it has to ask differs from contender to contender.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace

from bench import answers
from bench.answers import A_NEW_ID, A_SESSION, AN_INSTANT, EXECUTION_ID, PATH, POLLED, STATS, STATUS, VARIABLES
from bench.asks import Ask, guarded

UPSTREAM, PLAIN, PLAIN_TUNED, HAPROXY = "upstream", "nginx", "nginx_tuned", "haproxy"
AUTH_REQUEST, AUTH_REQUEST_TUNED, EDGE = "nginx_auth_request", "nginx_auth_request_tuned", "noetl_edge"
MERCURIUS, YOGA, STRAWBERRY = "mercurius", "yoga", "strawberry"
LABELS = {
    UPSTREAM: "upstream direct",
    PLAIN: "nginx",
    PLAIN_TUNED: "nginx, tuned",
    HAPROXY: "haproxy",
    AUTH_REQUEST: "nginx + auth_request",
    AUTH_REQUEST_TUNED: "nginx + auth_request, tuned",
    EDGE: "noetl-edge",
    MERCURIUS: "mercurius, jit",
    YOGA: "graphql-yoga",
    STRAWBERRY: "strawberry",
}
EMAIL, DISPLAY_NAME = "dev@example.com", "Dev Name"

_QUERY = (
    "query GetStatus($id: String!) { executionStatus(executionId: $id) { executionId path status completed failed "
    "cancelled currentStep completedSteps variables result error } }"
)
_MUTATION = (
    "mutation Run($name: String!, $variables: JSON) { executePlaybook(name: $name, variables: $variables) "
    "{ executionId name status } }"
)
_JSON = {"content-type": "application/json", "accept": "application/json"}
_PLAIN, _GUARDS = (PLAIN, PLAIN_TUNED, HAPROXY), (AUTH_REQUEST, AUTH_REQUEST_TUNED, EDGE)


@dataclass(frozen=True, slots=True)
class Credentials:
    """What a signed-in user has: a session of the gateway, and the identity provider's token that it was made from."""

    session_token: str = ""
    id_token: str = ""
    domain: str = ""


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name for `--only`, a line for the report, and what each contender is asked, in the order of the report.

    `unit` is what rates are told in: `req/s`, or `MiB/s` of answers received.
    """

    name: str
    title: str
    asks: Mapping[str, Ask]
    unit: str = "req/s"


def scenarios(who: Credentials) -> tuple[Scenario, ...]:
    """All scenarios, with the session that they use."""
    session = {"authorization": f"Bearer {who.session_token}"}
    event = answers.json_text({"execution_id": EXECUTION_ID, "event_type": "step.exit", "result": "r" * 940})
    return (
        _relayed(
            "relay",
            f"authenticated GET /noetl/dashboard/stats, {len(answers.json_text(STATS))} bytes of JSON",
            Ask("/dashboard/stats", STATS, headers=session),
        ),
        _relayed(
            "relay_unlike",
            "the same, each request with an id of its own, so that none is like another",
            Ask("/dashboard/stats", STATS, headers=session, unlike=True),
        ),
        _relayed(
            "relay_post",
            f"authenticated POST /noetl/events, {len(event)} bytes up",
            Ask("/events", answers.ACCEPTED, "POST", {**session, **_JSON}, event),
        ),
        _relayed(
            "relay_large",
            "authenticated GET /noetl/results/large, 1 MiB down",
            Ask("/results/large", answers.large(), headers=session),
            unit="MiB/s",
        ),
        _polling(session),
        _executing(session),
        _login(who),
        _validate(who),
    )


def _relayed(name: str, title: str, ask: Ask, unit: str = "req/s") -> Scenario:
    def under(prefix: str) -> Ask:
        return replace(ask, path=prefix + ask.path)

    asks = {UPSTREAM: under("/api"), **{contender: under("/noetl") for contender in _PLAIN}}
    return Scenario(name, title, {**asks, **{contender: guarded(under("/noetl")) for contender in _GUARDS}}, unit)


def poll(session: Mapping[str, str]) -> Ask:
    """The poll that clients send while they wait for an execution."""
    body = json.dumps({"query": _QUERY, "variables": {"id": EXECUTION_ID}})
    return Ask("/graphql", POLLED, "POST", {**session, **_JSON}, body, guarded=True)


def _polling(session: Mapping[str, str]) -> Scenario:
    status = f"/executions/{EXECUTION_ID}/status"
    relayed = Ask(f"/noetl{status}", STATUS, headers=session, guarded=True)
    return Scenario(
        "executionStatus",
        "where a running execution stands; POST /graphql at noetl-edge, the status endpoint elsewhere",
        {
            UPSTREAM: Ask(f"/api{status}", STATUS),
            AUTH_REQUEST: relayed,
            AUTH_REQUEST_TUNED: relayed,
            EDGE: poll(session),
        },
    )


def _executing(session: Mapping[str, str]) -> Scenario:
    body = answers.json_text({"path": PATH, "workload": VARIABLES})
    relayed = Ask("/noetl/execute", answers.started(A_NEW_ID), "POST", {**session, **_JSON}, body, guarded=True)
    mutation = json.dumps({"query": _MUTATION, "variables": {"name": PATH, "variables": VARIABLES}})
    made = {"data": {"executePlaybook": {"executionId": A_NEW_ID, "name": PATH, "status": "running"}}}
    return Scenario(
        "executePlaybook",
        "start a playbook; POST /graphql at noetl-edge, the execute endpoint elsewhere",
        {
            UPSTREAM: Ask("/api/execute", answers.started(A_NEW_ID), "POST", _JSON, body),
            AUTH_REQUEST: relayed,
            AUTH_REQUEST_TUNED: relayed,
            EDGE: Ask("/graphql", made, "POST", {**session, **_JSON}, mutation, guarded=True),
        },
    )


def _user() -> dict[str, object]:
    return {"user_id": 1, "email": EMAIL, "display_name": DISPLAY_NAME, "roles": ["developer"]}


def _login(who: Credentials) -> Scenario:
    body = json.dumps({"auth0_token": who.id_token, "auth0_domain": who.domain})
    made = {
        "status": "authenticated",
        "session_token": A_SESSION,
        "user": _user(),
        "expires_at": AN_INSTANT,
        "message": "Authentication successful",
    }
    title = "POST /api/auth/login with an RS256 token: verified, and a session written to disk"
    return Scenario("login", title, {EDGE: Ask("/api/auth/login", made, "POST", _JSON, body)})


def _validate(who: Credentials) -> Scenario:
    body = json.dumps({"session_token": who.session_token})
    made = {"valid": True, "user": _user(), "expires_at": AN_INSTANT, "message": "Session is valid"}
    title = "POST /api/auth/validate: whose session a token is"
    return Scenario("validate", title, {EDGE: Ask("/api/auth/validate", made, "POST", _JSON, body)})


NAMES = tuple(scenario.name for scenario in scenarios(Credentials()))

QUICK = {
    "relay": (PLAIN, AUTH_REQUEST, EDGE),
    "relay_large": (PLAIN, EDGE),
    "executionStatus": (AUTH_REQUEST, EDGE),
    "executePlaybook": (AUTH_REQUEST, EDGE),
    "login": (EDGE,),
    "validate": (EDGE,),
}


def quick(scenario: Scenario) -> Scenario:
    """The scenario with the few contenders of a rough look."""
    asks = {name: ask for name, ask in scenario.asks.items() if name in QUICK.get(scenario.name, ())}
    return Scenario(scenario.name, scenario.title, asks, scenario.unit)
