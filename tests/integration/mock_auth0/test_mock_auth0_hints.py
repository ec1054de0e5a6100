"""Parameters of `/authorize` that say who must sign in, or that the parameters are elsewhere."""

from __future__ import annotations

import httpx
import pytest

from tests.integration.mock_auth0.test_mock_auth0_signing_in import (
    CODE,
    IMPLICIT,
    in_fragment,
    in_query,
    sign_in,
    submit,
    transaction_in,
)


async def _hint(tenant: httpx.AsyncClient, email: str) -> str:
    form = {"grant_type": "password", "client_id": "noetl-gateway", "scope": "openid", "password": "password"}
    return str((await tenant.post("/oauth/token", data=form | {"username": email})).json()["id_token"])


@pytest.mark.parametrize("name", ["request", "request_uri"])
async def test_request_object_is_refused_by_its_name(tenant: httpx.AsyncClient, name: str) -> None:
    back = in_query(await tenant.get("/authorize", params=CODE | {name: "https://client.example/object"}))
    assert (back["error"], back["state"]) == (f"{name}_not_supported", "the state")
    back = in_fragment(await tenant.get("/authorize", params=IMPLICIT | {name: "e30.e30."}))
    assert back["error"] == f"{name}_not_supported"


async def test_request_uri_without_redirect_uri_is_a_page_that_says_so(tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params={"client_id": "noetl-gateway", "request_uri": "urn:x"})
    assert (page.status_code, "request_uri are not supported" in page.text) == (400, True)


@pytest.mark.parametrize("hint", ["nonsense", "e30.e30.", "a.b.c"])
async def test_malformed_hint_is_an_invalid_request(tenant: httpx.AsyncClient, hint: str) -> None:
    await sign_in(tenant, CODE)
    back = in_query(await tenant.get("/authorize", params=CODE | {"prompt": "none", "id_token_hint": hint}))
    assert back["error"] == "invalid_request"


async def test_silent_login_with_the_hint_of_another_user_needs_a_login(tenant: httpx.AsyncClient) -> None:
    await sign_in(tenant, CODE)
    silent = CODE | {"prompt": "none"}
    other = await _hint(tenant, "dev@example.com")
    assert (
        in_query(await tenant.get("/authorize", params=silent | {"id_token_hint": other}))["error"] == "login_required"
    )
    own = await _hint(tenant, "user@example.com")
    assert "code" in in_query(await tenant.get("/authorize", params=silent | {"id_token_hint": own}))


async def test_login_with_the_hint_of_another_user_asks_and_accepts_only_that_user(tenant: httpx.AsyncClient) -> None:
    await sign_in(tenant, CODE)
    hinted = CODE | {"id_token_hint": await _hint(tenant, "dev@example.com")}
    page = await tenant.get("/authorize", params=hinted)
    assert in_query(await submit(tenant, page))["error"] == "login_required"
    page = await tenant.get("/authorize", params=hinted)
    form = {"state": transaction_in(page), "username": "dev@example.com", "password": "password"}
    assert "code" in in_query(await tenant.post("/u/login", data=form))
