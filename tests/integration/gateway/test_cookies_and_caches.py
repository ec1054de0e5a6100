"""What a cookie allows, and what caches may do with relayed responses, on both transports."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest
from aiohttp import web

from tests.integration.harness import TRANSPORTS, Running, Upstream, behind_gateway

pytestmark = pytest.mark.usefixtures("each_store")

COOKIES = "sessions: {store: memory, cookie: {enabled: true, name: sid}}\n"
ANYONE = "cors: {allowed_origins: ['*'], allow_credentials: false}\n"
OURS = "corsAllowedOrigins: ['https://ours.test']\n"
ROUTES = """
routes:
  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}', websocket: true}
  - {path: '/open/{path:**}', upstream: noetl, rewrite: '/api/{path}', auth: none}
  - {path: /api/auth/logout, handler: auth.logout}
"""


@asynccontextmanager
async def relaying(
    folder: Path, fast: bool, *headers: tuple[str, str], more: str = COOKIES + OURS
) -> AsyncIterator[tuple[Running, Upstream]]:
    """A gateway before an upstream that answers with these fields."""

    async def answer(_: web.BaseRequest) -> web.StreamResponse:
        response = web.Response(text="{}")
        for name, value in headers:
            response.headers.add(name, value)
        return response

    async with behind_gateway(folder, fast=fast, more=more + ROUTES) as (gateway, upstream):
        upstream.answer = answer
        yield gateway, upstream


async def fields(gateway: Running, name: str, path: str = "/noetl/health") -> list[list[str]]:
    """The values of a field of two responses: by a new connection upstream, and by a kept one."""
    found, headers = [], await gateway.bearer()
    for _ in range(2):
        async with gateway.client.get(gateway.url + path, headers=headers) as answer:
            assert answer.status == 200
            found.append(answer.headers.getall(name, []))
    return found


async def posted(gateway: Running, **headers: str) -> list[int]:
    """The statuses of two state-changing requests, signed in by a cookie."""
    sent = {"cookie": f"sid={await gateway.session()}", **{n.replace("_", "-"): v for n, v in headers.items()}}
    statuses = []
    for _ in range(2):
        async with gateway.client.post(f"{gateway.url}/noetl/credentials", headers=sent, json={}) as answer:
            statuses.append(answer.status)
    return statuses


@TRANSPORTS
@pytest.mark.parametrize(
    ("headers", "status"),
    [
        ({}, 200),
        ({"sec_fetch_site": "cross-site"}, 403),
        ({"sec_fetch_site": "same-origin"}, 200),
        ({"sec_fetch_site": "none"}, 200),
        ({"sec_fetch_site": "cross-site", "origin": "https://evil.test"}, 403),
        ({"sec_fetch_site": "cross-site", "origin": "https://ours.test"}, 200),
        ({"sec_fetch_site": "same-origin", "origin": "https://evil.test"}, 403),
    ],
)
async def test_page_of_another_site_changes_nothing_by_cookie(
    tmp_path: Path, fast: bool, headers: dict[str, str], status: int
) -> None:
    async with relaying(tmp_path, fast) as (gateway, _):
        assert await posted(gateway, **headers) == [status, status]


@TRANSPORTS
async def test_page_of_another_site_may_read_by_cookie_and_act_by_bearer(tmp_path: Path, fast: bool) -> None:
    async with relaying(tmp_path, fast) as (gateway, _):
        headers = {"sec-fetch-site": "cross-site"}
        by_cookie = {**headers, "cookie": f"sid={await gateway.session()}"}
        async with gateway.client.get(f"{gateway.url}/noetl/health", headers=by_cookie) as answer:
            assert answer.status == 200
        by_bearer = {**headers, **await gateway.bearer()}
        async with gateway.client.post(f"{gateway.url}/noetl/credentials", headers=by_bearer, json={}) as answer:
            assert answer.status == 200


@TRANSPORTS
async def test_any_origin_does_not_count_for_cookies(tmp_path: Path, fast: bool) -> None:
    async with relaying(tmp_path, fast, more=COOKIES + ANYONE) as (gateway, _):
        assert await posted(gateway, origin="https://evil.test") == [403, 403]


@TRANSPORTS
@pytest.mark.parametrize("credentials", [COOKIES, ""], ids=["with cookies", "without"])
async def test_any_origin_does_not_count_for_websockets(tmp_path: Path, fast: bool, credentials: str) -> None:
    headers = {
        "connection": "upgrade", "upgrade": "websocket", "sec-websocket-version": "13",
        "sec-websocket-key": "dGhlIHNhbXBsZSBub25jZQ==", "origin": "https://evil.test",
    }  # fmt: skip
    async with relaying(tmp_path, fast, more=credentials + ANYONE) as (gateway, upstream):
        sent = {**headers, **await gateway.bearer()}
        async with gateway.client.get(f"{gateway.url}/noetl/stream", headers=sent) as answer:
            assert answer.status == 403
        assert upstream.seen == []


@TRANSPORTS
@pytest.mark.parametrize("path", ["/noetl/health", "/open/health"])
async def test_upstream_sets_no_cookie_of_our_name_and_others_as_they_are(
    tmp_path: Path, fast: bool, path: str
) -> None:
    cookies = ("sid=stolen; Path=/", "SID=1", "a=2; Expires=Wed, 21 Oct 2026 07:28:00 GMT", "sid =x", "=sid=y")
    async with relaying(tmp_path, fast, *(("set-cookie", one) for one in cookies)) as (gateway, _):
        assert await fields(gateway, "set-cookie", path) == [[cookies[1], cookies[2]]] * 2


@TRANSPORTS
@pytest.mark.parametrize(
    ("path", "sent", "received"),
    [
        ("/noetl/health", [], ["no-store"]),
        ("/noetl/health", ["max-age=5"], ["max-age=5"]),
        ("/open/health", [], []),
        ("/open/health", ["max-age=5"], ["max-age=5"]),
    ],
)
async def test_response_of_a_route_with_a_session_is_not_stored_unless_the_upstream_says_so(
    tmp_path: Path, fast: bool, path: str, sent: list[str], received: list[str]
) -> None:
    async with relaying(tmp_path, fast, *(("cache-control", one) for one in sent)) as (gateway, _):
        assert await fields(gateway, "cache-control", path) == [received, received]


@TRANSPORTS
@pytest.mark.parametrize(
    ("path", "sent", "received"),
    [
        ("/noetl/health", [], ["origin, authorization, x-session-token, cookie"]),
        ("/noetl/health", ["Accept, Origin"], ["Accept, Origin", "authorization, x-session-token, cookie"]),
        ("/noetl/health", ["*"], ["*"]),
        ("/open/health", ["Accept"], ["Accept", "origin"]),
    ],
)
async def test_vary_names_the_fields_that_the_response_depends_on(
    tmp_path: Path, fast: bool, path: str, sent: list[str], received: list[str]
) -> None:
    async with relaying(tmp_path, fast, *(("vary", one) for one in sent)) as (gateway, _):
        assert await fields(gateway, "vary", path) == [received, received]


@TRANSPORTS
async def test_vary_names_no_cookie_and_no_origin_where_they_make_no_difference(tmp_path: Path, fast: bool) -> None:
    async with relaying(tmp_path, fast, more=ANYONE) as (gateway, _):
        assert await fields(gateway, "vary") == [["authorization, x-session-token"]] * 2
        assert await fields(gateway, "vary", "/open/health") == [[], []]


@TRANSPORTS
@pytest.mark.parametrize(
    ("security", "sent", "received"),
    [("true", [], ["nosniff"]), ("true", ["other"], ["nosniff"]), ("false", [], []), ("false", ["other"], ["other"])],
)
async def test_relayed_responses_are_nosniff_where_headers_security_is_on(
    tmp_path: Path, fast: bool, security: str, sent: list[str], received: list[str]
) -> None:
    more = f"headers: {{security: {security}}}\n"
    options = [("x-content-type-options", one) for one in sent]
    async with relaying(tmp_path, fast, *options, more=more) as (gateway, _):
        assert await fields(gateway, "x-content-type-options") == [received, received]
