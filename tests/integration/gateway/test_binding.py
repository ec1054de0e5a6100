"""`sessions.bind`: from elsewhere a session is none, on every route, with a warm connection upstream or a cold one."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from proxy.http.credentials import key_of
from proxy.sessions.store import Identity, new_session, new_token
from tests.integration.harness import Running, behind_gateway

pytestmark = pytest.mark.usefixtures("each_store")

HERE, THERE = "192.0.2.1", "198.51.100.7"
GRAPHQL = b'{"query": "{ me { email } }"}'
ROUTES = [("GET", "/noetl/x"), ("POST", "/graphql"), ("GET", "/api/auth/me"), ("GET", "/ws/x")]


@asynccontextmanager
async def bound(folder: Path, bind: str) -> AsyncIterator[tuple[Running, str]]:
    """A gateway that binds sessions, behind a trusted proxy, and the token of a session from HERE, of `browser`."""
    more = (
        f"sessions: {{store: memory, bind: {bind}}}\naudit: {{file: audit.log}}\n"
        "routes:\n"
        "  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}'}\n"
        "  - {path: '/ws/{path:**}', upstream: noetl, rewrite: '/api/{path}', auth: optional}\n"
        "  - {path: /graphql, handler: graphql}\n"
        "  - {path: /api/auth/me, handler: auth.me}\n"
        "  - {path: /api/auth/validate, handler: auth.validate}\n"
        "  - {path: /api/auth/check-access, handler: auth.check_access}\n"
        "  - {path: /api/auth/logout, handler: auth.logout}\n"
    )
    async with behind_gateway(folder, server="trusted_proxies: [127.0.0.0/8]", more=more) as (gateway, _):
        token = new_token()
        key = key_of(token)
        assert key is not None
        identity = Identity(
            "http://localhost:1/", "anna", "anna@staff.test", "anna", "localhost", {"email_verified": True}
        )
        session = new_session(key, identity, now=1e9, lifetime=1e10, ip=HERE, user_agent="browser")
        await gateway.server.gateway.store.create(key, session, max_per_user=0)
        yield gateway, token


async def status(gateway: Running, token: str, method: str, path: str, ip: str = HERE, agent: str = "browser") -> int:
    headers = {"authorization": f"Bearer {token}", "x-forwarded-for": ip, "user-agent": agent}
    headers["content-type"] = "application/json"
    body = GRAPHQL if path == "/graphql" else None
    async with gateway.client.request(method, gateway.url + path, headers=headers, data=body) as answer:
        return answer.status


@pytest.mark.parametrize(("method", "path"), ROUTES)
@pytest.mark.parametrize(
    ("bind", "changes"),
    [("ip", {"ip": THERE}), ("user_agent", {"agent": "other"}), ("both", {"ip": THERE}), ("both", {"agent": "other"})],
)
async def test_from_elsewhere_a_session_is_401_and_from_where_it_began_it_goes_on(
    tmp_path: Path, method: str, path: str, bind: str, changes: dict[str, str]
) -> None:
    async with bound(tmp_path, bind) as (gateway, token):
        for _ in range(3):
            assert await status(gateway, token, method, path) == 200
            assert await status(gateway, token, method, path, **changes) == 401


@pytest.mark.parametrize(("method", "path"), ROUTES[:3])
async def test_without_binding_both_transports_serve_a_session_from_anywhere(
    tmp_path: Path, method: str, path: str
) -> None:
    async with bound(tmp_path, "none") as (gateway, token):
        for _ in range(3):
            assert await status(gateway, token, method, path, THERE, "other") == 200


@pytest.mark.parametrize("bind", ["ip", "user_agent", "both"])
async def test_bound_sessions_are_checked_on_the_fast_path(tmp_path: Path, bind: str) -> None:
    async with bound(tmp_path, bind) as (gateway, token):
        await status(gateway, token, "GET", "/noetl/x")
        before = gateway.served_fast
        assert await status(gateway, token, "GET", "/noetl/x") == 200
        assert await status(gateway, token, "GET", "/noetl/x", THERE, "other") == 401
        assert gateway.served_fast == before + 2


async def test_elsewhere_validate_says_no_and_what_else_takes_a_token_is_401(tmp_path: Path) -> None:
    async with bound(tmp_path, "ip") as (gateway, token):
        answers = []
        for path in ("validate", "check-access", "logout"):
            body = {"session_token": token, "playbook_name": "a"}
            url, headers = f"{gateway.url}/api/auth/{path}", {"x-forwarded-for": THERE}
            async with gateway.client.post(url, json=body, headers=headers) as answer:
                answers.append((answer.status, (await answer.json()).get("valid")))
        assert answers == [(200, False), (401, None), (401, None)]
        assert await status(gateway, token, "GET", "/api/auth/me") == 200


async def test_a_use_from_elsewhere_does_not_keep_a_session_from_idling_out(tmp_path: Path) -> None:
    async with bound(tmp_path, "ip") as (gateway, token):
        key, store = key_of(token), gateway.server.gateway.store
        assert key is not None
        seen = []
        for ip in (THERE, HERE):
            await status(gateway, token, "GET", "/api/auth/me", ip=ip)
            session = await store.get(key)
            assert session is not None
            seen.append(session.last_seen_at > 1e9)
        assert seen == [False, True]


async def test_the_audit_log_tells_whose_session_was_used_from_elsewhere(tmp_path: Path) -> None:
    async with bound(tmp_path, "ip") as (gateway, token):
        await status(gateway, token, "GET", "/noetl/x", ip=THERE)
    (line,) = [json.loads(text) for text in (tmp_path / "audit.log").read_text().splitlines()]
    assert (line["event"], line["outcome"], line["status"], line["ip"]) == ("access.denied", "denied", 401, THERE)
    assert line["detail"].endswith("of user 1 is bound to another address")
    assert token not in json.dumps(line)
