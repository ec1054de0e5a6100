"""What is requested: for each scenario the list of requests that each contender receives, in the order of the report.

The mix is what a page of executions and the command line send to a NoETL server while they wait.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from unittest.mock import ANY

from bench import upstream
from bench.requests import UNIQUE, Request
from bench.upstream import PATH, VARIABLES, execution_id

STORED_SESSIONS, IDLE_CONNECTIONS = 100_000, 10_000
NGINX, AUTH_REQUEST, FLOOR, RUST = "nginx", "nginx + auth_request", "floor", "Rust gateway, no session check"
EDGE, TRACED, WORKERS = "noetl-edge", "noetl-edge, traced", "noetl-edge, 2 workers"
STORED, IDLE = f"noetl-edge, {STORED_SESSIONS} sessions", f"noetl-edge, {IDLE_CONNECTIONS} idle connections"
BRIDGED, RUST_RELAYED = "noetl-edge, bridged", "noetl-edge, Rust server"
RUST_BRIDGED, RUST_OF_RUST = "noetl-edge, bridged, Rust server", f"{RUST}, Rust server"
SHARED = "noetl-edge, Redis"
MERCURIUS, YOGA = "mercurius, jit", "graphql-yoga"
RELAYING = (NGINX, AUTH_REQUEST, FLOOR, RUST, EDGE)
NOT_QUICK = (NGINX, RUST, TRACED)
NO_SESSION_CHECK = (NGINX, RUST, RUST_OF_RUST)
# Measured if they are named only: their contenders take long to start, or have to be installed first.
SPECIAL = ("workers", "sessions", "redis", "redis_many_users", "idle", "graphql", "bridge", "bridge_rust")

EXECUTIONS, USERS, EXECUTIONS_OF_USERS = 200, 300, 1500
MIX = {"status": 13, "detail": 2, "catalog": 2, "executions": 1, "stats": 1, "execute": 1}
_BLOCKS, _BLOCKS_OF_USERS = 100, 300
_QUERY = (
    "query GetStatus($id: String!) { executionStatus(executionId: $id) { executionId path status completed failed "
    "cancelled currentStep completedSteps variables result error } }"
)
_MUTATION = (
    "mutation Run($name: String!, $variables: JSON) { executePlaybook(name: $name, variables: $variables) "
    "{ executionId name status } }"
)
_AGENT = "Mozilla/5.0 (X11; Linux x86_64; rv:140.0) Gecko/20100101 Firefox/140.0"
_CLIENT = {"user-agent": _AGENT, "accept": "application/json, text/plain, */*"}
_JSON = {"content-type": "application/json"}
_STARTED = {**upstream.document("started"), "execution_id": ANY}
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """The session tokens that the clients hold, in the order of `user`; `stored` are some of the contender STORED."""

    tokens: Sequence[str] = ("",)
    stored: Mapping[int, str] = field(default_factory=dict)


def fields_of(token: str) -> dict[str, str]:
    """Return the header fields of the requests with a session token."""
    return {**_CLIENT, "authorization": f"Bearer {token}"}


def user(number: int) -> tuple[str, str]:
    """Return the e-mail address and the name of a user; the first one has its role from gateway.yaml."""
    return (f"user{number:06}@bench.example", f"User {number:06}") if number else ("dev@example.com", "Dev Name")


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name for `--only`, a title for the report, and the requests of each contender."""

    name: str
    title: str
    requests: Mapping[str, Sequence[Request]]


