"""Logins of several tenants, from the token to what the user may do: e-mail, bound roles, key sets, the log."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from tests.integration.certificates import Authority
from tests.integration.harness import FAST, TRANSPORTS, KeptLog, Running, gateway_running, upstream_running
from tests.unit.identity.test_tokens import claims, key_entries, token

A, B = "http://localhost:1/a", "http://localhost:1/b/"


@asynccontextmanager
async def two_tenants(folder: Path, *, fast: bool = FAST, log: KeptLog | None = None) -> AsyncIterator[Running]:
    """A gateway with the tenants `a.test` and `b.test`; the second one sends no `email_verified`."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        found = request.path == "/jwks"
        return web.json_response({"keys": key_entries()} if found else {"email": request.headers.get("x-user-email")})

    async with upstream_running() as upstream:
        upstream.answer = answer
        text = f"""
upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}
auth:
  default_tenant: a.test
  tenants:
    - {{domain: a.test, issuer: '{A}', audience: [web], jwks_url: 'http://localhost:{upstream.port}/jwks'}}
    - {{domain: b.test, issuer: '{B}', audience: [web], jwks_url: 'http://localhost:{upstream.port}/jwks',
       email_verified: assumed}}
acl:
  roles:
    staff: {{emails: ["*@staff.test"], tenants: [a.test]}}
    admin: {{emails: [root@staff.test], tenants: [a.test, b.test]}}
  rules:
    - {{allow: ["*"], roles: [staff], paths: ["/noetl/**"]}}
"""
        async with gateway_running(folder, text, fast=fast, log=log) as gateway:
            yield gateway


async def sign_in(gateway: Running, issuer: str = A, email: str = "anna@staff.test", **changes: Any) -> dict[str, Any]:
    """Log in, and return the response."""
    domain = "a.test" if issuer == A else "b.test"
    text = token(claims(**{"iss": issuer, "email": email, "sub": email, **changes}))
    body = {"auth0_token": text, "auth0_domain": domain}
    async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body) as answer:
        found: dict[str, Any] = await answer.json()
        return found


async def status(gateway: Running, session: dict[str, Any], method: str, path: str) -> int:
    headers = {"authorization": f"Bearer {session['session_token']}"}
    async with gateway.client.request(method, gateway.url + path, headers=headers) as answer:
        return answer.status


@TRANSPORTS
@pytest.mark.parametrize(
    ("issuer", "verified", "roles", "expected"),
    [(A, True, ["staff"], 200), (A, False, [], 403), (A, None, [], 403), (B, True, [], 403), (B, None, [], 403)],
)
async def test_role_by_email_is_for_verified_users_of_its_tenant(
    tmp_path: Path, fast: bool, issuer: str, verified: bool | None, roles: list[str], expected: int
) -> None:
    async with two_tenants(tmp_path, fast=fast) as gateway:
        session = await sign_in(gateway, issuer, email_verified=verified)
        assert session["user"]["email"] == "anna@staff.test"
        assert session["user"]["roles"] == roles
        assert [await status(gateway, session, "GET", "/noetl/x") for _ in range(2)] == [expected] * 2


async def test_users_of_two_tenants_with_the_same_subject_are_two_users(tmp_path: Path) -> None:
    async with two_tenants(tmp_path) as gateway:
        users = [(await sign_in(gateway, issuer))["user"]["user_id"] for issuer in (A, B, A)]
    assert users == [1, 2, 1]


async def test_issuer_with_another_slash_is_the_same_tenant(tmp_path: Path) -> None:
    async with two_tenants(tmp_path) as gateway:
        assert (await sign_in(gateway, A, iss=A + "/"))["status"] == "authenticated"


