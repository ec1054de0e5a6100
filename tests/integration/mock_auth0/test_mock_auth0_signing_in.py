"""Signing in through the browser: `/authorize`, the form, the answer."""

from __future__ import annotations

import base64
import hashlib
import html
import re
from urllib.parse import parse_qs, parse_qsl, urlsplit

import httpx
import jwt
import pytest

from mock_auth0.server import Server
from tests.integration.mock_auth0.provider import client_of

CALLBACK = "http://localhost:3000/callback"
VERIFIER = "v" * 64
CHALLENGE = base64.urlsafe_b64encode(hashlib.sha256(VERIFIER.encode()).digest()).rstrip(b"=").decode()
CODE = {
    "client_id": "noetl-gateway",
    "redirect_uri": CALLBACK,
    "response_type": "code",
    "scope": "openid profile email offline_access",
    "state": "the state",
    "code_challenge": CHALLENGE,
    "code_challenge_method": "S256",
}
IMPLICIT = {
    "client_id": "noetl-gateway",
    "redirect_uri": CALLBACK,
    "response_type": "token id_token",
    "scope": "openid profile email",
    "nonce": "the nonce",
    "state": "the state",
}


def transaction_in(page: httpx.Response) -> str:
    found = re.search(r'name="state" value="([^"]+)"', page.text)
    assert found, page.text
    return html.unescape(found[1])


async def submit(tenant: httpx.AsyncClient, page: httpx.Response, password: str = "password") -> httpx.Response:
    form = {"state": transaction_in(page), "username": "user@example.com", "password": password}
    return await tenant.post("/u/login", data=form)


async def sign_in(tenant: httpx.AsyncClient, parameters: dict[str, str]) -> httpx.Response:
    return await submit(tenant, await tenant.get("/authorize", params=parameters))


