"""Which NoETL server is behind, in `/ready`: for the clients that may read the metrics, and for nobody else."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.bridge_server import Noetl
from tests.integration.harness import Running, behind_gateway

PROXIED = "trusted_proxies: [127.0.0.1/32]"
HERE, STRANGER = {"x-forwarded-for": "127.0.0.1"}, {"x-forwarded-for": "203.0.113.5"}
METRICS_FOR_ALL = "metrics: {allow_from: [0.0.0.0/0]}\n"
OWN_METRICS = "routes: [{path: /metrics, handler: metrics}]\n"
MEMBERS = ["ready", "upstreams", "sessions", "key_sets", "draining"]


async def ready(gateway: Running, headers: dict[str, str]) -> dict[str, Any]:
    async with gateway.client.get(f"{gateway.url}/ready", headers=headers) as answer:
        found: dict[str, Any] = await answer.json()
        return found


@pytest.mark.parametrize(("dialect", "release"), [("rust", "3.83.1"), ("python", "unknown")])
async def test_ready_names_the_server_to_clients_that_may_read_the_metrics(
    tmp_path: Path, dialect: str, release: str
) -> None:
    async with behind_gateway(tmp_path, server=PROXIED) as (gateway, upstream):
        assert (await ready(gateway, HERE))["servers"] == {"noetl": {"dialect": "unknown", "release": "unknown"}}
        upstream.answer = Noetl(dialect).answer
        found = await ready(gateway, HERE)
        assert found.pop("servers") == {"noetl": {"dialect": dialect, "release": release}}
        assert list(found) == list(await ready(gateway, STRANGER)) == MEMBERS


@pytest.mark.parametrize(
    ("more", "is_named"),
    [("", False), (METRICS_FOR_ALL, True), (OWN_METRICS, False), ("metrics: {enabled: false}\n", False)],
)
async def test_ready_names_the_server_to_strangers_only_where_the_metrics_are_allowed_to_them(
    tmp_path: Path, more: str, is_named: bool
) -> None:
    async with behind_gateway(tmp_path, server=PROXIED, more=more) as (gateway, upstream):
        upstream.answer = Noetl("rust").answer
        assert ("servers" in await ready(gateway, STRANGER)) is is_named


async def test_server_that_has_been_replaced_is_named_by_its_last_health_response(tmp_path: Path) -> None:
    async with behind_gateway(tmp_path) as (gateway, upstream):
        for dialect, release in (("rust", "3.83.1"), ("python", "unknown"), ("rust", "3.83.1")):
            upstream.answer = Noetl(dialect).answer
            assert (await ready(gateway, {}))["servers"]["noetl"] == {"dialect": dialect, "release": release}


@pytest.mark.parametrize("health", [b"[" * 100_000, b'{"uptime_seconds": 1, "version": "\\u001b[31m"}', b"x" * 70_000])
async def test_strange_health_response_names_no_release(tmp_path: Path, health: bytes) -> None:
    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(body=health, content_type="application/json")

    async with behind_gateway(tmp_path) as (gateway, upstream):
        upstream.answer = answer
        found = await ready(gateway, {})
        assert (found["upstreams"], found["servers"]["noetl"]["release"]) == ({"noetl": "ok"}, "unknown")
