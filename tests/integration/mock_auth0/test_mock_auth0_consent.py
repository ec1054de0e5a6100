"""Consent: asked for once, refused, and what a silent login says before."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest

from tests.integration.mock_auth0.provider import CALLBACK, provider, settings_of
from tests.integration.mock_auth0.test_mock_auth0_signing_in import in_fragment, submit, transaction_in

ASKED = {
    "client_id": "third",
    "redirect_uri": CALLBACK,
    "response_type": "id_token",
    "nonce": "n",
    "scope": "openid email read:reports",
}
TENANT = f"""
users: [{{email: user@example.com, password: password}}]
clients: [{{client_id: third, name: Third Party, consent: true, redirect_uris: ["{CALLBACK}"]}}]
"""


@pytest.fixture
async def browser(tmp_path: Path) -> AsyncIterator[httpx.AsyncClient]:
    async with provider(settings_of(tmp_path, TENANT)) as client:
        yield client


async def decide(browser: httpx.AsyncClient, page: httpx.Response, action: str) -> httpx.Response:
    return await browser.post("/u/consent", data={"state": transaction_in(page), "action": action})


async def test_consent_is_asked_for_once(browser: httpx.AsyncClient) -> None:
    page = await submit(browser, await browser.get("/authorize", params=ASKED))
    assert "Authorize Third Party" in page.text
    assert "read:reports" in page.text
    assert (
        in_fragment(await browser.get("/authorize", params=ASKED | {"prompt": "none"}))["error"] == "consent_required"
    )
    assert "id_token" in in_fragment(await decide(browser, page, "accept"))
    assert "id_token" in in_fragment(await browser.get("/authorize", params=ASKED | {"prompt": "none"}))


async def test_consent_is_asked_for_again_for_more_scopes_and_by_prompt(browser: httpx.AsyncClient) -> None:
    page = await submit(browser, await browser.get("/authorize", params=ASKED))
    await decide(browser, page, "accept")
    for more in ({"scope": "openid email write:reports"}, {"prompt": "consent"}):
        assert "Authorize Third Party" in (await browser.get("/authorize", params=ASKED | more)).text


async def test_a_refusal_is_an_error_of_the_application(browser: httpx.AsyncClient) -> None:
    page = await submit(browser, await browser.get("/authorize", params=ASKED))
    assert in_fragment(await decide(browser, page, "deny"))["error"] == "access_denied"
    assert (await decide(browser, page, "accept")).status_code == 400, "a decision is made once"


async def test_another_browser_can_not_decide(browser: httpx.AsyncClient) -> None:
    page = await submit(browser, await browser.get("/authorize", params=ASKED))
    browser.cookies.clear()
    assert (await decide(browser, page, "accept")).status_code == 400
