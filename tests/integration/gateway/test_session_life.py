"""From login to end: tokens, lifetimes, and who may end what. `docs/sessions.md` names these tests."""

from __future__ import annotations

import time
from datetime import datetime
from pathlib import Path
from typing import Any

import pytest

from proxy.http.credentials import key_of
from proxy.sessions.store import Identity, new_session, new_token
from tests.integration.gateway.test_backchannel_logout import federated, id_token, sign_in, statuses
from tests.integration.harness import TENANT, Running, gateway_running

pytestmark = pytest.mark.usefixtures("each_store")

LANES = pytest.mark.parametrize("path", ["/noetl/x", "/api/auth/me"])
COOKIES = "sessions: {store: memory, cookie: {enabled: true}}\n"


async def stored(gateway: Running, *, lifetime: float, seen: float = 0.0, email: str = "anna@staff.test") -> str:
    """The token of a session that ends in so many seconds, and was last used so many ago."""
    token, now = new_token(), time.time()
    key = key_of(token)
    assert key is not None
    identity = Identity("http://localhost:1/", email, email, email, "localhost", {"email_verified": True})
    session = new_session(key, identity, now=now - seen, lifetime=lifetime + seen, ip="127.0.0.1", user_agent="")
    await gateway.server.gateway.store.create(key, session, max_per_user=0)
    return token


def test_a_token_has_128_random_bits_and_is_never_given_twice() -> None:
    tokens = {new_token() for _ in range(20_000)}
    assert len(tokens) == 20_000
    assert {len(bytes.fromhex(token)) for token in tokens} == {16}
    ones = sum(int(token, 16).bit_count() for token in tokens)
    assert abs(ones / (20_000 * 128) - 0.5) < 0.005


async def test_every_login_gives_a_new_token(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        tokens = [await sign_in(gateway, sub="anna") for _ in range(3)]
        assert len(set(tokens)) == 3
        assert await statuses(gateway, "/api/auth/me", *tokens) == [200, 200, 200]


@pytest.mark.parametrize("carrier", ["authorization", "x-session-token", "cookie"])
async def test_a_login_ends_the_session_that_it_came_with(tmp_path: Path, carrier: str) -> None:
    async with federated(tmp_path, COOKIES) as gateway:
        old, other = await sign_in(gateway, sub="anna"), await sign_in(gateway, sub="anna")
        value = {"authorization": f"Bearer {old}", "x-session-token": old, "cookie": f"session_token={old}"}[carrier]
        body = {"auth0_token": id_token(sub="anna")}
        url = f"{gateway.url}/api/auth/login"
        gateway.client.cookie_jar.clear()
        async with gateway.client.post(url, json=body, headers={carrier: value}) as answer:
            new = (await answer.json())["session_token"]
        gateway.client.cookie_jar.clear()
        assert await statuses(gateway, "/api/auth/me", old, other, new) == [401, 200, 200]


async def test_a_login_in_place_of_a_session_ends_none_beside_it_at_the_limit_of_a_user(tmp_path: Path) -> None:
    async with federated(tmp_path, "sessions: {max_per_user: 2}\n") as gateway:
        elsewhere, old = await sign_in(gateway, sub="anna"), await sign_in(gateway, sub="anna")
        body, headers = {"auth0_token": id_token(sub="anna")}, {"authorization": f"Bearer {old}"}
        async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body, headers=headers) as answer:
            new = (await answer.json())["session_token"]
        assert await statuses(gateway, "/api/auth/me", elsewhere, old, new) == [200, 401, 200]


async def test_a_refused_login_ends_nothing(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        old = await sign_in(gateway, sub="anna")
        headers = {"authorization": f"Bearer {old}"}
        url = f"{gateway.url}/api/auth/login"
        async with gateway.client.post(url, json={"auth0_token": "no"}, headers=headers) as answer:
            assert answer.status == 401
        assert await statuses(gateway, "/api/auth/me", old) == [200]


async def test_nobody_can_choose_the_token_of_a_session(tmp_path: Path) -> None:
    chosen = "0123456789abcdef" * 2
    async with federated(tmp_path, COOKIES) as gateway:
        body: dict[str, Any] = {"auth0_token": id_token(sub="anna"), "session_token": chosen}
        headers = {"x-session-token": chosen, "cookie": f"session_token={chosen}"}
        async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body, headers=headers) as answer:
            assert (await answer.json())["session_token"] != chosen
        gateway.client.cookie_jar.clear()
        assert await statuses(gateway, "/api/auth/me", chosen) == [401]


