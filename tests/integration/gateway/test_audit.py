"""What gets into the audit log, from either transport."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.observe.access import AccessLine
from proxy.observe.audit import AuditFile, AuditSettings
from proxy.observe.audit_chain import verify
from proxy.observe.audit_trail import AuditTrail
from proxy.policy.denials import DenialBudget
from tests.integration.harness import Running, Upstream

AUDIT = "audit: {file: audit.log}\n"


def lines(gateway: Running, folder: Path) -> list[dict[str, Any]]:
    """The lines of the audit log, once all are written."""
    audit, file = gateway.server.gateway.audit, folder / "audit.log"
    assert audit is not None
    audit.flush()
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
    told = lines(gateway, tmp_path)
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
    assert verify([tmp_path / "audit.log"], b"").lines == 3


@pytest.mark.gateway(more=AUDIT)
async def test_graphql_denial_is_audited_on_both_paths(gateway: Running, tmp_path: Path) -> None:
    eve = await gateway.bearer("eve@else.test")
    for _ in range(3):
        query = {"query": 'mutation { executePlaybook(name: "team/flow") { executionId } }'}
        async with gateway.client.post(f"{gateway.url}/graphql", json=query, headers=eve) as answer:
            assert (await answer.json())["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    assert [(line["event"], line["detail"]) for line in lines(gateway, tmp_path)] == [
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
    assert lines(gateway, tmp_path) == []


@pytest.mark.gateway(more=AUDIT)
async def test_ended_session_and_reload_are_audited(gateway: Running, tmp_path: Path) -> None:
    headers = await gateway.bearer()
    async with gateway.client.get(f"{gateway.url}/api/auth/sessions", headers=headers) as answer:
        (session,) = (await answer.json())["sessions"]
    compiled = gateway.server.gateway.compiled
    assert await gateway.serving.reload(lambda: compiled)
    async with gateway.client.delete(f"{gateway.url}/api/auth/sessions/{session['id']}", headers=headers) as ended:
        assert ended.status == 204
    assert [(line["event"], line["outcome"]) for line in lines(gateway, tmp_path)] == [
        ("config.reload", "success"),
        ("session.end", "success"),
    ]


@pytest.mark.gateway(more=AUDIT + "corsAllowedOrigins: ['https://ours.test']\n")
async def test_preflight_is_no_login(gateway: Running, tmp_path: Path) -> None:
    for origin, status in (("https://ours.test", 204), ("https://evil.test", 403)):
        headers = {"origin": origin, "access-control-request-method": "POST"}
        async with gateway.client.options(f"{gateway.url}/api/auth/login", headers=headers) as answer:
            assert answer.status == status
    assert [(line["event"], line["outcome"]) for line in lines(gateway, tmp_path)] == [("access.denied", "denied")]


@pytest.mark.gateway(more=AUDIT)
async def test_entry_of_a_long_request_is_cut_and_names_the_agent(gateway: Running, tmp_path: Path) -> None:
    url = f"{gateway.url}/noetl/{'x' * 5000}?{'y' * 3000}"
    headers = {**await gateway.bearer("eve@else.test"), "user-agent": "agent/1 " + "z" * 2000}
    async with gateway.client.get(url, headers=headers) as answer:
        assert answer.status == 403
    (line,) = lines(gateway, tmp_path)
    assert (line["agent"][:8], line["agent"][-6:], line["path"][-6:]) == ("agent/1 ", " [cut]", " [cut]")
    assert len((tmp_path / "audit.log").read_bytes()) <= 4096


@pytest.mark.gateway(
    server="trusted_proxies: [127.0.0.0/8]",
    more="audit: {file: audit.log, max_size: 256KiB, keep: 1}\nrate_limits: {login: {limit: 1000000/second}}\n",
    auth="throttle: {after: 0}",
)
@pytest.mark.parametrize("sender", ["one address", "many addresses", "one user"])
@pytest.mark.slow
async def test_ten_thousand_denials_leave_the_logins_of_the_day(gateway: Running, tmp_path: Path, sender: str) -> None:
    trail = AuditTrail(AuditFile(AuditSettings(tmp_path / "audit.log", 256 * 1024, 1, b"")), DenialBudget())
    for number in range(100):
        line = AccessLine("POST", "/api/auth/login", None, 200, 1.0, 0.0, number, "192.0.2.1", "r")
        trail.write(line, "auth.login", "tests")
    eve = await gateway.bearer("eve@else.test")

    async def deny(number: int) -> None:
        address = (
            {"x-forwarded-for": f"198.{number % 100}.{number // 100 % 100}.7"} if sender == "many addresses" else {}
        )
        method, path = ("GET", "/noetl/" + "x" * 3000) if sender == "one user" else ("POST", "/api/auth/login")
        sent = {**address, **(eve if sender == "one user" else {})}
        async with gateway.client.request(
            method, gateway.url + path, headers=sent, json={"auth0_token": "x"}
        ) as answer:
            assert answer.status in (401, 403)

    for start in range(0, 10_000, 50):
        await asyncio.gather(*map(deny, range(start, start + 50)))
    gateway.server.flush_log()
    found = lines(gateway, tmp_path)
    older = tmp_path / "audit.log.1"
    if older.exists():
        found = [json.loads(line) for line in older.read_text().splitlines()] + found
    assert sum(line["outcome"] == "success" for line in found) == 100
    denied = [line for line in found if line["outcome"] in ("denied", "refused")]
    counted = sum(line.get("count", 1) for line in denied)
    assert (counted, len(denied) < 400) == (10_000, True)
    assert verify([*([older] if older.exists() else []), tmp_path / "audit.log"], b"").lines == len(found)
