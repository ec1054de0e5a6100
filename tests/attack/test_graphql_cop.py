"""The twelve checks of graphql-cop, and the one for unhandled errors that its later versions add: what the shipped
settings answer, and what strict ones do.

`refused` counts what is answered with an error, `passed` what is answered with data and is meant to be.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import pytest

from tests.attack.table import Tally
from tests.integration.harness import Running, behind_gateway

SHIPPED = "sessions: {store: memory, cookie: {enabled: true}}\n"
STRICT = SHIPPED + "graphql: {introspection: false, graphiql: false, get: 'off', limits: {aliases: 0, directives: 0}}\n"
JSON = {"content-type": "application/json"}
FORM = {"content-type": "application/x-www-form-urlencoded"}
PAGE = {"accept": "text/html", "accept-encoding": "identity"}
LEAKS = ("tracing", "exception", "stacktrace", "traceback", ".py", "did you mean", 'file "')
CIRCULAR = "query { __schema { types { " + "fields { type { " * 4 + "name" + " } }" * 4 + " } } }"
MUTATION = 'mutation { executePlaybook(name: "team/flow") { id } }'


@dataclass(frozen=True)
class Check:
    """A request of graphql-cop's: what it shows if answered with data, and whether each configuration answers so."""

    name: str
    query: Any = "{ __typename }"
    method: str = "POST"
    headers: dict[str, str] = field(default_factory=lambda: JSON)
    by_cookie: bool = False
    shipped: bool = False
    strict: bool = False


CHECKS = [
    Check("alias overloading", "query { " + " ".join(f"alias{i}: __typename" for i in range(101)) + " }"),
    Check("array-based query batching", [{"query": "query { __typename }"}] * 10),
    Check("directive overloading", "query { __typename " + "@aa" * 10 + " }"),
    Check("directive overloading, known ones", "query { __typename " + "@include(if: true) " * 21 + "}"),
    Check("circular query by introspection", CIRCULAR),
    Check("field duplication", "query { " + "__typename " * 500 + "}"),
    Check("field suggestions", "query { __schema { directive } }"),
    Check("field suggestions, of ours", "query { versio executionStatu }"),
    Check("GET based mutation", MUTATION, method="GET", headers={}),
    Check("GET based query, by cookie", method="GET", headers={}, by_cookie=True),
    Check("GET based query, by bearer", method="GET", headers={}, shipped=True),
    Check("POST of a form, by cookie", method="FORM", headers=FORM, by_cookie=True),
    Check("POST of a form, by bearer", method="FORM", headers=FORM),
    Check("POST of a query in the target", method="TARGET", headers={}),
    Check("POST of text/plain, by cookie", headers={"content-type": "text/plain"}, by_cookie=True),
    Check("GraphQL IDE", method="PAGE", headers=PAGE, shipped=True),
    Check("introspection", "query { __schema { types { name fields { name } } } }", shipped=True),
    Check("trace mode", "query { __typename }", shipped=True, strict=True),
    Check("unhandled errors", "qwerty cop { abc }"),
]
IDES = ("/graphiql", "/playground", "/console")


async def ask(gateway: Running, check: Check) -> tuple[int, str]:
    """Send a check's request: status and body."""
    token = await gateway.session()
    carrier = {"cookie": f"session_token={token}"} if check.by_cookie else {"authorization": f"Bearer {token}"}
    headers = {**check.headers, **carrier}
    query = urlencode({"query": check.query}) if isinstance(check.query, str) else ""
    url = gateway.url + "/graphql"
    match check.method:
        case "GET" | "TARGET":
            sending = gateway.client.request(check.method.replace("TARGET", "POST"), f"{url}?{query}", headers=headers)
        case "PAGE":
            sending = gateway.client.get(url, headers=headers)
        case "FORM":
            sending = gateway.client.post(url, data=query, headers=headers)
        case _:
            body = json.dumps({"query": check.query} if isinstance(check.query, str) else check.query)
            sending = gateway.client.post(url, data=body.encode(), headers=headers)
    async with sending as answer:
        return answer.status, await answer.text()


def gives_data(status: int, text: str) -> bool:
    """Whether an answer is what graphql-cop looks for: data, or the page of an IDE."""
    try:
        document = json.loads(text)
    except ValueError:
        return status == 200 and "GraphiQL" in text
    return status == 200 and isinstance(document, list | dict) and "errors" not in document and "error" not in document


@pytest.mark.parametrize("strict", [False, True], ids=["shipped", "strict"])
async def test_each_check_finds_what_the_configuration_says(
    tmp_path: Path, tally: Callable[[str], Tally], strict: bool
) -> None:
    name = "strict" if strict else "shipped"
    with tally(f"graphql-cop, {name} settings") as counts:
        async with behind_gateway(tmp_path, more=STRICT if strict else SHIPPED) as (gateway, upstream):
            for check in CHECKS:
                status, text = await ask(gateway, check)
                wanted = check.strict if strict else check.shipped
                leaks = [] if check.method == "PAGE" else [word for word in LEAKS if word in text.lower()]
                fine = gives_data(status, text) == wanted and not leaks and status < 500
                counts.check(check.name, fine, f"{status} {text[:200]}", refused=not wanted)
            counts.check("nothing ran", upstream.seen == [], [request.path for request in upstream.seen])


async def test_no_ide_is_found_where_they_use_to_be(tmp_path: Path, tally: Callable[[str], Tally]) -> None:
    with tally("graphql-cop, paths of IDEs") as counts:
        async with behind_gateway(tmp_path) as (gateway, _):
            for path in IDES:
                async with gateway.client.get(gateway.url + path, headers=PAGE) as answer:
                    counts.check(path, answer.status == 404, answer.status)


@pytest.mark.parametrize("more", [SHIPPED, STRICT], ids=["shipped", "strict"])
async def test_no_answer_has_extensions_that_trace(tmp_path: Path, more: str) -> None:
    async with behind_gateway(tmp_path, more=more) as (gateway, _):
        headers = {**await gateway.bearer(), "x-apollo-tracing": "1", "apollo-federation-include-trace": "ftv1"}
        body = {"query": "query { __typename }", "extensions": {"tracing": True}}
        async with gateway.client.post(f"{gateway.url}/graphql", json=body, headers=headers) as answer:
            assert await answer.json() == {"data": {"__typename": "Query"}}