@pytest.mark.parametrize(("victim", "expected"), [(A, 204), (B, 404)])
async def test_admin_ends_sessions_of_the_own_tenant_only(tmp_path: Path, victim: str, expected: int) -> None:
    async with two_tenants(tmp_path) as gateway:
        admin = await sign_in(gateway, A, "root@staff.test", email_verified=True)
        theirs = await sign_in(gateway, victim, "eve@else.test")
        assert admin["user"]["roles"] == ["admin", "staff"]
        (stored,) = [s for s in await gateway.server.gateway.store.all(9) if s.identity.email == "eve@else.test"]
        assert await status(gateway, admin, "DELETE", f"/api/auth/sessions/{stored.id}") == expected
        assert await status(gateway, theirs, "GET", "/api/auth/me") == (401 if expected == 204 else 200)


@pytest.mark.parametrize(
    ("changes", "public", "detail"),
    [
        ({"aud": "other"}, "wrong audience", 'aud "other"; wanted are iss "http://localhost:1/a" and aud "web"'),
        ({"iss": "https://c.test/"}, "wrong issuer", 'iss "https://c.test/" and aud "web"; wanted are'),
    ],
)
async def test_failed_login_says_in_the_log_what_was_sent_and_what_is_wanted(
    tmp_path: Path, changes: dict[str, str], public: str, detail: str
) -> None:
    log = KeptLog()
    async with two_tenants(tmp_path, log=log) as gateway:
        answer = await sign_in(gateway, **changes)
    assert answer["error"] == f"Invalid token: {public}"
    assert detail in log.lines[-1].detail


@pytest.mark.parametrize(("trusted", "expected"), [(True, 200), (False, 503)])
async def test_key_set_of_a_private_authority_is_fetched_if_the_tenant_names_it(
    tmp_path: Path, trusted: bool, expected: int
) -> None:
    authority = Authority.make(tmp_path)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(*authority.issue(tmp_path, "localhost"))

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        base = f"https://localhost:{port}"
        if request.path.endswith("openid-configuration"):
            return web.json_response({"issuer": base, "jwks_uri": f"{base}/certs"})
        return web.json_response({"keys": key_entries()} if request.path == "/certs" else {})

    runner = web.ServerRunner(web.Server(answer), handle_signals=False)
    await runner.setup()
    try:
        site = web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context)
        await site.start()
        port = runner.addresses[0][1]
        tls = f", tls: {{ca: {authority.file.name}}}" if trusted else ""
        tenant = f"{{domain: a.test, issuer: 'https://localhost:{port}', audience: [web]{tls}}}"
        async with gateway_running(tmp_path, f"auth: {{tenants: [{tenant}]}}\n") as gateway:
            body = {"auth0_token": token(claims(iss=f"https://localhost:{port}"))}
            async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body) as response:
                assert response.status == expected
    finally:
        await runner.cleanup()


async def test_session_stores_only_the_claims_that_are_used(tmp_path: Path) -> None:
    more = """
acl:
  roles:
    blue: {claims: {team: blue}}
  rules:
    - {allow: [view], playbooks: ["x/**"], claims: {level: [1, 2]}}
"""
    tenant = f"{{domain: a.test, issuer: '{A}', audience: [web], roles_claim: roles, jwks_url: 'http://localhost:PORT/jwks'}}"

    async def keys(_: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"keys": key_entries()})

    async with upstream_running() as upstream:
        upstream.answer = keys
        text = f"auth: {{tenants: [{tenant.replace('PORT', str(upstream.port))}]}}\n{more}"
        async with gateway_running(tmp_path, text) as gateway:
            told: dict[str, Any] = {"team": "blue", "level": 3, "roles": ["own"], "email_verified": True}
            session = await sign_in(gateway, groups=["x" * 100] * 50, picture="p", name="N" * 5000, **told)
            assert session["user"]["roles"] == ["blue", "own"]
            (stored,) = await gateway.server.gateway.store.all(9)
            assert stored.identity.claims == told
            assert len(stored.identity.display_name) == 256
            assert len(stored.encode()) < 4096
            refused = await sign_in(gateway, roles=["x" * 100] * 50)
            assert refused["error"] == "Invalid token: claims too large"
