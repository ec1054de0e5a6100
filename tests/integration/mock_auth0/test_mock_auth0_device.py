"""The device flow: what a device is told before, after and instead of a confirmation."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from mock_auth0.server import Server
from tests.integration.mock_auth0.test_mock_auth0_signing_in import submit, transaction_in

GRANT = "urn:ietf:params:oauth:grant-type:device_code"


async def begin(tenant: httpx.AsyncClient, **more: str) -> dict[str, Any]:
    form = {"client_id": "noetl-cli", "scope": "openid email offline_access", **more}
    found: dict[str, Any] = (await tenant.post("/oauth/device/code", data=form)).json()
    return found


async def poll(tenant: httpx.AsyncClient, code: str, client: str = "noetl-cli") -> tuple[int, dict[str, Any]]:
    form = {"grant_type": GRANT, "client_id": client, "device_code": code}
    answer = await tenant.post("/oauth/token", data=form)
    return answer.status_code, answer.json()


async def decide(tenant: httpx.AsyncClient, code: str, action: str) -> httpx.Response:
    """Type in a code, sign in if necessary, and decide."""
    page = await tenant.post("/activate", data={"user_code": code})
    if 'name="password"' in page.text:
        page = await submit(tenant, page)
    return await tenant.post("/u/consent", data={"state": transaction_in(page), "action": action})


async def test_a_confirmed_device_gets_tokens_once(server: Server, tenant: httpx.AsyncClient) -> None:
    device = await begin(tenant)
    assert device["verification_uri_complete"] == f"{server.url}activate?user_code={device['user_code']}"
    assert (device["expires_in"], device["interval"]) == (900, 5)
    typed = device["user_code"].lower().replace("-", " ")
    assert "Device connected" in (await decide(tenant, typed, "accept")).text
    status, tokens = await poll(tenant, device["device_code"])
    assert (status, tokens["scope"]) == (200, "openid email offline_access")
    assert {"id_token", "refresh_token"} <= tokens.keys()
    assert (await poll(tenant, device["device_code"]))[1]["error"] == "invalid_grant"


async def test_a_waiting_device_is_told_to_wait_and_a_hasty_one_to_slow_down(
    server: Server, tenant: httpx.AsyncClient
) -> None:
    code = (await begin(tenant))["device_code"]
    assert (await poll(tenant, code))[1]["error"] == "authorization_pending"
    status, answer = await poll(tenant, code)
    assert (status, answer["error"]) == (429, "slow_down")
    server.sandbox.clock.move(5)
    assert (await poll(tenant, code))[1]["error"] == "authorization_pending"


async def test_a_refused_device_is_told_so(tenant: httpx.AsyncClient) -> None:
    device = await begin(tenant)
    assert "was refused" in (await decide(tenant, device["user_code"], "deny")).text
    status, answer = await poll(tenant, device["device_code"])
    assert (status, answer["error"]) == (403, "access_denied")


async def test_a_code_expires(server: Server, tenant: httpx.AsyncClient) -> None:
    device = await begin(tenant)
    server.sandbox.clock.move(900)
    assert (await poll(tenant, device["device_code"]))[1]["error"] == "expired_token"
    page = await tenant.post("/activate", data={"user_code": device["user_code"]})
    assert (page.status_code, "not valid" in page.text) == (400, True)


async def test_a_code_is_of_one_client(tenant: httpx.AsyncClient) -> None:
    device = await begin(tenant)
    await decide(tenant, device["user_code"], "accept")
    assert (await poll(tenant, device["device_code"], "noetl-gateway"))[1]["error"] == "invalid_grant"


async def test_a_used_code_is_refused_on_the_page(tenant: httpx.AsyncClient) -> None:
    device = await begin(tenant)
    await decide(tenant, device["user_code"], "accept")
    assert (await tenant.get("/activate", params={"user_code": device["user_code"]})).status_code == 400


@pytest.mark.parametrize("code", ["", "BCDF-GHJK", "<script>", "é"])
async def test_an_unknown_code_is_refused(tenant: httpx.AsyncClient, code: str) -> None:
    page = await tenant.post("/activate", data={"user_code": code})
    assert page.status_code == 400
    assert "<script>" not in page.text


async def test_a_service_has_no_device_flow(tenant: httpx.AsyncClient) -> None:
    answer = await begin(tenant, client_id="noetl-service", client_secret="noetl-service-secret")
    assert answer["error"] == "unauthorized_client"
