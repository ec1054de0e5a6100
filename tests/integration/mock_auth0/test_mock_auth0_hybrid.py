"""Code and tokens in one response, and the pages that carry a response: `form_post` and `web_message`."""

from __future__ import annotations

import base64
import hashlib
import html
import json
import re

import httpx
import pytest

from tests.integration.mock_auth0.test_mock_auth0_signing_in import CODE, exchange, in_fragment, sign_in, verified

HYBRID = CODE | {"nonce": "the nonce"}


def half(value: str) -> str:
    return base64.urlsafe_b64encode(hashlib.sha256(value.encode()).digest()[:16]).rstrip(b"=").decode()


@pytest.mark.parametrize("kind", ["code id_token", "code token", "code id_token token"])
async def test_a_hybrid_response_has_what_was_asked_for(tenant: httpx.AsyncClient, kind: str) -> None:
    back = in_fragment(await sign_in(tenant, HYBRID | {"response_type": kind}))
    wanted = {"code": "code", "id_token": "id_token", "token": "access_token"}
    assert {wanted[name] for name in kind.split()} <= back.keys()
    assert ("access_token" in back) == ("token" in kind.split())
    if "id_token" in back:
        claims = await verified(tenant, back["id_token"])
        assert (claims["nonce"], claims["c_hash"]) == ("the nonce", half(back["code"]))
        assert claims.get("at_hash") == (half(back["access_token"]) if "access_token" in back else None)
    assert "id_token" in (await exchange(tenant, back["code"])).json()


async def test_a_hybrid_id_token_needs_a_nonce(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/authorize", params=CODE | {"response_type": "code id_token"})
    assert in_fragment(answer)["error"] == "invalid_request"


async def test_a_hybrid_response_is_never_in_the_query(tenant: httpx.AsyncClient) -> None:
    asked = HYBRID | {"response_type": "code id_token", "response_mode": "query"}
    assert in_fragment(await tenant.get("/authorize", params=asked))["error"] == "invalid_request"


async def test_a_form_is_posted_to_the_application(tenant: httpx.AsyncClient) -> None:
    page = await sign_in(tenant, CODE | {"response_mode": "form_post", "state": 'a"><script>'})
    fields = dict(re.findall(r'name="(\w+)" value="([^"]*)"', page.text))
    assert re.search(r'<form method="post" action="([^"]+)"', page.text)
    assert html.unescape(fields["state"]) == 'a"><script>'
    assert "id_token" in (await exchange(tenant, fields["code"])).json()
    assert "form-action" not in page.headers["content-security-policy"]


async def test_a_message_is_for_the_origin_of_the_application(tenant: httpx.AsyncClient) -> None:
    page = await sign_in(tenant, CODE | {"response_mode": "web_message"})
    (message,) = re.findall(r'data-message="([^"]+)"', page.text)
    found = json.loads(html.unescape(message))
    assert found["type"] == "authorization_response"
    assert found["response"]["state"] == "the state"
    assert 'data-origin="http://localhost:3000"' in page.text
    assert "frame-ancestors http://localhost:3000" in page.headers["content-security-policy"]
