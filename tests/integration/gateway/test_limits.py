"""Rate limits and failed logins, over sockets, on both transports."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.harness import Running, Upstream, behind_gateway

ROUTES = """
routes:
  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}', rate_limit: api}
  - {path: /graphql, handler: graphql}
  - {path: /health, handler: health, rate_limit: api}
"""


def limited(key: str, limit: str = "3/hour") -> str:
    return f"rate_limits: {{api: {{limit: {limit}, key: {key}}}}}\n{ROUTES}"


async def statuses(gateway: Running, times: int, headers: dict[str, str], path: str = "/noetl/x") -> list[int]:
    found = []
    for _ in range(times):
        async with gateway.client.get(gateway.url + path, headers=headers) as answer:
            found.append(answer.status)
    return found


@pytest.mark.gateway(more=limited("session"))
async def test_a_session_over_its_limit_is_429_and_another_is_not(gateway: Running, upstream: Upstream) -> None:
    mine, other = await gateway.bearer(), await gateway.bearer()
    assert await statuses(gateway, 5, mine) == [200, 200, 200, 429, 429]
    assert await statuses(gateway, 3, other) == [200, 200, 200]
    assert len(upstream.seen) == 6


@pytest.mark.gateway(more=limited("user"))
async def test_sessions_of_one_user_count_together_where_the_key_is_user(gateway: Running) -> None:
    first, second = await gateway.bearer(), await gateway.bearer()
    other = await gateway.bearer("bob@staff.test")
    assert await statuses(gateway, 2, first) + await statuses(gateway, 2, second) == [200, 200, 200, 429]
    assert await statuses(gateway, 1, other) == [200]


@pytest.mark.gateway(more=limited("ip"))
async def test_an_address_is_refused_before_its_session_is_looked_at(gateway: Running) -> None:
    assert await statuses(gateway, 4, {}) == [401, 401, 401, 429]


@pytest.mark.gateway(server="trusted_proxies: [127.0.0.0/8]", more=limited("ip"))
async def test_clients_behind_a_trusted_proxy_have_limits_of_their_own(gateway: Running) -> None:
    one, two = {"x-forwarded-for": "203.0.113.1"}, {"x-forwarded-for": "203.0.113.2"}
    assert await statuses(gateway, 4, one, "/health") == [200, 200, 200, 429]
    assert await statuses(gateway, 1, two, "/health") == [200]


@pytest.mark.gateway(more=limited("ip"))
async def test_client_without_trusted_proxy_cannot_choose_its_address(gateway: Running) -> None:
    found = [(await statuses(gateway, 1, {"x-forwarded-for": f"203.0.113.{n}"}, "/health"))[0] for n in range(4)]
    assert found == [200, 200, 200, 429]


async def test_a_429_says_when_to_come_back_and_browsers_may_read_it(tmp_path: Path) -> None:
    more = limited("ip", "2/hour") + "corsAllowedOrigins: ['https://app.test']\n"
    async with behind_gateway(tmp_path, more=more) as (gateway, _):
        headers = {"origin": "https://app.test"}
        await statuses(gateway, 2, headers, "/health")
        async with gateway.client.get(f"{gateway.url}/health", headers=headers) as answer:
            assert answer.status == 429
            assert 1700 < int(answer.headers["retry-after"]) <= 1800
            assert answer.headers["ratelimit-policy"] == '"api";q=2;w=3600'
            assert answer.headers["ratelimit"].startswith('"api";r=0;t=')
            assert answer.headers["access-control-allow-origin"] == "https://app.test"
            assert (await answer.json())["error"] == "Too many requests"


@pytest.mark.gateway(more=limited("session"))
async def test_proxy_request_is_no_way_round_a_limit(gateway: Running) -> None:
    headers = await gateway.bearer()
    await statuses(gateway, 3, headers)
    query = 'mutation { proxyRequest(input: {method: "GET", endpoint: "/api/x"}) { status } }'
    async with gateway.client.post(f"{gateway.url}/graphql", json={"query": query}, headers=headers) as answer:
        (error,) = (await answer.json())["errors"]
    assert error["extensions"] == {"code": "LIMIT_EXCEEDED", "status": 429}


@pytest.mark.parametrize(("more", "status"), [("", 429), ("rate_limits: {login: {limit: 1000/second}}\n", 400)])
async def test_logins_have_a_limit_unless_the_file_says_otherwise(tmp_path: Path, more: str, status: int) -> None:
    async with behind_gateway(tmp_path, more=more) as (gateway, _):
        for _ in range(40):
            async with gateway.client.post(f"{gateway.url}/api/auth/login", json={}) as answer:
                last = answer.status
        assert last == status


@pytest.mark.gateway(auth="throttle: {after: 2, delay: 60s}")
async def test_failed_logins_of_an_address_are_slowed_down(gateway: Running) -> None:
    found = []
    for _ in range(4):
        async with gateway.client.post(f"{gateway.url}/api/auth/login", json={"auth0_token": "x"}) as answer:
            found.append((answer.status, answer.headers.get("retry-after")))
    assert found == [(401, None), (401, None), (429, "60"), (429, "60")]
    assert gateway.serving.process.measures.metrics.logins["throttled"] == 2


@pytest.mark.gateway(more=limited("session"))
async def test_a_reload_forgets_no_count(gateway: Running) -> None:
    headers = await gateway.bearer()
    await statuses(gateway, 3, headers)
    compiled = gateway.server.gateway.compiled
    assert await gateway.serving.reload(lambda: compiled)
    assert await statuses(gateway, 1, headers) == [429]