def in_query(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 302, response.text
    return dict(parse_qsl(urlsplit(response.headers["location"]).query))


def in_fragment(response: httpx.Response) -> dict[str, str]:
    assert response.status_code == 302, response.text
    return dict(parse_qsl(urlsplit(response.headers["location"]).fragment))


async def exchange(tenant: httpx.AsyncClient, code: str, **changes: str) -> httpx.Response:
    form = {
        "grant_type": "authorization_code",
        "client_id": "noetl-gateway",
        "code": code,
        "redirect_uri": CALLBACK,
        "code_verifier": VERIFIER,
    }
    return await tenant.post("/oauth/token", data=form | changes)


async def verified(tenant: httpx.AsyncClient, token: str, audience: str = "noetl-gateway") -> dict[str, object]:
    discovery = (await tenant.get("/.well-known/openid-configuration")).json()
    keys = jwt.PyJWKSet.from_dict((await tenant.get(urlsplit(discovery["jwks_uri"]).path)).json())
    key = keys[jwt.get_unverified_header(token)["kid"]]
    claims: dict[str, object] = jwt.decode(
        token, key, algorithms=["RS256"], audience=audience, issuer=discovery["issuer"]
    )
    return claims


async def test_a_code_with_its_verifier_buys_a_verifiable_id_token(tenant: httpx.AsyncClient) -> None:
    back = in_query(await sign_in(tenant, CODE))
    answer = await exchange(tenant, back["code"])
    claims = await verified(tenant, answer.json()["id_token"])
    assert claims["email"] == "user@example.com"
    assert claims["name"] == "User Name"
    assert claims["email_verified"] is True


async def test_the_state_comes_back_with_the_code(tenant: httpx.AsyncClient) -> None:
    assert in_query(await sign_in(tenant, CODE))["state"] == "the state"


async def test_the_subject_is_the_same_at_every_login(tenant: httpx.AsyncClient) -> None:
    subjects = set()
    for _ in range(2):
        back = in_fragment(await sign_in(tenant, IMPLICIT | {"prompt": "login"}))
        subjects.add((await verified(tenant, back["id_token"]))["sub"])
    assert len(subjects) == 1


async def test_a_wrong_verifier_is_refused(tenant: httpx.AsyncClient) -> None:
    back = in_query(await sign_in(tenant, CODE))
    answer = await exchange(tenant, back["code"], code_verifier="w" * 64)
    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_grant")


async def test_a_code_is_refused_the_second_time(tenant: httpx.AsyncClient) -> None:
    back = in_query(await sign_in(tenant, CODE))
    await exchange(tenant, back["code"])
    answer = await exchange(tenant, back["code"])
    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_grant")


async def test_a_replayed_code_revokes_the_refresh_token_it_gave(tenant: httpx.AsyncClient) -> None:
    back = in_query(await sign_in(tenant, CODE))
    first = (await exchange(tenant, back["code"])).json()
    await exchange(tenant, back["code"])
    form = {
        "grant_type": "refresh_token",
        "client_id": "noetl-gateway",
        "refresh_token": first["refresh_token"],
    }
    assert (await tenant.post("/oauth/token", data=form)).status_code == 403


async def test_a_code_is_refused_to_another_client(tenant: httpx.AsyncClient) -> None:
    back = in_query(await sign_in(tenant, CODE))
    assert (await exchange(tenant, back["code"], client_id="noetl-cli")).status_code == 403


async def test_a_code_is_refused_with_another_redirect_uri(tenant: httpx.AsyncClient) -> None:
    back = in_query(await sign_in(tenant, CODE))
    answer = await exchange(tenant, back["code"], redirect_uri="http://localhost:3000/login")
    assert answer.json()["error"] == "invalid_grant"


async def test_a_public_client_needs_a_challenge(tenant: httpx.AsyncClient) -> None:
    parameters = {name: value for name, value in CODE.items() if not name.startswith("code_")}
    assert in_query(await tenant.get("/authorize", params=parameters))["error"] == "invalid_request"


async def test_a_plain_challenge_is_refused(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/authorize", params=CODE | {"code_challenge_method": "plain"})
    assert in_query(answer)["error"] == "invalid_request"


async def test_the_implicit_answer_comes_in_the_fragment(tenant: httpx.AsyncClient) -> None:
    back = in_fragment(await sign_in(tenant, IMPLICIT))
    claims = await verified(tenant, back["id_token"])
    assert claims["nonce"] == "the nonce"
    assert back["token_type"] == "Bearer"
    assert back["state"] == "the state"


async def test_an_implicit_id_token_needs_a_nonce(tenant: httpx.AsyncClient) -> None:
    parameters = {name: value for name, value in IMPLICIT.items() if name != "nonce"}
    assert in_fragment(await tenant.get("/authorize", params=parameters))["error"] == "invalid_request"


async def test_tokens_are_never_put_in_the_query(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/authorize", params=IMPLICIT | {"response_mode": "query"})
    assert in_fragment(answer)["error"] == "invalid_request"


async def test_unsupported_response_type_is_sent_to_the_application(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/authorize", params=CODE | {"response_type": "magic"})
    assert in_query(answer)["error"] == "unsupported_response_type"


async def test_a_form_post_page_carries_the_id_token_to_the_redirect_uri(tenant: httpx.AsyncClient) -> None:
    page = await sign_in(tenant, IMPLICIT | {"response_type": "id_token", "response_mode": "form_post"})
    assert f'action="{CALLBACK}"' in page.text
    token = re.search(r'name="id_token" value="([^"]+)"', page.text)
    assert token
    await verified(tenant, token[1])


async def test_a_web_message_is_addressed_to_the_origin_of_the_redirect_uri(tenant: httpx.AsyncClient) -> None:
    page = await sign_in(tenant, CODE | {"response_mode": "web_message"})
    assert 'data-origin="http://localhost:3000"' in page.text


async def test_a_wrong_password_shows_an_error_on_the_page(tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params=CODE)
    again = await submit(tenant, page, password="guess")
    assert again.status_code == 400
    assert "Wrong email or password." in again.text


async def test_a_login_goes_on_after_a_wrong_password(tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params=CODE)
    again = await submit(tenant, page, password="guess")
    assert "code" in in_query(await submit(tenant, again))


async def test_a_login_form_works_once(tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params=CODE)
    await submit(tenant, page)
    assert (await submit(tenant, page)).status_code == 400


async def test_login_form_of_another_browser_is_refused(server: Server, tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params=CODE)
    async with client_of(server) as other:
        for _ in range(2):  # without a cookie, and with that of its own login page
            refused = await submit(other, page)
            assert (refused.status_code, "begun in another browser" in refused.text) == (400, True)
            assert "auth0" not in other.cookies
            await other.get("/authorize", params=CODE)
    assert "code" in in_query(await submit(tenant, page))


async def test_login_pages_in_two_tabs_of_a_browser_both_work(tenant: httpx.AsyncClient) -> None:
    pages = [await tenant.get("/authorize", params=CODE | {"prompt": "login"}) for _ in range(2)]
    for page in pages:
        assert "code" in in_query(await submit(tenant, page))


@pytest.mark.parametrize("value", ['"a\\015\\012b"', "short", "x" * 5000])
async def test_cookie_that_is_not_of_this_server_is_replaced(tenant: httpx.AsyncClient, value: str) -> None:
    page = await tenant.get("/authorize", params=CODE, headers={"cookie": f"auth0_login={value}"})
    assert re.fullmatch(r"auth0_login=[\w-]{43}; .*HttpOnly; SameSite=Lax", page.headers["set-cookie"])


async def test_authorize_without_prompt_in_signed_in_browser_shows_no_form(tenant: httpx.AsyncClient) -> None:
    await sign_in(tenant, CODE)
    assert "code" in in_query(await tenant.get("/authorize", params=CODE))


async def test_prompt_none_answers_a_known_browser(tenant: httpx.AsyncClient) -> None:
    await sign_in(tenant, CODE)
    assert "code" in in_query(await tenant.get("/authorize", params=CODE | {"prompt": "none"}))


async def test_prompt_none_refuses_an_unknown_browser(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/authorize", params=CODE | {"prompt": "none"})
    assert in_query(answer)["error"] == "login_required"


async def test_prompt_login_asks_a_known_browser_again(tenant: httpx.AsyncClient) -> None:
    await sign_in(tenant, CODE)
    assert "<form" in (await tenant.get("/authorize", params=CODE | {"prompt": "login"})).text


async def test_the_session_cookie_is_out_of_reach_of_scripts(tenant: httpx.AsyncClient) -> None:
    cookie = (await sign_in(tenant, CODE)).headers["set-cookie"]
    assert cookie.startswith("auth0=")
    assert "HttpOnly" in cookie


@pytest.mark.parametrize(
    "uri",
    [
        "https://evil.example/callback",
        "http://localhost:3000@evil.example/",
        "http://localhost:3000.evil.example/",
        "http://localhost:x/",
        "//localhost:3000/callback",
        "http://localhost:3000/callback#fragment",
        "http://localhost:3000\\@evil.example/",
    ],
)
async def test_an_unlisted_redirect_uri_is_a_page_and_not_a_redirect(tenant: httpx.AsyncClient, uri: str) -> None:
    page = await tenant.get("/authorize", params=CODE | {"redirect_uri": uri})
    assert page.status_code == 403
    assert "location" not in page.headers


async def test_an_unknown_client_is_a_page_and_not_a_redirect(tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params=CODE | {"client_id": "stranger"})
    assert (page.status_code, "location" in page.headers) == (403, False)


async def test_what_is_given_is_escaped_on_the_page(tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params=CODE | {"login_hint": '"><script>alert(1)</script>'})
    assert "<script>alert" not in page.text


async def test_the_login_page_is_not_stored_and_has_a_strict_policy(tenant: httpx.AsyncClient) -> None:
    page = await tenant.get("/authorize", params=CODE)
    assert page.headers["cache-control"] == "no-store"
    assert "default-src 'none'" in page.headers["content-security-policy"]
    assert "unsafe" not in page.headers["content-security-policy"]


async def test_the_access_token_is_for_the_audience_and_for_userinfo(tenant: httpx.AsyncClient) -> None:
    back = in_fragment(await sign_in(tenant, IMPLICIT | {"audience": "https://api.example"}))
    claims = await verified(tenant, back["access_token"], audience="https://api.example")
    assert claims["aud"] == ["https://api.example", f"{claims['iss']}userinfo"]
    assert claims["azp"] == "noetl-gateway"


async def test_userinfo_tells_who_the_access_token_stands_for(tenant: httpx.AsyncClient) -> None:
    back = in_fragment(await sign_in(tenant, IMPLICIT))
    answer = await tenant.get("/userinfo", headers={"Authorization": f"Bearer {back['access_token']}"})
    assert answer.json()["email"] == "user@example.com"


async def test_userinfo_refuses_an_id_token(tenant: httpx.AsyncClient) -> None:
    back = in_fragment(await sign_in(tenant, IMPLICIT))
    answer = await tenant.get("/userinfo", headers={"Authorization": f"Bearer {back['id_token']}"})
    assert answer.status_code == 401


@pytest.mark.parametrize("header", [b"", b"Bearer", b"Bearer \xff\xfe.a.b", b"Bearer e30.e30.", b"Basic YTpi"])
async def test_userinfo_refuses_what_is_no_access_token(tenant: httpx.AsyncClient, header: bytes) -> None:
    answer = await tenant.get("/userinfo", headers=[(b"Authorization", header)])
    assert (answer.status_code, answer.json()["error"]) == (401, "invalid_token")


async def test_a_logout_ends_the_session_and_returns(tenant: httpx.AsyncClient) -> None:
    await sign_in(tenant, CODE)
    answer = await tenant.get("/v2/logout", params={"returnTo": "http://localhost:3000/bye"})
    assert answer.headers["location"] == "http://localhost:3000/bye"
    again = await tenant.get("/authorize", params=CODE | {"prompt": "none"})
    assert in_query(again)["error"] == "login_required"


async def test_a_logout_does_not_return_to_an_unlisted_address(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/v2/logout", params={"returnTo": "https://evil.example/"})
    assert (answer.status_code, "location" in answer.headers) == (400, False)


async def test_an_oidc_logout_gives_the_state_back(tenant: httpx.AsyncClient) -> None:
    back = in_fragment(await sign_in(tenant, IMPLICIT))
    parameters = {
        "id_token_hint": back["id_token"],
        "post_logout_redirect_uri": "http://localhost:3000/bye",
        "state": "s",
    }
    answer = await tenant.get("/oidc/logout", params=parameters)
    assert parse_qs(urlsplit(answer.headers["location"]).query) == {"state": ["s"]}
