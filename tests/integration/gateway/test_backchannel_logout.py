"""`POST /api/auth/backchannel-logout`: what an identity provider is answered, and what it ends, in both transports."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from proxy.identity.logout import EVENT
from tests.integration.harness import RULES, Running, gateway_running, upstream_running
from tests.unit.identity.test_tokens import claims, key_entries, token

pytestmark = pytest.mark.usefixtures("each_store")

ISSUER = "http://localhost:1/"
PATH = "/api/auth/backchannel-logout"


@asynccontextmanager
async def federated(folder: Path, more: str = "") -> AsyncIterator[Running]:
    """A gateway whose tenant has a key set."""

    async def answer(request: web.BaseRequest) -> web.StreamResponse:
        return web.json_response({"keys": key_entries()} if request.path == "/jwks" else {"hello": "world"})

    async with upstream_running() as upstream:
        upstream.answer = answer
        tenant = f"{{domain: localhost, issuer: '{ISSUER}', audience: [web], jwks_url: 'http://localhost:{upstream.port}/jwks'}}"
        urls = f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}\n"
        text = f"auth: {{tenants: [{tenant}]}}\naudit: {{file: audit.log}}\n{urls}{RULES}{more}"
        async with gateway_running(folder, text) as gateway:
            yield gateway


def id_token(**changes: Any) -> str:
    return token(claims(iss=ISSUER, email="anna@staff.test", email_verified=True, **changes))


def logout_token(**changes: Any) -> str:
    return token(claims(**{"iss": ISSUER, "jti": "1", "events": {EVENT: {}}, **changes}))


async def sign_in(gateway: Running, **changes: Any) -> str:
    async with gateway.client.post(
        f"{gateway.url}/api/auth/login", json={"auth0_token": id_token(**changes)}
    ) as answer:
        assert answer.status == 200, await answer.text()
        return str((await answer.json())["session_token"])


async def tell(gateway: Running, **form: str) -> tuple[int, dict[str, Any], str]:
    """Status, body and `cache-control` of the answer to a form."""
    async with gateway.client.post(gateway.url + PATH, data=form) as answer:
        return answer.status, await answer.json(), answer.headers["cache-control"]


async def statuses(gateway: Running, path: str, *tokens: str) -> list[int]:
    """What a request gets with each session."""
    found = []
    for one in tokens:
        async with gateway.client.get(gateway.url + path, headers={"authorization": f"Bearer {one}"}) as answer:
            found.append(answer.status)
    return found


def audited(folder: Path) -> list[tuple[str, str, str]]:
    lines = [json.loads(line) for line in (folder / "audit.log").read_text().splitlines()]
    return [(line["event"], line["outcome"], line["detail"]) for line in lines if line["event"] != "login"]


@pytest.mark.parametrize("path", ["/noetl/x", "/api/auth/me"])
async def test_a_logout_of_the_user_ends_all_sessions_at_once_in_either_transport(tmp_path: Path, path: str) -> None:
    async with federated(tmp_path) as gateway:
        mine, also_mine, other = [await sign_in(gateway, sub=who) for who in ("anna", "anna", "ben")]
        for _ in range(3):
            assert await statuses(gateway, path, mine, also_mine, other) == [200, 200, 200]
        assert await tell(gateway, logout_token=logout_token(sub="anna")) == (200, {"status": "logged_out"}, "no-store")
        assert await statuses(gateway, path, mine, also_mine, other) == [401, 401, 200]


async def test_a_logout_of_a_sid_ends_the_session_that_began_with_it(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        first, second = [await sign_in(gateway, sub="anna", sid=sid) for sid in ("s1", "s2")]
        assert (await tell(gateway, logout_token=logout_token(sub=None, sid="s1")))[0] == 200
        assert await statuses(gateway, "/api/auth/me", first, second) == [401, 200]


async def test_a_logout_of_somebody_unknown_has_succeeded(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        assert (await tell(gateway, logout_token=logout_token(sub="nobody")))[0] == 200


async def test_a_logout_token_is_good_once(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        token = logout_token(sub="anna")
        assert (await tell(gateway, logout_token=token))[0] == 200
        session = await sign_in(gateway, sub="anna")
        assert (await tell(gateway, logout_token=token))[0] == 400
        assert await statuses(gateway, "/api/auth/me", session) == [200]


async def test_rejected_logout_token_has_its_reason_only_in_the_audit_log(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        status, body, cache = await tell(gateway, logout_token=logout_token(nonce="n"))
        assert (status, body["error"], cache) == (400, "Logout token not accepted", "no-store")
        await tell(gateway, logout_token=logout_token(sub="anna"))
    assert audited(tmp_path) == [
        ("logout.backchannel", "failed", "back-channel logout: not a logout token: it has a nonce"),
        ("logout.backchannel", "success", "back-channel logout ended 0 sessions of user nobody"),
    ]


async def test_an_id_token_is_no_logout_token_and_ends_nothing(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        session = await sign_in(gateway, sub="anna")
        assert (await tell(gateway, logout_token=id_token(sub="anna")))[0] == 400
        assert await statuses(gateway, "/api/auth/me", session) == [200]


async def test_a_logout_token_is_no_id_token(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        body = {"auth0_token": logout_token(email="anna@staff.test")}
        async with gateway.client.post(f"{gateway.url}/api/auth/login", json=body) as answer:
            assert answer.status == 401


@pytest.mark.parametrize(
    ("data", "content_type"),
    [
        (b"", "application/x-www-form-urlencoded"),
        (b"logout_token=", "application/x-www-form-urlencoded"),
        (b"token=x", "application/x-www-form-urlencoded"),
        (b"logout_token=TOKEN&logout_token=TOKEN", "application/x-www-form-urlencoded"),
        (b"logout_token=\xff", "application/x-www-form-urlencoded"),
        (b"logout_token=%ff", "application/x-www-form-urlencoded"),
        (b"&a=1" * 100, "application/x-www-form-urlencoded"),
        (b"a=" + b"1" * 100_000, "application/x-www-form-urlencoded"),
        (b'{"logout_token":"TOKEN"}', "application/json"),
        (b"logout_token=TOKEN", "text/plain"),
    ],
)
async def test_what_is_no_form_with_one_token_is_400(tmp_path: Path, data: bytes, content_type: str) -> None:
    async with federated(tmp_path) as gateway:
        sent = data.replace(b"TOKEN", logout_token().encode())
        headers = {"content-type": content_type}
        async with gateway.client.post(gateway.url + PATH, data=sent, headers=headers) as answer:
            assert (answer.status, (await answer.json())["error"]) == (400, "Logout token not accepted")


async def test_other_fields_of_the_form_are_ignored(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        assert (await tell(gateway, more="1", logout_token=logout_token()))[0] == 200


async def test_tokens_with_unknown_key_ids_cause_one_fetch(tmp_path: Path) -> None:
    async with federated(tmp_path) as gateway:
        for number in range(20):
            text = token(claims(iss=ISSUER, jti="1", events={EVENT: {}}), kid=f"unknown-{number}")
            assert (await tell(gateway, logout_token=text))[0] == 400
        ((_, keys),) = gateway.server.gateway.provider.tenants.values()
        assert keys.fetches == 1
