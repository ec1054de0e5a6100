"""What is requested: for each scenario the list of requests that each contender receives, in the order of the report.

The mix is what a page of executions and the command line send to a NoETL server while they wait.
"""

from __future__ import annotations

import json
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

from bench import upstream
from bench.requests import UNIQUE, Matching, Request
from bench.upstream import PATH, VARIABLES, execution_id

NGINX, AUTH_REQUEST, FLOOR, RUST = "nginx", "nginx_auth_request", "floor", "noetl_gateway"
EDGE, TRACED = "noetl_edge", "noetl_edge_traced"
MERCURIUS, YOGA, STRAWBERRY = "mercurius", "yoga", "strawberry"
LABELS = {
    NGINX: "nginx",
    AUTH_REQUEST: "nginx + auth_request",
    FLOOR: "floor",
    RUST: "Rust gateway, no session check",
    EDGE: "noetl-edge",
    TRACED: "noetl-edge, traced",
    MERCURIUS: "mercurius, jit",
    YOGA: "graphql-yoga",
    STRAWBERRY: "strawberry",
}
RELAYING = (NGINX, AUTH_REQUEST, FLOOR, RUST, EDGE)
RIVALS = (MERCURIUS, YOGA, STRAWBERRY)
QUICK = (AUTH_REQUEST, FLOOR, EDGE)
NO_SESSION_CHECK = (NGINX, RUST)

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
_NEW_ID = Matching("47877[0-9]{13}")
_STARTED = {**upstream.document("started"), "execution_id": _NEW_ID}
Fields = Mapping[str, str]


@dataclass(frozen=True, slots=True)
class SignedIn:
    """What the clients hold: session tokens, the first one of `EMAIL`, and an id_token to trade for more."""

    tokens: Sequence[str] = ("",)
    id_token: str = ""
    domain: str = ""

    def fields(self, user: int = 0) -> dict[str, str]:
        """Return the header fields of a user's requests."""
        return {**_CLIENT, "authorization": f"Bearer {self.tokens[user]}"}


EMAIL, NAME, LOGIN_EMAIL = "dev@example.com", "Dev Name", "user@example.com"


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name for `--only`, a title for the report, and the requests of each contender."""

    name: str
    title: str
    requests: Mapping[str, Sequence[Request]]


def scenarios(who: SignedIn) -> tuple[Scenario, ...]:
    """Return all scenarios."""
    fields = who.fields()
    ids = [execution_id(number) for number in range(EXECUTIONS_OF_USERS)]
    polls = [_of_kind("status", fields, each) for each in ids[:EXECUTIONS]]
    details = [_of_kind("detail", fields, each) for each in ids[:EXECUTIONS]]
    everyone = [who.fields(user) for user in range(len(who.tokens))]
    turn = f"{EXECUTIONS} executions in turn"
    small, large = "/noetl/dashboard/stats", "/noetl/results/large"
    same = Request("same", "GET", small, upstream.document("stats"), fields, guarded=True)
    large_one = Request("large", "GET", large, upstream.large(), fields, guarded=True)
    return (
        _relayed("status", f"GET /noetl/executions/{{id}}/status, {turn}", polls),
        _relayed("detail", f"GET /noetl/executions/{{id}}?page=1&page_size=100, {turn}", details),
        _relayed("stats", f"GET {small}?x=N, each with another N", [_of_kind("stats", fields)]),
        _relayed("execute", "POST /noetl/execute, each with another workload", [_of_kind("execute", fields)]),
        _relayed("mix", "the mix of one user", mix([fields], ids[:EXECUTIONS], _BLOCKS), (*RELAYING, TRACED)),
        _relayed(
            "mix_many_users",
            f"the mix of {USERS} users with {EXECUTIONS_OF_USERS} executions",
            mix(everyone, ids, _BLOCKS_OF_USERS),
        ),
        _relayed("relay_same", f"GET {small}, the same bytes each time", [same]),
        _relayed("relay_large", f"GET {large}, 1 MiB", [large_one]),
        _beside_polls("executionStatus", f"POST /graphql, {turn}", polls, graphql_polls(fields)),
        _beside_polls("executePlaybook", "POST /graphql, each with other variables", polls, [_mutation(fields)]),
        _beside_polls("validate", "POST /api/auth/validate", polls, [_validate(who)]),
        _beside_polls("me", "GET /api/auth/me", polls, [me(who)]),
        _beside_polls("login", "POST /api/auth/login: RS256 verified, session on disk", polls, [_login(who)], (EDGE,)),
        Scenario(
            "graphql", f"executionStatus, POST /graphql, {turn}", dict.fromkeys((*RIVALS, EDGE), graphql_polls(fields))
        ),
    )


def _relayed(name: str, title: str, requests: Sequence[Request], contenders: Sequence[str] = RELAYING) -> Scenario:
    unguarded = [replace(request, guarded=False) for request in requests]
    return Scenario(name, title, {each: unguarded if each in NO_SESSION_CHECK else requests for each in contenders})


def _beside_polls(
    name: str, title: str, polls: Sequence[Request], own: Sequence[Request], contenders: Sequence[str] = (FLOOR, EDGE)
) -> Scenario:
    """Return a scenario in which nginx + auth_request receives status polls, since it can't do the same."""
    title += f" (at {LABELS[AUTH_REQUEST]}: the status polls)"
    return Scenario(name, title, {AUTH_REQUEST: polls, **dict.fromkeys(contenders, own)})


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
            requests.append(_of_kind(kind, users[user], execution))
    return requests


