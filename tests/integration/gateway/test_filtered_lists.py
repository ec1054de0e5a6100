# ruff: noqa: E501 - data in lines
"""Lists through the gateway: each user sees what the rules let him view, by relay, proxyRequest and GraphQL."""

from __future__ import annotations

import gzip
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.harness import TRANSPORTS, Running, Upstream, behind_gateway

RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}, all: {emails: [all@seers.test]}, most: {emails: [most@seers.test]}}
  rules:
    - {allow: ["*"], roles: [staff], playbooks: ["open/**"]}
    - {allow: [view], roles: [all, most], playbooks: ["**"]}
    - {deny: [view], roles: [most], playbooks: ["hidden/**"]}
    - {allow: [execute], emails: [runner@else.test], playbooks: ["**"]}
"""
CATALOG = {"entries": [{"path": path, "catalog_id": n} for n, path in enumerate(["open/a", "hidden/b", "other"])]}
EXECUTIONS = [{"execution_id": str(n), "path": path} for n, path in enumerate(["open/a", "hidden/b", "other"])]
LISTS: list[tuple[str, str, Any]] = [
    ("POST", "/catalog/list", CATALOG),
    ("POST", "/catalog/agents/list", CATALOG),
    ("GET", "/executions", EXECUTIONS),
]
SEES = {"anna@staff.test": {"open/a"}, "most@seers.test": {"open/a", "other"}, "eve@nowhere.test": set[str]()}
MUTATION = "mutation M($m: String!, $e: String!) { proxyRequest(input: {method: $m, endpoint: $e}) { status data } }"


async def noetl(request: web.BaseRequest) -> web.StreamResponse:
    """A NoETL server with two lists, which can't be stored by a browser in two versions."""
    document = EXECUTIONS if request.path == "/api/executions" else CATALOG
    if request.path == "/api/execute":
        return web.json_response({"execution_id": "1", "status": "started"})
    headers = {"etag": '"whole"', "cache-control": "public", "x-kept": "1"}
    return web.json_response(document, headers=headers)


@asynccontextmanager
async def lists(folder: Path, *, fast: bool, bridge: bool = True) -> AsyncIterator[tuple[Running, Upstream]]:
    """A gateway before a server with lists."""
    async with behind_gateway(folder, rules=RULES, fast=fast, bridge=bridge) as (gateway, upstream):
        upstream.answer = noetl
        yield gateway, upstream


def paths(document: Any) -> set[str]:
    """Return the playbooks of a list."""
    return {entry["path"] for entry in (document["entries"] if isinstance(document, dict) else document)}


@TRANSPORTS
@pytest.mark.parametrize(("method", "path", "whole"), LISTS)
async def test_list_has_what_the_user_may_view(tmp_path: Path, fast: bool, method: str, path: str, whole: Any) -> None:
    async with lists(tmp_path, fast=fast) as (gateway, upstream):
        anna = await gateway.bearer()
        async with gateway.client.request(method, f"{gateway.url}/noetl{path}", headers=anna) as answer:
            assert answer.status == 200  # the dialect of the server has been asked for
        for email, expected in SEES.items():
            headers = {**await gateway.bearer(email), "if-none-match": '"whole"', "accept-encoding": "gzip"}
            for _ in range(2):
                before = gateway.served_fast
                async with gateway.client.request(method, f"{gateway.url}/noetl{path}", headers=headers) as answer:
                    data = await answer.read()
                    assert (answer.status, paths(json.loads(data))) == (200, expected)
                    assert answer.headers["content-length"] == str(len(data))
                    assert answer.headers["cache-control"] == "no-store"
                    assert answer.headers["x-kept"] == "1"
                    assert "etag" not in answer.headers
            assert (gateway.served_fast > before) is fast
            assert "if-none-match" not in upstream.seen[-1].headers
            assert upstream.seen[-1].headers["accept-encoding"] == "identity"


@TRANSPORTS
@pytest.mark.parametrize(("method", "path", "whole"), LISTS)
async def test_list_of_a_user_who_may_view_everything_is_forwarded_as_it_is(
    tmp_path: Path, fast: bool, method: str, path: str, whole: Any
) -> None:
    async with lists(tmp_path, fast=fast, bridge=False) as (gateway, upstream):
        headers = {**await gateway.bearer("all@seers.test"), "accept-encoding": "gzip"}
        for _ in range(2):
            before = gateway.served_fast
            async with gateway.client.request(method, f"{gateway.url}/noetl{path}", headers=headers) as answer:
                assert (await answer.json(), answer.headers["etag"]) == (whole, '"whole"')
        assert (gateway.served_fast > before) is fast
        assert upstream.seen[-1].headers["accept-encoding"] == "gzip"


@TRANSPORTS
@pytest.mark.parametrize(("method", "path", "whole"), LISTS)
async def test_list_by_proxy_request_has_the_same(
    tmp_path: Path, fast: bool, method: str, path: str, whole: Any
) -> None:
    async with lists(tmp_path, fast=fast) as (gateway, _):
        for email, expected in {**SEES, "all@seers.test": paths(whole)}.items():
            sent = {"query": MUTATION, "variables": {"m": method, "e": f"/api{path}"}}
            headers = await gateway.bearer(email)
            async with gateway.client.post(f"{gateway.url}/graphql", json=sent, headers=headers) as answer:
                found = (await answer.json())["data"]["proxyRequest"]
            assert (found["status"], paths(found["data"])) == (200, expected)