def scenarios(who: SignedIn) -> tuple[Scenario, ...]:
    """Return all scenarios."""
    everyone = [fields_of(token) for token in who.tokens]
    fields = everyone[0]
    ids = [execution_id(number) for number in range(EXECUTIONS_OF_USERS)]
    polls = [request_of("status", fields, each) for each in ids[:EXECUTIONS]]
    details = [request_of("detail", fields, each) for each in ids[:EXECUTIONS]]
    turn = f"{EXECUTIONS} executions in turn"
    users = f"{USERS} users with {EXECUTIONS_OF_USERS} executions"
    return (
        _relayed("status", f"GET /noetl/executions/{{id}}/status, {turn}", polls),
        _relayed("detail", f"GET /noetl/executions/{{id}}?page=1&page_size=100, {turn}", details),
        _relayed("stats", "GET /noetl/dashboard/stats?x=N, each with another N", [request_of("stats", fields)]),
        _relayed("execute", "POST /noetl/execute, each with another workload", [request_of("execute", fields)]),
        _relayed("mix", "the mix of one user", mix([fields], ids[:EXECUTIONS], _BLOCKS), (*RELAYING, TRACED)),
        _relayed("mix_many_users", f"the mix of {users}", mix(everyone, ids, _BLOCKS_OF_USERS)),
        _beside_polls("executionStatus", f"POST /graphql, {turn}", polls, graphql_polls(fields)),
        _beside_polls("executePlaybook", "POST /graphql, each with other variables", polls, [_mutation(fields)]),
        _beside_polls("validate", "POST /api/auth/validate", polls, [_validate(who)]),
        _beside_polls("me", "GET /api/auth/me", polls, [me(0, who.tokens[0])]),
        Scenario("workers", "POST /api/auth/validate", {EDGE: [_validate(who)], WORKERS: [_validate(who)]}),
        Scenario(
            "sessions",
            "GET /api/auth/me, sessions at random",
            {
                EDGE: [me(number, token) for number, token in enumerate(who.tokens)],
                STORED: [me(number, token) for number, token in who.stored.items()],
            },
        ),
        _stored_twice(
            "redis", "the mix of one user, sessions in a file and in Redis", mix([fields], ids[:EXECUTIONS], _BLOCKS)
        ),
        _stored_twice(
            "redis_many_users", f"the mix of {users}, in a file and in Redis", mix(everyone, ids, _BLOCKS_OF_USERS)
        ),
        Scenario(
            "idle", f"the polls of status, beside {IDLE_CONNECTIONS} idle connections", {EDGE: polls, IDLE: polls}
        ),
        Scenario("bridge", f"the polls of status, {turn}", {EDGE: polls, BRIDGED: [_bridged(each) for each in polls]}),
        _polls_of_rust("bridge_rust", f"the polls of status of a Rust server, {turn}", polls, ids[:EXECUTIONS]),
        Scenario(
            "graphql",
            f"executionStatus, POST /graphql, {turn}",
            dict.fromkeys((MERCURIUS, YOGA, EDGE), graphql_polls(fields)),
        ),
    )


def _stored_twice(name: str, title: str, requests: Sequence[Request]) -> Scenario:
    """Return a scenario of the gateway with its file store beside the same gateway with Redis."""
    return Scenario(name, title, {EDGE: requests, SHARED: requests})


def _relayed(name: str, title: str, requests: Sequence[Request], contenders: Sequence[str] = RELAYING) -> Scenario:
    unguarded = [replace(request, guarded=False) for request in requests]
    return Scenario(name, title, {each: unguarded if each in NO_SESSION_CHECK else requests for each in contenders})


def _beside_polls(name: str, title: str, polls: Sequence[Request], own: Sequence[Request]) -> Scenario:
    """Return a scenario in which nginx + auth_request receives status polls, since it can't do the same."""
    title += f" (at {AUTH_REQUEST}: the status polls)"
    return Scenario(name, title, {AUTH_REQUEST: polls, FLOOR: own, EDGE: own})


def _bridged(poll: Request) -> Request:
    """Return a poll of the status at the Python server with the members that the bridge adds."""
    progress = {"total_steps": 3, "completed_steps": 2, "running_steps": 1, "failed_steps": 0}
    added = {"status": "RUNNING", "cancelled": False, "is_cancelled": False, "progress": progress}
    return replace(poll, expected={**poll.expected, **added})


