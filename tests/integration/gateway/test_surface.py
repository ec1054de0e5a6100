"""Every endpoint of the NoETL API, with four users of the shipped gateway.yaml, on both transports and by proxyRequest.

`surface.tsv` states for each request its class and whom the shipped rules allow it. What is refused does not reach the
upstream; only the playbook of an execution or a catalog id may be looked up there.
"""

from __future__ import annotations

import csv
import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from aiohttp import web
from yarl import URL

from proxy.noetl.surface import ENDPOINTS, Endpoint, classify
from tests.integration.harness import TRANSPORTS, Running, Upstream, behind_gateway

USERS = {"admin": "admin", "developer": "dev", "analyst": "user", "viewer": "viewer"}
EXECUTIONS = {"100": "data_pipeline/flow", "200": "system/purge"}
CATALOG = {"1": "data_pipeline/flow", "2": "system/purge"}
with Path(__file__).with_name("surface.tsv").open(encoding="utf-8", newline="") as file:
    TABLE = list(csv.DictReader(file, delimiter="\t", quoting=csv.QUOTE_NONE))
SHIPPED = yaml.safe_dump({"acl": yaml.safe_load(Path("gateway.yaml").read_text("utf-8"))["acl"]})
MUTATION = """
mutation ($m: String!, $e: String!, $b: JSON) { proxyRequest(input: {method: $m, endpoint: $e, body: $b}) { status } }
"""


async def noetl(request: web.BaseRequest) -> web.StreamResponse:
    """A NoETL server, as far as the gateway looks things up in it."""
    path = request.path
    if path.startswith("/api/executions/"):
        return web.json_response({"path": EXECUTIONS.get(path.split("/")[3]), "status": "RUNNING"})
    if path == "/api/catalog/resource" and (key := (await request.json()).get("catalog_id")) is not None:
        return web.json_response({"path": CATALOG[str(key)], "catalog_id": str(key)})
    if path.endswith("/list"):
        return web.json_response({"entries": []})
    return web.json_response([] if path == "/api/executions" else {"ok": True})


async def relayed(gateway: Running, token: str, row: dict[str, str]) -> int:
    """Send a request to the relay, and return the status."""
    body = {"json": json.loads(row["body"])} if row["body"] else {}
    url = URL(f"{gateway.url}/noetl{row['path']}", encoded=True)
    headers = {"authorization": f"Bearer {token}"}
    async with gateway.client.request(row["method"], url, headers=headers, **body) as response:
        await response.read()
        return response.status


async def proxied(gateway: Running, token: str, row: dict[str, str]) -> int:
    """Send a request by `proxyRequest`, and return the status."""
    body = json.loads(row["body"]) if row["body"] else None
    variables = {"m": row["method"], "e": f"/api{row['path']}", "b": body}
    headers = {"authorization": f"Bearer {token}"}
    sent: dict[str, Any] = {"query": MUTATION, "variables": variables}
    async with gateway.client.post(f"{gateway.url}/graphql", json=sent, headers=headers) as response:
        document = await response.json()
        found = document["errors"][0]["extensions"] if document.get("errors") else document["data"]["proxyRequest"]
        return int(found["status"])


WAYS = {"relay": relayed, "proxyRequest": proxied}


def reached(upstream: Upstream, row: dict[str, str]) -> bool:
    """Return whether the request itself has reached the upstream, and not only what was looked up for it."""
    wanted = URL(f"/api{row['path']}", encoded=True)
    return any(
        request.method == row["method"]
        and request.rel_url.path.lower().strip("/") == wanted.path.lower().strip("/")
        and request.rel_url.query_string == wanted.query_string
        for request in upstream.seen
    )


@TRANSPORTS
@pytest.mark.parametrize("way", WAYS)
async def test_every_endpoint_is_open_to_whom_the_rules_allow_it(tmp_path: Path, way: str, fast: bool) -> None:
    wrong = []
    async with behind_gateway(tmp_path, rules=SHIPPED, fast=fast, bridge=False) as (gateway, upstream):
        upstream.answer = noetl
        tokens = {user: await gateway.session(f"{name}@example.com") for user, name in USERS.items()}
        for row in TABLE:
            for user, token in tokens.items():
                upstream.seen.clear()
                status = await WAYS[way](gateway, token, row)
                allowed = row[user] == "allow"
                if (status < 300, reached(upstream, row)) != (allowed, allowed) or status not in (200, 403):
                    wrong.append(f"{user}: {row['method']} {row['path']} {row['body']}: {status}, not {row[user]}")
    assert wrong == []


@pytest.mark.parametrize("row", TABLE, ids=lambda row: f"{row['method']} {row['path']} {row['body']}")
def test_every_endpoint_is_of_its_class(row: dict[str, str]) -> None:
    assert classify(row["method"], f"/api{row['path'].partition('?')[0]}", None).kind == row["class"]


def test_every_row_of_the_surface_is_in_the_table() -> None:
    def is_tested(endpoint: Endpoint) -> bool:
        pattern = "/" + endpoint.path.replace("/{rest}", "(/.*)?").replace("{path}", ".+").replace("{id}", "[0-9]+")
        fitting = re.compile(pattern.replace("{name}", "[^/]+"))
        return any(
            row["method"] in endpoint.methods and fitting.fullmatch(row["path"].partition("?")[0]) for row in TABLE
        )

    assert [endpoint.path for endpoint in ENDPOINTS if not is_tested(endpoint)] == []
