"""The token endpoint's other grants, and what surrounds every endpoint: methods, sizes, CORS."""

from __future__ import annotations

import httpx
import jwt
import pytest

PASSWORD = {
    "grant_type": "password",
    "client_id": "noetl-gateway",
    "username": "user@example.com",
    "password": "password",
    "scope": "openid email offline_access",
}
SERVICE = {
    "grant_type": "client_credentials",
    "client_id": "noetl-service",
    "client_secret": "noetl-service-secret",
    "audience": "https://api.example",
}


async def refresh(tenant: httpx.AsyncClient, token: str, **more: str) -> httpx.Response:
    form = {"grant_type": "refresh_token", "client_id": "noetl-gateway", "refresh_token": token}
    return await tenant.post("/oauth/token", data=form | more)


def unverified(token: str) -> dict[str, object]:
    claims: dict[str, object] = jwt.decode(token, options={"verify_signature": False})
    return claims


async def test_a_password_buys_an_id_token(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", data=PASSWORD)
    assert unverified(answer.json()["id_token"])["email"] == "user@example.com"


async def test_a_json_body_is_as_good_as_a_form(tenant: httpx.AsyncClient) -> None:
    assert (await tenant.post("/oauth/token", json=PASSWORD)).status_code == 200


async def test_a_password_realm_buys_an_id_token(tenant: httpx.AsyncClient) -> None:
    realm = {"grant_type": "http://auth0.com/oauth/grant-type/password-realm", "realm": "users"}
    assert "id_token" in (await tenant.post("/oauth/token", json=PASSWORD | realm)).json()


async def test_a_wrong_password_is_an_invalid_grant(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", data=PASSWORD | {"password": "guess"})
    assert (answer.status_code, answer.json()["error"]) == (403, "invalid_grant")


async def test_a_refresh_replaces_the_refresh_token(tenant: httpx.AsyncClient) -> None:
    first = (await tenant.post("/oauth/token", data=PASSWORD)).json()["refresh_token"]
    second = (await refresh(tenant, first)).json()["refresh_token"]
    assert second != first
    assert (await refresh(tenant, second)).status_code == 200


async def test_using_a_replaced_refresh_token_revokes_its_successor(tenant: httpx.AsyncClient) -> None:
    first = (await tenant.post("/oauth/token", data=PASSWORD)).json()["refresh_token"]
    second = (await refresh(tenant, first)).json()["refresh_token"]
    assert (await refresh(tenant, first)).json()["error"] == "invalid_grant"
    assert (await refresh(tenant, second)).json()["error"] == "invalid_grant"


async def test_a_refresh_token_is_refused_to_another_client(tenant: httpx.AsyncClient) -> None:
    token = (await tenant.post("/oauth/token", data=PASSWORD)).json()["refresh_token"]
    assert (await refresh(tenant, token, client_id="noetl-cli")).status_code == 403


async def test_a_refresh_does_not_widen_the_scope(tenant: httpx.AsyncClient) -> None:
    token = (await tenant.post("/oauth/token", data=PASSWORD)).json()["refresh_token"]
    assert (await refresh(tenant, token, scope="openid profile")).json()["error"] == "invalid_scope"


async def test_there_is_no_refresh_token_without_offline_access(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", data=PASSWORD | {"scope": "openid"})
    assert "refresh_token" not in answer.json()


async def test_a_revoked_refresh_token_is_refused(tenant: httpx.AsyncClient) -> None:
    token = (await tenant.post("/oauth/token", data=PASSWORD)).json()["refresh_token"]
    await tenant.post("/oauth/revoke", data={"client_id": "noetl-gateway", "token": token})
    assert (await refresh(tenant, token)).status_code == 403


async def test_revoking_nonsense_is_fine(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/revoke", data={"client_id": "noetl-gateway", "token": "nonsense"})
    assert answer.status_code == 200


async def test_client_credentials_buy_an_access_token_for_the_audience(tenant: httpx.AsyncClient) -> None:
    answer = (await tenant.post("/oauth/token", data=SERVICE)).json()
    claims = unverified(answer["access_token"])
    assert claims["sub"] == "noetl-service@clients"
    assert claims["aud"] == "https://api.example"
    assert claims["gty"] == "client-credentials"


async def test_client_credentials_may_come_in_the_authorization_header(tenant: httpx.AsyncClient) -> None:
    form = {"grant_type": "client_credentials", "audience": "https://api.example"}
    answer = await tenant.post("/oauth/token", data=form, auth=("noetl-service", "noetl-service-secret"))
    assert answer.status_code == 200


async def test_a_wrong_client_secret_is_refused(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", data=SERVICE | {"client_secret": "guess"})
    assert (answer.status_code, answer.json()["error"]) == (401, "access_denied")


async def test_a_public_client_has_no_client_credentials(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", data=SERVICE | {"client_id": "noetl-gateway"})
    assert (answer.status_code, answer.json()["error"]) == (403, "unauthorized_client")


@pytest.mark.parametrize("grant", ["magic", "implicit", "urn:ietf:params:oauth:grant-type:token-exchange"])
async def test_an_unknown_grant_type_is_named_as_such(tenant: httpx.AsyncClient, grant: str) -> None:
    answer = await tenant.post("/oauth/token", data=PASSWORD | {"grant_type": grant})
    assert (answer.status_code, answer.json()["error"]) == (400, "unsupported_grant_type")


@pytest.mark.parametrize(
    ("content_type", "body"),
    [
        ("application/json", b"{"),
        ("application/json", b"[" * 60_000),
        ("application/json", b"[]"),
        ("application/json", b'{"grant_type": 1}'),
        ("application/json", b'{"grant_type": "\\ud800"}'),
        ("application/x-www-form-urlencoded", b"grant_type=password&grant_type=password"),
        ("application/x-www-form-urlencoded", b"grant_type=%ff"),
        ("text/plain", b"grant_type=password"),
    ],
)
async def test_a_malformed_body_is_an_invalid_request(
    tenant: httpx.AsyncClient, content_type: str, body: bytes
) -> None:
    answer = await tenant.post("/oauth/token", content=body, headers={"Content-Type": content_type})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_body_over_64_kib_is_refused(tenant: httpx.AsyncClient) -> None:
    assert (await tenant.post("/oauth/token", data={"password": "x" * 65_536})).status_code == 413


async def test_a_scope_over_4_kib_is_refused(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", data=PASSWORD | {"scope": "x" * 4_097})
    assert (answer.status_code, answer.json()["error"]) == (400, "invalid_request")


async def test_a_query_over_8_kib_is_a_page(tenant: httpx.AsyncClient) -> None:
    assert (await tenant.get("/authorize", params={"state": "x" * 8_192})).status_code == 414


async def test_both_names_of_the_metadata_have_the_same_document(tenant: httpx.AsyncClient) -> None:
    names = ("openid-configuration", "oauth-authorization-server")
    first, second = [(await tenant.get(f"/.well-known/{name}")).json() for name in names]
    assert first == second


async def test_a_compressed_body_is_refused(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", content=b"abc", headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 415


async def test_a_page_on_this_machine_may_read_the_answer(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.post("/oauth/token", data=PASSWORD, headers={"Origin": "http://localhost:3000"})
    assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"


async def test_a_page_from_elsewhere_may_not_read_the_answer(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/.well-known/jwks.json", headers={"Origin": "http://localhost:3000.evil.example"})
    assert "access-control-allow-origin" not in answer.headers


async def test_a_preflight_names_the_method_and_the_headers(tenant: httpx.AsyncClient) -> None:
    headers = {"Origin": "http://127.0.0.1:8090", "Access-Control-Request-Method": "POST"}
    answer = await tenant.options("/oauth/token", headers=headers)
    assert answer.status_code == 204
    assert "POST" in answer.headers["access-control-allow-methods"]
    assert "Authorization" in answer.headers["access-control-allow-headers"]


async def test_health_says_ok(tenant: httpx.AsyncClient) -> None:
    assert (await tenant.get("/health")).text == "ok"


async def test_an_unknown_path_is_not_found(tenant: httpx.AsyncClient) -> None:
    assert (await tenant.get("/nowhere")).status_code == 404


async def test_wrong_method_gets_the_allowed_methods(tenant: httpx.AsyncClient) -> None:
    answer = await tenant.get("/oauth/token")
    assert (answer.status_code, answer.headers["allow"]) == (405, "POST, OPTIONS")


async def test_log_lines_hold_no_secret(tenant: httpx.AsyncClient, capsys: pytest.CaptureFixture[str]) -> None:
    await tenant.post("/oauth/token?password=in-the-query", data=PASSWORD | {"password": "in-the-body"})
    captured = capsys.readouterr()
    assert "/oauth/token" in captured.out + captured.err
    assert "in-the-" not in captured.out + captured.err
