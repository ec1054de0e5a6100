"""The session endpoints, apart from the exchange of a real token, which the end-to-end run covers."""

from __future__ import annotations

import hashlib
import time
from pathlib import Path

import pytest

from proxy.observe import logs
from tests.integration.harness import Running, behind_gateway

pytestmark = pytest.mark.usefixtures("each_store")


async def post(gateway: Running, path: str, document: object = None, **headers: str) -> tuple[int, dict[str, object]]:
    given = {name.replace("_", "-"): value for name, value in headers.items()}
    async with gateway.client.post(gateway.url + path, json=document, headers=given) as answer:
        return answer.status, await answer.json()


@pytest.mark.parametrize("carrier", ["Bearer {}", "bearer {}", "BEARER {}"])
async def test_the_bearer_scheme_is_case_insensitive(gateway: Running, carrier: str) -> None:
    headers = {"authorization": carrier.format(await gateway.session())}
    async with gateway.client.get(f"{gateway.url}/api/auth/me", headers=headers) as answer:
        assert (await answer.json())["user"]["email"] == "anna@staff.test"


async def test_authorization_comes_before_x_session_token(gateway: Running) -> None:
    headers = {
        **await gateway.bearer("anna@staff.test"),
        "x-session-token": await gateway.session("ben@staff.test"),
    }
    async with gateway.client.get(f"{gateway.url}/api/auth/me", headers=headers) as answer:
        assert (await answer.json())["user"]["email"] == "anna@staff.test"


@pytest.mark.parametrize("token", ["", "x", "0" * 32, "A" * 32, "0" * 33])
async def test_a_token_of_no_session_is_401_and_says_how_to_sign_in(gateway: Running, token: str) -> None:
    headers = {"authorization": f"Bearer {token}"}
    async with gateway.client.get(f"{gateway.url}/api/auth/me", headers=headers) as answer:
        assert (answer.status, answer.headers["www-authenticate"]) == (401, "Bearer")
        assert (await answer.json())["error"] == "Invalid or expired session"


async def test_validate_of_a_live_session_tells_whose_it_is(gateway: Running) -> None:
    status, body = await post(gateway, "/api/auth/validate", {"session_token": await gateway.session()})
    assert (status, body["valid"], body["message"]) == (200, True, "Session is valid")
    assert body["user"] == {"user_id": 1, "email": "anna@staff.test", "display_name": "anna", "roles": ["staff"]}


async def test_validate_of_no_session_is_200_and_false(gateway: Running) -> None:
    status, body = await post(gateway, "/api/auth/validate", {"session_token": "0" * 32})
    assert (status, body["valid"], body["user"], body["expires_at"]) == (200, False, None, None)


@pytest.mark.parametrize(
    ("path", "document", "text"),
    [
        ("/api/auth/validate", {}, "session_token is required"),
        ("/api/auth/validate", {"session_token": 1}, "session_token must be a text"),
        ("/api/auth/login", {}, "auth0_token is required"),
        ("/api/auth/login", {"auth0_token": ""}, "auth0_token is required"),
        ("/api/auth/login", {"auth0_token": "x", "session_duration_hours": 0}, "session_duration_hours must be a who"),
        ("/api/auth/login", {"auth0_token": "x", "session_duration_hours": True}, "session_duration_hours must be a"),
        ("/api/auth/login", [], "The body must be a JSON object"),
        ("/api/auth/check-access", {}, "playbook_name is required"),
        ("/api/auth/check-access", {"playbook_name": "a", "permission_type": "own"}, "permission_type must be execute"),
    ],
)
async def test_a_missing_or_wrong_field_is_400_and_named(
    gateway: Running, path: str, document: object, text: str
) -> None:
    status, body = await post(gateway, path, document)
    assert status == 400
    assert str(body["error"]).startswith(text)


@pytest.mark.parametrize(
    ("body", "content_type", "status"),
    [
        (b"{", "application/json", 400),
        (b'{"a":1,"a":2}', "application/json", 400),
        (b"a=1", "application/x-www-form-urlencoded", 415),
        (b"{}", "text/plain", 415),
        (b"{}", "application/json; charset=utf-16", 415),
        (b'{"session_token": "' + b"x" * 200_000 + b'"}', "application/json", 413),
    ],
)
async def test_a_body_that_is_not_json_has_its_status(
    gateway: Running, body: bytes, content_type: str, status: int
) -> None:
    headers = {"content-type": content_type}
    async with gateway.client.post(f"{gateway.url}/api/auth/validate", data=body, headers=headers) as answer:
        assert answer.status == status


@pytest.mark.parametrize(("email", "allowed"), [("anna@staff.test", True), ("guest@elsewhere.test", False)])
async def test_check_access_answers_from_the_rules(gateway: Running, email: str, allowed: bool) -> None:
    token = await gateway.session(email)
    status, body = await post(gateway, "/api/auth/check-access", {"session_token": token, "playbook_name": "a/b"})
    assert (status, body["allowed"], body["permission_type"]) == (200, allowed, "execute")