def _polls_of_rust(name: str, title: str, polls: Sequence[Request], ids: Sequence[str]) -> Scenario:
    """Return polls of the status at the Rust server, relayed and bridged."""
    python = upstream.document("status")
    texts = [upstream.document("rust_status", each) for each in ids]
    relayed = [replace(poll, expected=text) for poll, text in zip(polls, texts, strict=True)]
    added = {name: value for name, value in python.items() if name != "current_step"}
    added |= {"cancelled": False, "start_time": ANY, "duration_seconds": ANY, "duration_human": ANY}
    bridged = [
        replace(poll, expected={**text, **added, "execution_id": each})
        for poll, text, each in zip(polls, texts, ids, strict=True)
    ]
    free = [replace(each, guarded=False) for each in relayed]
    return Scenario(name, title, {RUST_OF_RUST: free, RUST_RELAYED: relayed, RUST_BRIDGED: bridged})


def mix(users: Sequence[Fields], ids: Sequence[str], blocks: int) -> list[Request]:
    """Return blocks of 20 requests of the mix, shuffled the same way in each run.

    Users take turns. The executions are divided among them, and the polls of each go through the own ones in turn.
    """
    source = random.Random(20)
    requests: list[Request] = []
    each = max(len(ids) // len(users), 1)
    polls = [0] * len(users)
    for _ in range(blocks):
        kinds = [kind for kind, count in MIX.items() for _ in range(count)]
        source.shuffle(kinds)
        for kind in kinds:
            user = len(requests) % len(users)
            execution = ids[(user * each + polls[user] % each) % len(ids)]
            polls[user] += kind in ("status", "detail")
            requests.append(request_of(kind, users[user], execution))
    return requests


def request_of(kind: str, fields: Fields, execution: str = "") -> Request:
    """Return a relayed request."""
    path = {
        "status": f"/noetl/executions/{execution}/status",
        "detail": f"/noetl/executions/{execution}?page=1&page_size=100",
        "catalog": "/noetl/catalog/list",
        "executions": "/noetl/executions",
        "stats": f"/noetl/dashboard/stats?x={UNIQUE}",
        "execute": "/noetl/execute",
    }[kind]
    bodies = {
        "catalog": {"resource_type": "playbook"},
        "execute": {"path": PATH, "workload": {**VARIABLES, "batch": UNIQUE}},
    }
    expected = _STARTED if kind == "execute" else upstream.document(kind, execution)
    if kind not in bodies:
        return Request(kind, "GET", path, expected, fields, guarded=True)
    return Request(kind, "POST", path, expected, {**fields, **_JSON}, upstream.json_text(bodies[kind]), guarded=True)


def graphql_polls(fields: Fields) -> list[Request]:
    """Return the polls of all executions through GraphQL."""
    return [
        _graphql("executionStatus", fields, _QUERY, {"id": each}, upstream.document("executionStatus", each))
        for each in map(execution_id, range(EXECUTIONS))
    ]


def _mutation(fields: Fields) -> Request:
    variables = {"name": PATH, "variables": {**VARIABLES, "batch": UNIQUE}}
    data = {"executionId": ANY, "name": PATH, "status": "running"}
    return _graphql("executePlaybook", fields, _MUTATION, variables, data)


def _graphql(kind: str, fields: Fields, query: str, variables: object, data: object) -> Request:
    body = json.dumps({"query": query, "variables": variables})
    headers = {**fields, **_JSON, "accept": "application/json"}
    return Request(kind, "POST", "/graphql", {"data": {kind: data}}, headers, body, guarded=True)


def _session(number: int) -> dict[str, object]:
    email, name = user(number)
    return {
        "user": {"user_id": number + 1, "email": email, "display_name": name, "roles": ["developer"]},
        "expires_at": ANY,
    }


def _validate(who: SignedIn) -> Request:
    expected = {"valid": True, **_session(0), "message": "Session is valid"}
    body = json.dumps({"session_token": who.tokens[0]})
    return Request("validate", "POST", "/api/auth/validate", expected, {**_CLIENT, **_JSON}, body, relayed=False)


def me(number: int, token: str) -> Request:
    """Return the request for the user of a session."""
    return Request("me", "GET", "/api/auth/me", _session(number), fields_of(token), guarded=True, relayed=False)


TITLES = {scenario.name: scenario.title for scenario in scenarios(SignedIn())}
