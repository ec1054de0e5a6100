"""`GET /metrics`, as Prometheus reads it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from aiohttp import web
from prometheus_client.parser import text_string_to_metric_families

from tests.e2e.processes import free_port
from tests.integration.harness import PATIENCE, Running, Upstream, behind_gateway


async def numbers(gateway: Running) -> dict[str, float]:
    """Every sample, by its name and labels as they are written."""
    async with gateway.client.get(f"{gateway.url}/metrics") as answer:
        assert answer.status == 200
        text = await answer.text()
    return {
        sample.name + "".join(f" {name}={text}" for name, text in sorted(sample.labels.items())): sample.value
        for family in text_string_to_metric_families(text)
        for sample in family.samples
    }


async def test_requests_of_both_transports_are_counted(gateway: Running) -> None:
    headers = await gateway.bearer()
    for _ in range(5):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    async with gateway.client.get(f"{gateway.url}/noetl/x"):
        pass
    seen = await numbers(gateway)
    assert seen["noetl_gateway_requests_total method=GET route=/noetl/{path:**} status=200"] == 5
    assert seen["noetl_gateway_requests_total method=GET route=/noetl/{path:**} status=401"] == 1
    assert seen["noetl_gateway_session_check_total outcome=valid"] == 5
    assert seen["noetl_gateway_session_check_total outcome=missing"] == 1
    assert seen["noetl_gateway_authz_total outcome=allowed"] == 5


async def test_refusals_and_failed_logins_are_counted(gateway: Running) -> None:
    headers = await gateway.bearer("eve@else.test")
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
        assert answer.status == 403
    async with gateway.client.post(f"{gateway.url}/api/auth/login", json={"auth0_token": "x"}) as answer:
        assert answer.status == 401
    seen = await numbers(gateway)
    assert seen["noetl_gateway_authz_total outcome=denied"] == 1
    assert seen["noetl_gateway_login_total outcome=invalid_token"] == 1
    assert seen["noetl_gateway_login_total outcome=success"] == 0


async def test_upstreams_are_counted_by_url_with_their_faults(tmp_path: Path) -> None:
    url = f"http://127.0.0.1:{free_port()}"
    async with behind_gateway(tmp_path, more=f"upstreams: {{noetl: {{urls: ['{url}']}}}}\n") as (gateway, _):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=await gateway.bearer()) as answer:
            assert answer.status == 502
        seen = await numbers(gateway)
    assert seen[f"noetl_gateway_upstream_faults_total kind=connect upstream=noetl url={url}"] == 2
    assert seen[f"noetl_gateway_upstream_connections state=busy upstream=noetl url={url}"] == 0


async def test_overhead_of_a_relayed_request_leaves_the_upstream_out(gateway: Running) -> None:
    headers = await gateway.bearer()
    for _ in range(20):
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    seen = await numbers(gateway)
    total = seen["noetl_gateway_request_duration_seconds_sum method=GET route=/noetl/{path:**}"]
    assert 0 < seen["noetl_gateway_overhead_seconds_sum route=/noetl/{path:**}"] < total


async def test_metrics_contain_configuration_and_build(gateway: Running) -> None:
    seen = await numbers(gateway)
    wanted = gateway.serving.reloads.fingerprint
    assert seen[f"noetl_gateway_config_info hash={wanted}"] == 1
    assert seen["noetl_gateway_config_last_reload_successful"] == 1
    assert any(name.startswith("noetl_gateway_build_info ") for name in seen)


@pytest.mark.gateway(more="metrics: {enabled: false}\n")
async def test_metrics_that_are_off_are_not_found(gateway: Running) -> None:
    async with gateway.client.get(f"{gateway.url}/metrics") as answer:
        assert answer.status == 404


@pytest.mark.gateway(server="trusted_proxies: [127.0.0.0/8]")
async def test_a_foreign_address_is_refused(gateway: Running) -> None:
    headers = {"x-forwarded-for": "203.0.113.9"}
    async with gateway.client.get(f"{gateway.url}/metrics", headers=headers) as answer:
        assert answer.status == 403


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
@pytest.mark.gateway(more="upstreams: {noetl: {urls: ['UPSTREAM'], response_timeout: 300ms}}\n")
async def test_time_spent_waiting_for_an_upstream_that_fails_is_not_our_own(
    gateway: Running, upstream: Upstream, warm: bool
) -> None:
    async def hang(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(PATIENCE)
        return web.Response()

    headers = await gateway.bearer()
    if warm:
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    upstream.answer = hang
    async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers) as answer:
        assert answer.status == 504
    seen = await numbers(gateway)
    assert seen["noetl_gateway_request_duration_seconds_sum method=GET route=/noetl/{path:**}"] >= 0.3
    assert seen["noetl_gateway_overhead_seconds_sum route=/noetl/{path:**}"] < 0.2
    assert seen["noetl_gateway_session_check_total outcome=valid"] == 1 + warm
    assert seen["noetl_gateway_authz_total outcome=allowed"] == 1 + warm


async def test_the_upstream_part_of_graphql_is_what_its_calls_took(gateway: Running, upstream: Upstream) -> None:
    async def late(request: web.BaseRequest) -> web.StreamResponse:
        await asyncio.sleep(0.1)
        return web.json_response({"entries": []})

    upstream.answer = late
    query = {"query": "{ playbooks { name } }"}
    async with gateway.client.post(f"{gateway.url}/graphql", json=query, headers=await gateway.bearer()) as answer:
        assert answer.status == 200
    seen = await numbers(gateway)
    total = seen["noetl_gateway_request_duration_seconds_sum method=POST route=/graphql"]
    own = seen["noetl_gateway_overhead_seconds_sum route=/graphql"]
    assert total >= 0.1
    assert 0 < own < total


async def test_an_address_of_metrics_allow_from_is_served_without_a_route_table(tmp_path: Path) -> None:
    more, server = "metrics: {allow_from: [203.0.113.0/24]}\n", "trusted_proxies: [127.0.0.0/8]"
    async with behind_gateway(tmp_path, server=server, more=more) as (gateway, _):
        statuses = []
        for address in ("203.0.113.9", "198.51.100.9"):
            headers = {"x-forwarded-for": address}
            async with gateway.client.get(f"{gateway.url}/metrics", headers=headers) as answer:
                statuses.append(answer.status)
    assert statuses == [200, 403]


@pytest.mark.gateway(server="limits: {max_connections: 77}")
async def test_metrics_contain_number_and_limit_of_connections(gateway: Running) -> None:
    seen = await numbers(gateway)
    assert (seen["noetl_gateway_connections"], seen["noetl_gateway_connections_limit"]) == (1, 77)