async def test_check_access_without_a_session_is_401(gateway: Running) -> None:
    assert (await post(gateway, "/api/auth/check-access", {"playbook_name": "a"}))[0] == 401


async def test_logout_ends_the_session(gateway: Running) -> None:
    headers = await gateway.bearer()
    assert await post(gateway, "/api/auth/logout", **headers) == (200, {"status": "logged_out"})
    assert (await post(gateway, "/api/auth/logout", **headers))[0] == 401


async def test_logout_everywhere_ends_all_of_the_users_and_no_others(gateway: Running) -> None:
    mine, also_mine, other = [await gateway.session(who) for who in ("a@x.org", "a@x.org", "b@x.org")]
    await post(gateway, "/api/auth/logout", {"everywhere": True}, authorization=f"Bearer {mine}")
    valid = [await post(gateway, "/api/auth/validate", {"session_token": t}) for t in (also_mine, other)]
    assert [body["valid"] for _, body in valid] == [False, True]


async def test_sessions_are_listed_with_ids_that_are_not_tokens(gateway: Running) -> None:
    token, _ = await gateway.session(), await gateway.session()
    headers = {"authorization": f"Bearer {token}"}
    async with gateway.client.get(f"{gateway.url}/api/auth/sessions", headers=headers) as answer:
        listed = (await answer.json())["sessions"]
        text = await answer.text()
    assert ([s["current"] for s in listed].count(True), len(listed), token in text) == (1, 2, False)


@pytest.mark.parametrize(("owner", "status"), [("anna@staff.test", 204), ("ben@staff.test", 404)])
async def test_one_ends_only_ones_own_session_by_id(gateway: Running, owner: str, status: int) -> None:
    headers = await gateway.bearer("anna@staff.test")
    await gateway.session(owner)
    target = [s for s in await gateway.server.gateway.store.all(10) if s.identity.email == owner][-1]
    url = f"{gateway.url}/api/auth/sessions/{target.id}"
    async with gateway.client.delete(url, headers=headers) as answer:
        assert answer.status == status


@pytest.mark.gateway(more="sessions: {store: memory, idle_timeout: 1m}\n")
async def test_an_idle_session_ends(gateway: Running) -> None:
    now = time.time()
    for last_seen, status in ((now - 59, 200), (now - 61, 401)):
        token = await gateway.session(last_seen_at=last_seen)
        headers = {"authorization": f"Bearer {token}"}
        async with gateway.client.get(f"{gateway.url}/api/auth/me", headers=headers) as answer:
            assert answer.status == status


async def test_tokens_users_and_api_data_are_not_to_be_stored(gateway: Running) -> None:
    async with gateway.client.get(f"{gateway.url}/api/auth/me", headers=await gateway.bearer()) as answer:
        assert answer.headers["cache-control"] == "no-store"


async def test_a_ticket_is_for_one_use(gateway: Running) -> None:
    status, body = await post(gateway, "/api/auth/ticket", **await gateway.bearer())
    name = hashlib.sha256(str(body["ticket"]).encode()).digest()
    store = gateway.server.gateway.store
    uses = [await store.redeem_ticket(name, time.time()) is not None for _ in range(2)]
    assert (status, body["expires_in"], uses) == (200, 30, [True, False])


async def test_what_is_logged_holds_no_token_in_any_carrier(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("json", "debug")
    async with behind_gateway(tmp_path) as (gateway, _):
        token = await gateway.session()
        headers = {"authorization": f"Bearer {token}", "x-session-token": token, "cookie": f"session_token={token}"}
        for query in (f"session_token={token}", f"Session%5Ftoken={token}", f"ticket={token}&code={token}"):
            async with gateway.client.get(f"{gateway.url}/noetl/x?{query}", headers=headers) as answer:
                assert answer.status == 200
        await post(gateway, "/api/auth/validate", {"session_token": token})
    printed = "".join(capsys.readouterr())
    assert printed.count('"event": "request"') == 4
    assert token not in printed


async def test_a_body_that_is_sent_again_is_looked_up_again(gateway: Running) -> None:
    token = await gateway.session()
    wanted = {"session_token": token}
    assert [(await post(gateway, "/api/auth/validate", wanted))[1]["valid"] for _ in range(3)] == [True] * 3
    body = b'{"session_token": "%s"}' % token.encode()
    url = f"{gateway.url}/api/auth/validate"
    for _ in range(2):
        async with gateway.client.post(url, data=body, headers={"content-type": "application/json"}) as answer:
            assert (await answer.json())["valid"] is True
    async with gateway.client.post(url, data=body, headers={"content-type": "text/plain"}) as answer:
        assert answer.status == 415
    await post(gateway, "/api/auth/logout", wanted)
    assert (await post(gateway, "/api/auth/validate", wanted))[1]["valid"] is False
