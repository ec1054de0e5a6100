"""`proxyRequest`: the very request to the relayed route, made by the caller, on both transports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.integration.harness import RULES, TRANSPORTS
from tests.integration.raw import Behind, behind_recorder

ROUTES = """
rate_limits: {api: {limit: 2/hour, burst: 2, key: session}}
routes:
  - path: /noetl/{path:**}
    upstream: noetl
    rewrite: /api/v2/{path}
    max_body_size: 64B
    timeout: 300ms
    headers: {request: {set: {x-route: 'edited', accept: 'text/edited'}}}
  - {path: '/noetl/limited/{path:**}', upstream: noetl, rewrite: '/api/{path}', rate_limit: api}
  - {path: '/noetl/inside/{path:**}', upstream: noetl, rewrite: '/api/{path}', allow_from: [198.51.100.0/24]}
  - {path: '/noetl/admins/{path:**}', upstream: noetl, rewrite: '/api/{path}', require: {roles: [admin]}}
  - {path: /graphql, handler: graphql}
"""
MUTATION = """
mutation ($m: String!, $e: String!, $b: JSON) {
  proxyRequest(input: {method: $m, endpoint: $e, body: $b}) { success status data error }
}
"""


@asynccontextmanager
async def relayed(folder: Path, *, fast: bool) -> AsyncIterator[Behind]:
    server = "trusted_proxies: [127.0.0.0/8]"
    async with behind_recorder(folder, fast=fast, server=server, more=ROUTES, rules=RULES) as behind:
        behind.upstream.says = lambda _: b'{"ok": 1}'
        await behind.warm()
        yield behind


async def proxied(behind: Behind, endpoint: str, *fields: str, method: str = "GET", body: Any = None) -> Any:
    """Send the mutation; return its payload, or its error."""
    text = json.dumps({"query": MUTATION, "variables": {"m": method, "e": endpoint, "b": body}}).encode()
    got = await behind.ask(
        behind.request("/graphql", "content-type: application/json", *fields, method="POST", body=text)
    )
    document = json.loads(got.body)
    return document["data"]["proxyRequest"] if document.get("data") else document["errors"][0]["extensions"]


@TRANSPORTS
async def test_proxy_request_is_rewritten_edited_and_sent_as_the_caller(tmp_path: Path, fast: bool) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        answer = await proxied(behind, "/api/things?a=%41&b", "x-forwarded-for: 198.51.100.7", "user-agent: mine/1")
        assert answer == {"success": True, "status": 200, "data": {"ok": 1}, "error": None}
        (arrived,) = behind.upstream.arrived
        assert (arrived.method, arrived.target) == ("GET", "/api/v2/things?a=%41&b")
        assert arrived.values("x-route") == ["edited"]
        assert arrived.values("accept") == ["text/edited"]
        assert arrived.values("x-user-email") == ["anna@staff.test"]
        assert arrived.values("x-forwarded-for") == ["198.51.100.7"]
        assert arrived.values("x-forwarded-host") == ["gateway.test"]
        assert arrived.values("user-agent") == ["mine/1"]
        assert behind.token not in arrived.raw.decode()


@TRANSPORTS
async def test_proxy_request_has_an_access_line_of_its_own(tmp_path: Path, fast: bool) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        await proxied(behind, "/api/things", "x-forwarded-for: 198.51.100.7", method="POST", body={"a": 1})
        inner, outer = behind.lines
        assert (inner.method, inner.path, inner.route, inner.status, inner.ip) == (
            "POST", "/noetl/things", "/noetl/{path:**}", 200, "198.51.100.7",
        )  # fmt: skip
        assert (outer.method, outer.path, outer.status, outer.ip) == ("POST", "/graphql", 200, "198.51.100.7")
        assert inner.request_id == outer.request_id
        assert inner.user_id == outer.user_id is not None


@TRANSPORTS
async def test_proxy_request_from_outside_allow_from_is_forbidden(tmp_path: Path, fast: bool) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        assert (await proxied(behind, "/api/inside/x", "x-forwarded-for: 203.0.113.9"))["status"] == 403
        assert behind.upstream.arrived == []
        assert (await proxied(behind, "/api/inside/x", "x-forwarded-for: 198.51.100.7"))["status"] == 200
        assert [line.status for line in behind.lines] == [403, 200, 200, 200]


@TRANSPORTS
async def test_proxy_request_without_the_routes_role_is_forbidden(tmp_path: Path, fast: bool) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        assert (await proxied(behind, "/api/admins/x"))["status"] == 403
        assert behind.upstream.arrived == []


@TRANSPORTS
async def test_proxy_request_over_the_body_limit_is_refused(tmp_path: Path, fast: bool) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        assert (await proxied(behind, "/api/x", method="POST", body="a" * 100))["status"] == 413
        assert behind.upstream.arrived == []


@TRANSPORTS
@pytest.mark.parametrize("endpoint", ["/api/" + "x" * 20_000, "/api/things?" + "x" * 20_000])
async def test_proxy_request_with_an_endpoint_longer_than_a_target_is_refused(
    tmp_path: Path, fast: bool, endpoint: str
) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        assert (await proxied(behind, endpoint))["status"] == 414
        assert behind.upstream.arrived == []


@TRANSPORTS
async def test_proxy_request_over_the_rate_limit_is_refused(tmp_path: Path, fast: bool) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        statuses = [(await proxied(behind, "/api/limited/x"))["status"] for _ in range(3)]
        assert statuses == [200, 200, 429]
        assert (await behind.ask(behind.request("/noetl/limited/x"))).status == 429


@TRANSPORTS
async def test_proxy_request_over_the_routes_timeout_is_504(tmp_path: Path, fast: bool) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        behind.upstream.answer = b"HTTP/1.1 100 Continue\r\n\r\n"
        assert (await proxied(behind, "/api/x"))["status"] == 504


@TRANSPORTS
@pytest.mark.parametrize(
    "endpoint", ["/noetl/x", "/api/../x", "/api/%2e%2e/x", "x", "/graphql", "/api/x#y", "/api/%00"]
)
async def test_proxy_request_outside_of_the_api_is_refused(tmp_path: Path, fast: bool, endpoint: str) -> None:
    async with relayed(tmp_path, fast=fast) as behind:
        assert (await proxied(behind, endpoint))["status"] in (400, 403)
        assert behind.upstream.arrived == []