@TRANSPORTS
async def test_list_by_graphql_has_the_same(tmp_path: Path, fast: bool) -> None:
    async with lists(tmp_path, fast=fast) as (gateway, _):
        for email, expected in {**SEES, "all@seers.test": paths(CATALOG)}.items():
            for query in ("{ found: playbooks { path: name } }", "{ found: executions { path } }"):
                headers = await gateway.bearer(email)
                async with gateway.client.post(
                    f"{gateway.url}/graphql", json={"query": query}, headers=headers
                ) as answer:
                    assert paths((await answer.json())["data"]["found"]) == expected


@TRANSPORTS
async def test_execution_stays_in_the_list_of_the_user_who_started_it(tmp_path: Path, fast: bool) -> None:
    async with lists(tmp_path, fast=fast) as (gateway, _):
        headers = await gateway.bearer("runner@else.test")
        sent = {"path": "hidden/b"}
        async with gateway.client.post(f"{gateway.url}/noetl/execute", json=sent, headers=headers) as answer:
            assert answer.status == 200
        async with gateway.client.get(f"{gateway.url}/noetl/executions", headers=headers) as answer:
            assert await answer.json() == [EXECUTIONS[1]]


@TRANSPORTS
async def test_head_of_a_filtered_list_tells_nothing_of_the_whole(tmp_path: Path, fast: bool) -> None:
    async with lists(tmp_path, fast=fast) as (gateway, _):
        for _ in range(2):
            headers = await gateway.bearer()
            async with gateway.client.head(f"{gateway.url}/noetl/executions", headers=headers) as answer:
                assert (answer.status, await answer.read()) == (200, b"")
                assert not {"etag", "content-length"} & {name.lower() for name in answer.headers}


@TRANSPORTS
@pytest.mark.parametrize("chunked", [True, False])
async def test_large_list_is_filtered(tmp_path: Path, fast: bool, chunked: bool) -> None:
    many = [{"execution_id": str(n), "path": path, "x": "y" * 200} for n, path in enumerate(["open/a", "b"] * 2000)]

    async def large(request: web.BaseRequest) -> web.StreamResponse:
        response = web.json_response(many)
        if chunked:
            response.enable_chunked_encoding()
        return response

    async with lists(tmp_path, fast=fast) as (gateway, upstream):
        upstream.answer = large
        headers = await gateway.bearer()
        for _ in range(2):
            async with gateway.client.get(f"{gateway.url}/noetl/executions", headers=headers) as answer:
                assert await answer.json() == many[::2]
                assert "content-length" in answer.headers


@TRANSPORTS
async def test_list_that_is_too_large_is_502(tmp_path: Path, fast: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    for module in ("fast", "handler", "internal"):
        monkeypatch.setattr(f"proxy.relay.{module}.MAX_LISTING", 1000)

    async def large(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response([{"execution_id": "1", "path": "open/a", "x": "y" * 2_000_000}])

    async with lists(tmp_path, fast=fast) as (gateway, upstream):
        headers = await gateway.bearer()
        async with gateway.client.get(f"{gateway.url}/noetl/executions", headers=headers) as answer:
            assert answer.status == 200
        upstream.answer = large
        async with gateway.client.get(f"{gateway.url}/noetl/executions", headers=headers) as answer:
            assert answer.status == 502


@TRANSPORTS
async def test_handshake_does_not_get_round_the_filter(tmp_path: Path, fast: bool) -> None:
    routes = "routes: [{path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}', websocket: true}]"
    async with behind_gateway(tmp_path, rules=RULES, more=routes, fast=fast) as (gateway, upstream):
        upstream.answer = noetl
        headers = {**await gateway.bearer(), "connection": "upgrade", "upgrade": "websocket"}
        headers |= {"sec-websocket-version": "13", "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ=="}
        async with gateway.client.get(f"{gateway.url}/noetl/executions", headers=headers) as answer:
            assert (answer.status, paths(await answer.json())) == (200, {"open/a"})


@TRANSPORTS
@pytest.mark.parametrize(
    "answer",
    [
        web.Response, lambda: web.Response(text="<html>open/a hidden/b"), lambda: web.json_response({"executions": EXECUTIONS}),
        lambda: web.Response(body=gzip.compress(json.dumps(EXECUTIONS).encode()), headers={"content-encoding": "gzip"}),
        lambda: web.json_response(EXECUTIONS, status=206),
    ],
)  # fmt: skip
async def test_list_that_can_not_be_filtered_is_502(tmp_path: Path, fast: bool, answer: Any) -> None:
    async def broken(_: web.BaseRequest) -> web.StreamResponse:
        return answer()  # type: ignore[no-any-return]

    async with lists(tmp_path, fast=fast) as (gateway, upstream):
        upstream.answer = broken
        headers = await gateway.bearer()
        async with gateway.client.get(f"{gateway.url}/noetl/executions", headers=headers) as got:
            assert got.status == 502
            assert "hidden" not in await got.text()


@TRANSPORTS
async def test_error_instead_of_a_list_is_forwarded(tmp_path: Path, fast: bool) -> None:
    async def failing(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"detail": "page is too deep"}, status=422)

    async with lists(tmp_path, fast=fast) as (gateway, upstream):
        upstream.answer = failing
        headers = await gateway.bearer()
        async with gateway.client.get(f"{gateway.url}/noetl/executions?page=9", headers=headers) as got:
            assert (got.status, await got.json()) == (422, {"detail": "page is too deep", "error": "page is too deep"})
