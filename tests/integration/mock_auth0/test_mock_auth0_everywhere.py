"""Logging a user out everywhere: what ends here, and what the applications are sent."""

from __future__ import annotations

from collections.abc import AsyncIterator

import httpx
import jwt
import pytest
from aiohttp import web

from mock_auth0.directory import load
from mock_auth0.settings_file import DEFAULT_FILE
from tests.integration.harness import Upstream, upstream_running
from tests.integration.mock_auth0.provider import provider
from tests.integration.mock_auth0.test_mock_auth0_signing_in import IMPLICIT, in_fragment, sign_in

PATH = "/u/logout-everywhere"
FORM = {"email": "user@example.com"}
PAGE = {"accept": "text/html,*/*"}


@pytest.fixture
async def application() -> AsyncIterator[Upstream]:
    """An application that notes what it is sent."""
    async with upstream_running() as running:
        yield running


@pytest.fixture
async def telling(application: Upstream) -> AsyncIterator[httpx.AsyncClient]:
    """A client of a provider that tells the application."""
    async with provider(logout_uri=f"http://127.0.0.1:{application.port}/told") as client:
        yield client


async def test_the_application_is_sent_a_logout_token(telling: httpx.AsyncClient, application: Upstream) -> None:
    forms = []

    async def note(request: web.BaseRequest) -> web.StreamResponse:
        forms.append(await request.post())
        return web.Response()

    application.answer = note
    answer = await telling.post(PATH, data=FORM)
    assert [told["status"] for told in answer.json()["notified"]] == [200]
    (form,) = forms
    keys = jwt.PyJWKSet.from_dict((await telling.get("/.well-known/jwks.json")).json())
    token = str(form["logout_token"])
    header = jwt.get_unverified_header(token)
    claims = jwt.decode(token, keys[header["kid"]], algorithms=["RS256"], audience="noetl-gateway")
    assert header["typ"] == "logout+jwt"
    assert claims["events"] == {"http://schemas.openid.net/event/backchannel-logout": {}}
    assert claims["exp"] - claims["iat"] == 120
    assert {"sub", "jti"} <= claims.keys()
    assert "nonce" not in claims


async def test_the_users_browser_sessions_end(telling: httpx.AsyncClient) -> None:
    await sign_in(telling, IMPLICIT)
    silent = IMPLICIT | {"prompt": "none"}
    assert "id_token" in in_fragment(await telling.get("/authorize", params=silent))
    assert (await telling.post(PATH, data=FORM)).json()["ended"] == 1
    assert in_fragment(await telling.get("/authorize", params=silent))["error"] == "login_required"


async def test_missing_application_is_reported_as_unreachable(application: Upstream) -> None:
    async with provider(logout_uri="http://127.0.0.1:1/told") as client:
        assert (await client.post(PATH, data=FORM)).json()["notified"][0]["status"] == 0
        assert "not reached" in (await client.post(PATH, data=FORM, headers=PAGE)).text


async def test_an_unknown_user_is_404(telling: httpx.AsyncClient) -> None:
    assert (await telling.post(PATH, data={"email": "nobody@example.com"})).status_code == 404


async def test_the_page_has_a_button_for_each_user(telling: httpx.AsyncClient) -> None:
    page = (await telling.get(PATH)).text
    assert page.count('<button name="email"') == len(load(DEFAULT_FILE).users)
