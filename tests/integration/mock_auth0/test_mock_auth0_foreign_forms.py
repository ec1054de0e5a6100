"""Forms of the pages: only the pages themselves and programs may post them."""

from __future__ import annotations

from typing import Any

import httpx
import pytest

from tests.integration.mock_auth0.provider import client_of, provider, running
from tests.integration.mock_auth0.test_mock_auth0_signing_in import IMPLICIT, in_fragment, transaction_in

FORMS = ("/u/login", "/u/consent", "/activate", "/u/logout-everywhere")
LOGIN = {"username": "user@example.com", "password": "password"}


async def _posted(client: httpx.AsyncClient, origin: str | None) -> httpx.Response:
    page = await client.get("/authorize", params=IMPLICIT)
    headers = {"origin": origin} if origin is not None else {}
    return await client.post("/u/login", data=LOGIN | {"state": transaction_in(page)}, headers=headers)


@pytest.mark.parametrize(
    "origin",
    ["https://evil.example", "null", "http://localhost:3000", "http://127.0.0.1", "http://127.0.0.1:x", "file://", ""],
)
@pytest.mark.parametrize("path", FORMS)
async def test_form_posted_by_a_foreign_page_is_403(path: str, origin: str) -> None:
    async with provider() as client:
        answer = await client.post(path, data={"email": "user@example.com"}, headers={"origin": origin})
        assert answer.status_code == 403
        assert "page of another origin" in answer.text
        assert "set-cookie" not in answer.headers


async def test_login_posted_by_a_foreign_page_begins_no_session() -> None:
    async with provider() as client:
        answer = await _posted(client, "https://evil.example")
        assert (answer.status_code, "set-cookie" in answer.headers) == (403, False)
        silent = await client.get("/authorize", params=IMPLICIT | {"prompt": "none"})
        assert in_fragment(silent)["error"] == "login_required"


@pytest.mark.parametrize(
    ("options", "origin"),
    [
        ({}, None),
        ({}, "the address of the request"),
        ({}, "the issuer"),
        ({"issuer": "https://auth.test/"}, "https://auth.test"),
        ({"issuer": "https://auth.test/"}, "https://auth.test:443"),
        ({"issuer": "https://auth.test/"}, "HTTPS://AUTH.TEST"),
        ({"issuer": "https://auth.test/"}, "the address of the request"),
    ],
)
async def test_form_posted_by_the_own_page_or_by_a_program_is_accepted(
    options: dict[str, Any], origin: str | None
) -> None:
    async with running(**options) as server, client_of(server) as client:
        own = {"the address of the request": str(client.base_url).rstrip("/"), "the issuer": server.url.rstrip("/")}
        assert "access_token" in in_fragment(await _posted(client, own.get(origin or "", origin)))


async def test_endpoints_for_other_origins_stay_open() -> None:
    async with provider() as client:
        headers = {"origin": "http://localhost:3000"}
        form = {"client_id": "noetl-gateway", "credential_type": "password", "realm": "users", **LOGIN}
        answer = await client.post("/co/authenticate", json=form, headers=headers)
        assert (answer.status_code, answer.headers["access-control-allow-origin"]) == (200, headers["origin"])
        token = {"grant_type": "password", "client_id": "noetl-gateway", **LOGIN}
        assert (await client.post("/oauth/token", data=token, headers=headers)).status_code == 200
        assert (await client.post("/oidc/logout", headers=headers)).status_code == 200
