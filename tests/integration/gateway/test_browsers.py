"""What browsers need and what is kept from them: cross-origin answers, session cookies, the Origin check."""

from __future__ import annotations

from pathlib import Path

import pytest
from aiohttp import web

from tests.integration.harness import Running, Upstream, behind_gateway

ORIGIN = "https://app.example.com"
CORS = f"corsAllowedOrigins: ['{ORIGIN}', 'https://*.example.org']\n"
COOKIE = CORS + "sessions: {store: memory, cookie: {enabled: true}}\n"


@pytest.mark.parametrize("path", ["/health", "/api/auth/me", "/nothing", "/noetl/x"])
@pytest.mark.gateway(more=CORS)
async def test_every_answer_to_an_allowed_origin_can_be_read_errors_too(gateway: Running, path: str) -> None:
    async with gateway.client.get(gateway.url + path, headers={"origin": ORIGIN}) as answer:
        assert answer.headers["access-control-allow-origin"] == ORIGIN
        assert answer.headers["access-control-allow-credentials"] == "true"
        assert answer.headers["vary"] == "origin"


@pytest.mark.parametrize(
    "origin",
    ["https://evil.com", "null", "https://evil-example.org", "https://a.b.example.org", "http://a.example.org",
     "https://a.example.org:8443", "https://example.org", f"{ORIGIN}.evil.com"],
)  # fmt: skip
@pytest.mark.gateway(more=CORS)
async def test_a_foreign_origin_gets_no_permission_and_a_403_preflight(gateway: Running, origin: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    async with gateway.client.options(f"{gateway.url}/graphql", headers=headers) as answer:
        assert (answer.status, "access-control-allow-origin" in answer.headers) == (403, False)
    async with gateway.client.get(f"{gateway.url}/health", headers={"origin": origin}) as answer:
        assert ("access-control-allow-origin" in answer.headers, answer.headers["vary"]) == (False, "origin")


@pytest.mark.parametrize("origin", [ORIGIN, "https://a.example.org"])
@pytest.mark.gateway(more=CORS)
async def test_a_preflight_of_an_allowed_origin_may_be_kept_for_max_age(gateway: Running, origin: str) -> None:
    headers = {"origin": origin, "access-control-request-method": "POST"}
    async with gateway.client.options(f"{gateway.url}/graphql", headers=headers) as answer:
        assert answer.status == 204
        assert answer.headers["access-control-allow-origin"] == origin
        assert answer.headers["access-control-max-age"] == "600"
        assert "x-session-token" in answer.headers["access-control-allow-headers"]


@pytest.mark.gateway(more=CORS)
async def test_the_upstreams_own_cors_headers_are_replaced(gateway: Running, upstream: Upstream) -> None:
    async def permissive(request: web.BaseRequest) -> web.StreamResponse:
        return web.Response(headers={"access-control-allow-origin": "*"})

    upstream.answer = permissive
    headers = {**await gateway.bearer(), "origin": "https://evil.com"}
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
        assert (answer.status, "access-control-allow-origin" in answer.headers) == (200, False)


@pytest.mark.gateway(more=COOKIE)
async def test_a_session_cookie_signs_in_where_cookies_are_on(gateway: Running) -> None:
    headers = {"cookie": f"session_token={await gateway.session()}"}
    async with gateway.client.get(f"{gateway.url}/api/auth/me", headers=headers) as answer:
        assert answer.status == 200


async def test_a_session_cookie_means_nothing_where_cookies_are_off(gateway: Running) -> None:
    headers = {"cookie": f"session_token={await gateway.session()}"}
    async with gateway.client.get(f"{gateway.url}/api/auth/me", headers=headers) as answer:
        assert answer.status == 401


@pytest.mark.parametrize(
    ("origin", "status"), [("https://evil.com", 403), ("null", 403), (ORIGIN, 200), ("https://gw.example.com", 200)]
)
@pytest.mark.gateway(server="public_url: 'https://gw.example.com'", more=COOKIE)
async def test_a_cookie_changes_something_only_from_known_origins(gateway: Running, origin: str, status: int) -> None:
    headers = {"cookie": f"session_token={await gateway.session()}", "origin": origin}
    async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as answer:
        assert answer.status == status


@pytest.mark.gateway(more=COOKIE)
async def test_logout_clears_the_cookie(gateway: Running) -> None:
    headers = {"cookie": f"session_token={await gateway.session()}"}
    async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as answer:
        (cookie,) = answer.headers.getall("set-cookie")
    assert cookie.startswith('session_token=""')
    assert {"Max-Age=0", "HttpOnly", "Secure", "SameSite=Lax", "Path=/"} <= set(cookie.split("; "))


async def test_security_headers_are_on_our_answers(tmp_path: Path) -> None:
    async with behind_gateway(tmp_path) as (gateway, _), gateway.client.get(f"{gateway.url}/health") as answer:
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["referrer-policy"] == "no-referrer"
        assert "frame-ancestors 'none'" in answer.headers["content-security-policy"]


async def test_graphiql_is_one_page_that_loads_nothing_from_elsewhere(gateway: Running) -> None:
    async with gateway.client.get(f"{gateway.url}/graphql", headers={"accept": "text/html"}) as answer:
        policy = answer.headers["content-security-policy"]
        assert (answer.status, answer.content_type) == (200, "text/html")
    assert "default-src 'none'" in policy
    assert "http" not in policy.replace("'self'", "")