async def test_a_wish_for_more_hours_is_shortened(tmp_path: Path) -> None:
    async with federated(tmp_path, "sessions: {store: memory, max_hours: 2}\n") as gateway:
        body = {"auth0_token": id_token(), "session_duration_hours": 1000}
        async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body) as answer:
            ends = datetime.fromisoformat((await answer.json())["expires_at"]).timestamp()
    assert 7190 < ends - time.time() <= 7200


@LANES
async def test_past_its_last_second_a_session_is_401_in_either_transport(gateway: Running, path: str) -> None:
    alive, over = await stored(gateway, lifetime=60), await stored(gateway, lifetime=-1)
    for _ in range(3):
        assert await statuses(gateway, path, alive, over) == [200, 401]


@LANES
@pytest.mark.gateway(more="sessions: {store: memory, idle_timeout: 1m}\n")
async def test_unused_for_too_long_a_session_is_401_in_either_transport(gateway: Running, path: str) -> None:
    used, unused = await stored(gateway, lifetime=600, seen=55), await stored(gateway, lifetime=600, seen=61)
    for _ in range(3):
        assert await statuses(gateway, path, used, unused) == [200, 401]


@LANES
@pytest.mark.gateway(more="sessions: {store: memory, idle_timeout: 1m}\n")
async def test_use_keeps_a_session_from_being_idle_and_does_not_lengthen_it(gateway: Running, path: str) -> None:
    token = await stored(gateway, lifetime=600, seen=50)
    (before,) = await gateway.server.gateway.store.all(1)
    for _ in range(3):
        assert await statuses(gateway, path, token) == [200]
    (after,) = await gateway.server.gateway.store.all(1)
    assert after.last_seen_at > before.last_seen_at
    assert after.expires_at == before.expires_at


@LANES
async def test_a_logout_ends_the_session_in_either_transport(gateway: Running, path: str) -> None:
    token = await gateway.session()
    for _ in range(3):
        assert await statuses(gateway, path, token) == [200]
    headers = {"authorization": f"Bearer {token}"}
    async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as answer:
        assert answer.status == 200
    assert await statuses(gateway, path, token, token) == [401, 401]


@pytest.mark.parametrize(("who", "status"), [("root@staff.test", 204), ("ben@staff.test", 404)])
async def test_an_admin_ends_anyones_session_and_nobody_else_does(tmp_path: Path, who: str, status: int) -> None:
    text = f"{TENANT}acl: {{roles: {{admin: {{emails: [root@staff.test]}}}}}}\n"
    async with gateway_running(tmp_path, text) as gateway:
        token, victim = await stored(gateway, lifetime=60, email=who), await stored(gateway, lifetime=60)
        target = next(s for s in await gateway.server.gateway.store.all(9) if s.identity.email == "anna@staff.test")
        url, headers = f"{gateway.url}/api/auth/sessions/{target.id}", {"authorization": f"Bearer {token}"}
        async with gateway.client.delete(url, headers=headers) as answer:
            assert answer.status == status
        assert await statuses(gateway, "/api/auth/me", victim) == [401 if status == 204 else 200]


@pytest.mark.parametrize(("origin", "status"), [("https://evil.test", 403), ("http://ours.test", 200)])
async def test_a_login_of_a_foreign_page_plants_no_cookie(tmp_path: Path, origin: str, status: int) -> None:
    more = COOKIES + "corsAllowedOrigins: ['http://ours.test']\n"
    async with federated(tmp_path, more) as gateway:
        body, headers = {"auth0_token": id_token(sub="anna")}, {"origin": origin}
        async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body, headers=headers) as answer:
            assert (answer.status, "set-cookie" in answer.headers) == (status, status == 200)
