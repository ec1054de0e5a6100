"""Bodies that name a playbook: their form, their size, and how they are read."""

from __future__ import annotations

import base64
import io
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.harness import TRANSPORTS, behind_gateway

MORE = "acl: {max_judged_body: 100KiB, roles: {staff: {emails: ['*@staff.test']}}, rules: [{allow: ['*'], roles: [staff], playbooks: ['open/**']}]}\n"  # noqa: E501
YAML = "metadata: {path: open/a}\nx: |\n"
LARGE, TOO_LARGE = "y" * 90_000, "y" * 110_000


def content(size: int, path: str = "open/a") -> str:
    """Return a playbook of about this size."""
    return YAML.replace("open/a", path) + ("  " + "y" * 97 + "\n") * (size // 100)


@TRANSPORTS
@pytest.mark.parametrize(
    ("path", "document", "status"),
    [
        ("/execute", {"path": "open/a", "workload": {"x": LARGE}}, 200),
        ("/execute", {"path": "hidden", "workload": {"x": LARGE}}, 403),
        ("/execute", {"path": "open/a", "workload": {"x": TOO_LARGE}}, 413),
        ("/catalog/resource", {"path": "open/a", "catalog_id": "77"}, 400),
        ("/catalog/register", {"content": content(900_000)}, 200),
        ("/catalog/register", {"content": content(900_000, "hidden")}, 403),
        ("/catalog/register", {"content": base64.b64encode(content(500_000, "hidden").encode()).decode()}, 403),
        ("/catalog/register", {"content": content(1_100_000)}, 413),
        ("/catalog/register", {"content": "{{{"}, 400),
        ("/catalog/register", {"content": "metadata: {path: open/a}\nmetadata: {path: hidden}"}, 400),
    ],
    ids=lambda value: str(value)[:60],
)
async def test_judged_body_is_read_whole_or_refused(
    tmp_path: Path, fast: bool, path: str, document: Any, status: int
) -> None:
    arrived = []

    async def noetl(request: web.BaseRequest) -> web.StreamResponse:
        arrived.append(json.loads(await request.read()))
        return web.json_response({})

    async with behind_gateway(tmp_path, rules=MORE, fast=fast) as (gateway, upstream):
        upstream.answer = noetl
        headers = {**await gateway.bearer(), "content-type": "application/json"}
        for _ in range(2):
            data = io.BytesIO(json.dumps(document).encode())
            async with gateway.client.post(f"{gateway.url}/noetl{path}", data=data, headers=headers) as answer:
                assert answer.status == status
        assert arrived == ([document] * 2 if status == 200 else [])


@TRANSPORTS
@pytest.mark.parametrize(
    "path",
    [
        "/execute/batch",
        "/catalog/register",
        "/mcp/playbook/open/a/jsonrpc",
        "/catalog/delete",
        "/subscriptions/register",
    ],
)
@pytest.mark.parametrize(
    "fields",
    [{"content-type": "text/plain"}, {"content-type": "application/json", "content-encoding": "gzip"}, {}],
    ids=["text", "compressed", "no type"],
)
async def test_judged_body_that_is_not_plain_json_is_415(
    tmp_path: Path, fast: bool, path: str, fields: dict[str, str]
) -> None:
    async with behind_gateway(tmp_path, rules=MORE, fast=fast) as (gateway, upstream):
        headers = {**await gateway.bearer(), **fields}
        data = b'{"path": "open/a", "executions": [{"path": "open/a"}], "method": "ping"}'
        for body in (data, b""):
            async with gateway.client.post(
                f"{gateway.url}/noetl{path}", data=body, headers=headers, skip_auto_headers=["content-type"]
            ) as answer:
                assert answer.status == 415
        assert upstream.seen == []


@TRANSPORTS
@pytest.mark.parametrize(
    "body",
    [b'{"path":"open/a","path":"hidden"}', b'{"path":"hidden","p\\u0061th":"open/a"}', b"", b"{", b'{"path":NaN}'],
)
async def test_judged_body_that_could_be_read_in_two_ways_is_400(tmp_path: Path, fast: bool, body: bytes) -> None:
    async with behind_gateway(tmp_path, rules=MORE, fast=fast) as (gateway, upstream):
        headers = {**await gateway.bearer(), "content-type": "application/json"}
        for path in ("/execute", "/catalog/resource", "/catalog/delete", "/catalog/restore"):
            async with gateway.client.post(f"{gateway.url}/noetl{path}", data=body, headers=headers) as answer:
                assert answer.status == 400
        assert upstream.seen == []


@TRANSPORTS
@pytest.mark.parametrize(
    "query", ["?execution_id=1&execution_id=2", "?execution_id=1;execution_id=2", "?execution_id=x"]
)
async def test_query_that_could_be_read_in_two_ways_is_400(tmp_path: Path, fast: bool, query: str) -> None:
    async with behind_gateway(tmp_path, rules=MORE, fast=fast) as (gateway, upstream):
        headers = await gateway.bearer()
        async with gateway.client.get(f"{gateway.url}/noetl/replay/state{query}", headers=headers) as answer:
            assert answer.status == 400
        assert upstream.seen == []
