"""What gets into the audit log, from either transport."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.observe.audit import verify
from tests.integration.harness import Running, Upstream

AUDIT = "audit: {file: audit.log}\n"


def lines(folder: Path) -> list[dict[str, Any]]:
    file = folder / "audit.log"
    return [json.loads(line) for line in file.read_text().splitlines()] if file.exists() else []


@pytest.mark.gateway(more=AUDIT)
async def test_only_rejected_login_denial_and_logout_are_audited(gateway: Running, tmp_path: Path) -> None:
    mine, eve = await gateway.bearer(), await gateway.bearer("eve@else.test")
    async with gateway.client.post(f"{gateway.url}/api/auth/login", json={"auth0_token": "secret-token"}):
        pass
    for headers in (mine, mine, eve):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    async with gateway.client.get(f"{gateway.url}/api/auth/sessions", headers=mine):
        pass
    async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=mine):
        pass
    told = lines(tmp_path)
    assert [(line["event"], line["outcome"]) for line in told] == [
        ("login", "refused"),
        ("access.denied", "denied"),
        ("logout", "success"),
    ]
    assert told[1]["detail"] == "admin GET /noetl/x: no rule allows it"
    assert told[1]["user_id"] == 2
    text = (tmp_path / "audit.log").read_text()
    assert "secret-token" not in text
    assert mine["authorization"].split()[1] not in text
    assert verify([tmp_path / "audit.log"], b"") == 3


@pytest.mark.gateway(more=AUDIT)
async def test_graphql_denial_is_audited_on_both_paths(gateway: Running, tmp_path: Path) -> None:
    eve = await gateway.bearer("eve@else.test")
    for _ in range(3):
        query = {"query": 'mutation { executePlaybook(name: "team/flow") { executionId } }'}
        async with gateway.client.post(f"{gateway.url}/graphql", json=query, headers=eve) as answer:
            assert (await answer.json())["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert [(line["event"], line["detail"]) for line in lines(tmp_path)] == [
        ("access.denied", "execute team/flow: no rule allows it")
    ] * 3


@pytest.mark.gateway(more=AUDIT)
async def test_a_403_of_the_upstream_is_no_denial_of_ours(gateway: Running, upstream: Upstream, tmp_path: Path) -> None:
    async def refuse(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(status=403)

    upstream.answer = refuse
    for _ in range(2):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer()) as answer:
            assert answer.status == 403
    assert lines(tmp_path) == []


@pytest.mark.gateway(more=AUDIT)
async def test_ended_session_and_reload_are_audited(gateway: Running, tmp_path: Path) -> None:
    headers = await gateway.bearer()
    async with gateway.client.get(f"{gateway.url}/api/auth/sessions", headers=headers) as answer:
        (session,) = (await answer.json())["sessions"]
    compiled = gateway.server.gateway.compiled
    assert await gateway.serving.reload(lambda: compiled)
    async with gateway.client.delete(f"{gateway.url}/api/auth/sessions/{session['id']}", headers=headers) as ended:
        assert ended.status == 204
    assert [(line["event"], line["outcome"]) for line in lines(tmp_path)] == [
        ("config.reload", "success"),
        ("session.end", "success"),
    ]