def _of_kind(kind: str, fields: Fields, execution: str = "") -> Request:
    """Return a request of the mix."""
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
    if kind not in bodies:
        return Request(kind, "GET", path, upstream.document(kind, execution), fields, guarded=True)
    expected = _STARTED if kind == "execute" else upstream.document(kind)
    body = upstream.json_text(bodies[kind])
    return Request(kind, "POST", path, expected, {**fields, **_JSON}, body, guarded=True)


def graphql_polls(fields: Fields) -> list[Request]:
    """Return the polls of all executions through GraphQL."""
    return [
        _graphql("executionStatus", fields, _QUERY, {"id": each}, upstream.document("executionStatus", each))
        for each in map(execution_id, range(EXECUTIONS))
    ]


def _mutation(fields: Fields) -> Request:
    variables = {"name": PATH, "variables": {**VARIABLES, "batch": UNIQUE}}
    data = {"executionId": _NEW_ID, "name": PATH, "status": "running"}
    return _graphql("executePlaybook", fields, _MUTATION, variables, data)


def _graphql(kind: str, fields: Fields, query: str, variables: object, data: object) -> Request:
    body = json.dumps({"query": query, "variables": variables})
    headers = {**fields, **_JSON, "accept": "application/json"}
    return Request(kind, "POST", "/graphql", {"data": {kind: data}}, headers, body, guarded=True)


def _user(number: int, email: str, name: str, role: str) -> dict[str, object]:
    return {
        "user": {"user_id": number, "email": email, "display_name": name, "roles": [role]},
        "expires_at": Matching(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00"),
    }


def _validate(who: SignedIn) -> Request:
    expected = {"valid": True, **_USER, "message": "Session is valid"}
    body = json.dumps({"session_token": who.tokens[0]})
    return Request("validate", "POST", "/api/auth/validate", expected, {**_CLIENT, **_JSON}, body, relayed=False)


def me(who: SignedIn) -> Request:
    """Return the request for the user of the first session."""
    return Request("me", "GET", "/api/auth/me", _USER, who.fields(), guarded=True, relayed=False)


def _login(who: SignedIn) -> Request:
    made = {
        "status": "authenticated",
        "session_token": Matching("[0-9a-f]{32}"),
        "message": "Authentication successful",
    }
    expected = {**made, **_user(2, LOGIN_EMAIL, "User Name", "analyst")}
    body = json.dumps({"auth0_token": who.id_token, "auth0_domain": who.domain})
    return Request("login", "POST", "/api/auth/login", expected, {**_CLIENT, **_JSON}, body, relayed=False)


_USER = _user(1, EMAIL, NAME, "developer")
NAMES = tuple(scenario.name for scenario in scenarios(SignedIn()))
