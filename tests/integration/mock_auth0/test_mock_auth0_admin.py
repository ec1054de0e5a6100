"""The operations that the identity provider adds to the control plane, over HTTP, and rules that change its answers."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import jwt
import pytest

from mock_server.sandbox import Control
from tests.integration.mock_auth0.provider import provider
from tests.integration.mock_auth0.test_mock_auth0_signing_in import IMPLICIT, in_fragment, sign_in
from tests.integration.mock_auth0.test_mock_auth0_token_endpoint import PASSWORD, refresh, unverified


@pytest.fixture
async def admin() -> AsyncIterator[httpx.AsyncClient]:
    async with provider(control=Control(admin=True)) as client:
        yield client


async def call(admin: httpx.AsyncClient, method: str, path: str, body: Any = None, status: int = 200) -> Any:
    answer = await admin.request(method, f"/__admin{path}", json=body)
    assert answer.status_code == status, answer.text
    return answer.json()


async def kids(admin: httpx.AsyncClient) -> list[str]:
    return [key["kid"] for key in (await admin.get("/.well-known/jwks.json")).json()["keys"]]


async def test_any_token_is_minted(admin: httpx.AsyncClient) -> None:
    fields = {"user": "dev@example.com", "claims": {"org": "acme"}, "lifetime": -5, "nonce": "n"}
    minted = await call(admin, "POST", "/tokens", fields)
    claims = unverified(minted["token"])
    assert (claims["email"], claims["org"], claims["nonce"]) == ("dev@example.com", "acme", "n")
    assert int(str(claims["exp"])) - int(str(claims["iat"])) == -5
    broken = await call(admin, "POST", "/tokens", {"broken": "alg-none"})
    assert (broken["refused"], jwt.get_unverified_header(broken["token"])["alg"]) == (True, "none")


@pytest.mark.parametrize(
    ("body", "problem"),
    [
        ({"usr": "x"}, "usr: unknown field (known: audience"),
        ({"user": "x"}, "user: there is no user x"),
        ({"user": 5}, "user: must be a text"),
        ({"kind": "magic"}, "kind: unknown: magic"),
        ({"kid": "none"}, "kid: there is no key none"),
        ({"claims": []}, "claims: must be an object"),
        ({"lifetime": "long"}, "lifetime: must be a whole number"),
        ({"broken": "magic"}, "broken: unknown: magic"),
    ],
)
async def test_a_wrong_field_is_named(admin: httpx.AsyncClient, body: dict[str, Any], problem: str) -> None:
    assert (await call(admin, "POST", "/tokens", body, 400))["error"].startswith(problem)


async def test_keys_are_announced_rotated_and_removed(admin: httpx.AsyncClient) -> None:
    (old,) = await kids(admin)
    new = (await call(admin, "POST", "/keys/announce", {}))["kid"]
    assert (await call(admin, "POST", "/keys/rotate", {}))["kid"] == new
    listed = (await call(admin, "GET", "/keys"))["keys"]
    assert [(key["kid"], key["signs"]) for key in listed] == [(old, False), (new, True)]
    assert (await call(admin, "DELETE", f"/keys/{old}"))["keys"][0]["kid"] == new
    await call(admin, "POST", "/keys/duplicate", {})
    await call(admin, "POST", "/keys/weak", {})
    assert (await kids(admin)).count(new) == 2
    assert [key["bits"] for key in (await call(admin, "GET", "/keys"))["keys"]] == [2048, 2048, 1024]
    assert (await call(admin, "DELETE", "/keys"))["removed"] == 2
    await call(admin, "DELETE", "/keys/unknown", status=404)


async def test_users_are_listed_added_changed_and_removed(admin: httpx.AsyncClient) -> None:
    login = PASSWORD | {"username": "new@example.com", "password": "secret"}
    await call(admin, "POST", "/users", {"user": {"email": "new@example.com", "password": "secret"}})
    assert (await admin.post("/oauth/token", data=login)).status_code == 200
    found = (await call(admin, "GET", "/users?search=new@"))["users"]
    assert [user["email"] for user in found] == ["new@example.com"]
    await call(admin, "PATCH", "/users/new@example.com", {"changes": {"blocked": True, "claims": {"a": 1}}})
    assert (await admin.post("/oauth/token", data=login)).json()["error_description"] == "user is blocked"
    await call(admin, "PATCH", "/users/new@example.com", {"changes": {"email": "newer@example.com", "blocked": False}})
    assert (await admin.post("/oauth/token", data=login)).status_code == 403
    tokens = await admin.post("/oauth/token", data=login | {"username": "newer@example.com"})
    assert unverified(tokens.json()["id_token"])["a"] == 1
    await call(admin, "DELETE", "/users/newer@example.com")
    await call(admin, "DELETE", "/users/newer@example.com", status=404)


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"blokced": True}, "changes.blokced: unknown key (known: access_token_claims, blocked, "),
        ({"blocked": "yes"}, "changes.blocked: must be true or false"),
        ({"email": "x"}, "changes.email: must be an email address"),
        ({"claims": {"iss": "x"}}, "changes.claims.iss: this claim is set by the server"),
    ],
)
async def test_wrong_change_of_a_user_is_refused_with_its_place(
    admin: httpx.AsyncClient, changes: dict[str, Any], text: str
) -> None:
    answer = await call(admin, "PATCH", "/users/user@example.com", {"changes": changes}, 400)
    assert answer["error"].startswith(text)


async def test_user_never_replaces_another_one(admin: httpx.AsyncClient) -> None:
    users = "/users/user@example.com"
    taken = await call(admin, "PATCH", users, {"changes": {"email": "DEV@example.com"}}, 409)
    assert taken["error"] == "the user dev@example.com has this address: choose another one, or remove that user"
    dev = (await call(admin, "GET", "/users?search=dev@"))["users"][0]
    same_id = {"id": dev["subject"].partition("|")[2]}
    assert "has this id" in (await call(admin, "PATCH", users, {"changes": same_id}, 409))["error"]
    new = {"email": "new@example.com", "password": "secret", **same_id}
    assert "has this id" in (await call(admin, "POST", "/users", {"user": new}, 409))["error"]
    for email in ("user@example.com", "dev@example.com"):
        assert (await admin.post("/oauth/token", data=PASSWORD | {"username": email})).status_code == 200
    await call(admin, "PATCH", users, {"changes": {"email": "User@example.com", "id": "another"}})
    assert (await admin.post("/oauth/token", data=PASSWORD)).status_code == 200
    await call(admin, "POST", "/users", {"user": {**new, "id": "another2", "email": "user@example.com"}})
    assert (await admin.post("/oauth/token", data=PASSWORD | {"password": "secret"})).status_code == 200


async def test_the_sessions_and_tokens_of_a_blocked_or_removed_user_end(admin: httpx.AsyncClient) -> None:
    async def silent() -> dict[str, str]:
        return in_fragment(await admin.get("/authorize", params=IMPLICIT | {"prompt": "none"}))

    await sign_in(admin, IMPLICIT)
    token = (await admin.post("/oauth/token", data=PASSWORD)).json()["refresh_token"]
    assert "id_token" in await silent()
    await call(admin, "PATCH", "/users/user@example.com", {"changes": {"blocked": True}})
    assert (await silent())["error"] == "login_required"
    assert (await refresh(admin, token)).json()["error_description"] == "user is blocked"
    await call(admin, "DELETE", "/users/user@example.com")
    assert (await silent())["error"] == "login_required"


async def test_another_tenant_must_exist(admin: httpx.AsyncClient) -> None:
    assert [one["host"] for one in (await call(admin, "GET", "/tenants"))["tenants"]] == [""]
    await call(admin, "POST", "/keys/rotate", {"tenant": "a.localhost"}, 404)


async def test_the_operations_are_in_the_openapi_document(admin: httpx.AsyncClient) -> None:
    document = await call(admin, "GET", "/openapi.json")
    assert {"/tokens", "/tokens/broken", "/keys/rotate", "/users/{email}"} <= document["paths"].keys()
    listed = await call(admin, "GET", "/tokens/broken")
    assert len(listed["broken"]) > 60


async def test_a_rule_changes_claims_and_lifetime(admin: httpx.AsyncClient) -> None:
    rule = {
        "match": {"path": "/oauth/token"},
        "times": 1,
        "overrides": {"claims": {"email_verified": False}, "lifetime": 7},
    }
    await call(admin, "POST", "/rules", rule)
    first, second = [(await admin.post("/oauth/token", data=PASSWORD)).json() for _ in range(2)]
    claims = unverified(first["id_token"])
    assert (claims["email_verified"], int(str(claims["exp"])) - int(str(claims["iat"]))) == (False, 7)
    assert first["expires_in"] == 7
    assert unverified(second["id_token"])["email_verified"] is True


@pytest.mark.parametrize(
    ("overrides", "text"),
    [
        ({"broken": "expird"}, "overrides.broken: unknown: expird (known: "),
        ({"lifetime": "5"}, "overrides.lifetime: must be a whole number"),
        ({"lifetime": 10**13}, "overrides.lifetime: must be at most"),
        ({"claim": {}}, 'overrides.claim: unknown key (known: broken, claims, lifetime; did you mean "claims"?)'),
        ({"claims": []}, "overrides.claims: must be a mapping"),
    ],
)
async def test_rule_with_wrong_overrides_is_refused(
    admin: httpx.AsyncClient, overrides: dict[str, Any], text: str
) -> None:
    answer = await call(admin, "POST", "/rules", {"overrides": overrides}, 400)
    assert answer["error"].startswith(text)
    assert (await call(admin, "GET", "/rules"))["rules"] == []


async def test_a_rule_breaks_a_token(admin: httpx.AsyncClient) -> None:
    await call(admin, "POST", "/rules", {"match": {"path": "/oauth/token"}, "overrides": {"broken": "alg-none"}})
    tokens = (await admin.post("/oauth/token", data=PASSWORD)).json()
    assert jwt.get_unverified_header(tokens["id_token"])["alg"] == "none"
    assert jwt.get_unverified_header(tokens["access_token"])["alg"] == "none"


async def test_a_moved_clock_ends_lifetimes(admin: httpx.AsyncClient) -> None:
    tokens = (await admin.post("/oauth/token", data=PASSWORD)).json()
    bearer = {"Authorization": f"Bearer {tokens['access_token']}"}
    assert (await admin.get("/userinfo", headers=bearer)).status_code == 200
    await call(admin, "PUT", "/clock", {"move": 86_400})
    assert (await admin.get("/userinfo", headers=bearer)).status_code == 401


async def test_a_reset_removes_added_users_and_returns_to_the_first_key(admin: httpx.AsyncClient) -> None:
    before = await kids(admin)
    await call(admin, "POST", "/keys/rotate", {})
    await call(admin, "POST", "/users", {"user": {"email": "new@example.com", "password": "secret"}})
    await call(admin, "POST", "/reset", {})
    assert (await call(admin, "GET", "/users?search=new@"))["users"] == []
    assert await kids(admin) == before
    token = (await admin.post("/oauth/token", data=PASSWORD)).json()["id_token"]
    assert jwt.get_unverified_header(token)["kid"] == before[0]


async def test_after_a_reset_a_seed_gives_the_same_keys_again() -> None:
    async with provider(seed="a seed", control=Control(admin=True)) as client:
        first = [await kids(client), (await call(client, "POST", "/keys/rotate", {}))["kid"]]
        await call(client, "POST", "/reset", {})
        assert [await kids(client), (await call(client, "POST", "/keys/rotate", {}))["kid"]] == first


async def test_two_runs_with_a_seed_are_identical() -> None:
    async def run() -> tuple[list[Any], Any]:
        same = {"Host": "auth0.test", "User-Agent": "tests"}
        async with provider(seed="a seed", issuer="https://auth0.test/", control=Control(admin=True)) as client:
            await call(client, "PUT", "/clock", {"set": "2027-01-01T00:00:00Z", "stop": True})
            forms = [("token", PASSWORD), ("token", PASSWORD), ("device/code", {"client_id": "noetl-cli"})]
            answers = [(await client.post(f"/oauth/{path}", data=form, headers=same)).json() for path, form in forms]
            answers.append((await client.get("/.well-known/jwks.json", headers=same)).json())
            entries = (await call(client, "GET", "/journal?timing=false"))["entries"]
            return answers, entries

    first, second = await run(), await run()
    assert first == second
    assert len(first[1]) == 4
    assert first[0][0]["refresh_token"] != first[0][1]["refresh_token"]
