"""Who a request is for and from, on both transports: hosts, own origin, addresses, and session cookies."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.integration.harness import TRANSPORTS
from tests.integration.raw import Behind, behind_recorder

TRUSTED = "trusted_proxies: [127.0.0.0/8]"
HOSTS = """
sessions: {cookie: {enabled: true}}
routes:
  - {path: '/noetl/{path:**}', host: gateway.test, upstream: noetl, rewrite: '/api/host/{path}'}
  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/any/{path}'}
"""
JSON = "content-type: application/json"


@TRANSPORTS
@pytest.mark.parametrize(
    ("host", "proto", "found"),
    [
        ("gateway.test", "http", "host"), ("gateway.test.", "http", "host"), ("gateway.test:", "http", "host"),
        ("GATEWAY.Test", "http", "host"), ("gateway.test:443", "https", "host"), ("gateway.test:80", "http", "host"),
        ("gateway.test.:443", "https", "host"), ("gateway.test:8443", "http", "host"), ("other.test", "http", "any"),
        ("gateway.test.evil.test", "http", "any"), ("xgateway.test", "http", "any"),
    ],
)  # fmt: skip
async def test_every_spelling_of_a_host_finds_its_route(
    tmp_path: Path, fast: bool, host: str, proto: str, found: str
) -> None:
    async with behind_recorder(tmp_path, fast=fast, server=TRUSTED, more=HOSTS) as behind:
        await behind.warm()
        for _ in range(2):
            got = await behind.ask(behind.request("/noetl/x", f"x-forwarded-proto: {proto}", host=host))
            assert got.status == 200
        assert {arrived.target for arrived in behind.upstream.arrived} == {f"/api/{found}/x"}


@TRANSPORTS
@pytest.mark.parametrize("host", ["a b", "a:b", "a:99999", "a,b", "a/b", "user@a", ".", "[::1", "a:1:2"])
async def test_malformed_host_is_400(tmp_path: Path, fast: bool, host: str) -> None:
    async with behind_recorder(tmp_path, fast=fast, more=HOSTS) as behind:
        await behind.warm()
        assert (await behind.ask(behind.request("/noetl/x", host=host))).status == 400
        assert behind.upstream.arrived == []


OWN = [
    ("gateway.test", "https", "https://gateway.test", True),
    ("gateway.test.", "https", "https://gateway.test", True),
    ("gateway.test:", "https", "https://gateway.test", True),
    ("GATEWAY.test", "https", "https://gateway.test", True),
    ("gateway.test:443", "https", "https://gateway.test", True),
    ("gateway.test", "wss", "https://gateway.test", True),
    ("gateway.test", "https, https", "https://gateway.test", True),
    ("gateway.test", "https", "https://gateway.test:443", True),
    ("gateway.test", "https", "HTTPS://Gateway.test", True),
    ("gateway.test:8443", "https", "https://gateway.test:8443", True),
    ("gateway.test", "http", "http://gateway.test:80", True),
    ("gateway.test", "ws", "http://gateway.test", True),
    ("gateway.test", "https", "http://gateway.test", False),
    ("gateway.test", "https, http", "https://gateway.test", False),
    ("gateway.test:8443", "https", "https://gateway.test", False),
    ("gateway.test", "https", "https://evil.test", False),
    ("gateway.test", "https", "null", False),
    ("gateway.test", "https", "https://gateway.test.evil.test", False),
    ("gateway.test", "https", "https://user@gateway.test", False),
    ("gateway.test", "https", "", False),
    ("gateway.test", "https", "https://gateway.test\r\norigin: https://evil.test", False),
    ("gateway.test", "https", "https://gateway.test\r\norigin: https://gateway.test", False),
]


@TRANSPORTS
@pytest.mark.parametrize(("host", "proto", "origin", "own"), OWN)
async def test_own_origin_may_act_with_the_cookie_and_a_foreign_one_not(
    tmp_path: Path, fast: bool, host: str, proto: str, origin: str, own: bool
) -> None:
    async with behind_recorder(tmp_path, fast=fast, server=TRUSTED, more=HOSTS) as behind:
        await behind.warm()
        fields = [f"x-forwarded-proto: {proto}", f"origin: {origin}", "cookie: session_token=TOKEN"]
        got = await behind.ask(behind.request("/noetl/x", *fields, method="POST", body=b"{}", host=host, bearer=False))
        assert (got.status, len(behind.upstream.arrived)) == ((200, 1) if own else (403, 0))


ADDRESSED = """
rate_limits: {api: {limit: 1/hour, burst: 1, key: ip}}
routes:
  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}'}
  - {path: '/inside/{path:**}', upstream: noetl, rewrite: '/api/{path}', allow_from: [198.51.100.0/24, 127.0.0.0/8, "2001:db8::/32"]}
  - {path: '/limited/{path:**}', upstream: noetl, rewrite: '/api/{path}', rate_limit: api}
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules: [{allow: ["*"], roles: [staff], paths: ["/**"]}]
"""  # noqa: E501
ADDRESSES = [
    ("198.51.100.7", "198.51.100.7", "198.51.100.7", True),
    ("198.51.100.7:17085", "198.51.100.7", "198.51.100.7", True),
    ("[2001:db8::1]:443", "2001:db8::1", '"[2001:db8::1]"', True),
    ("[2001:db8::1]", "2001:db8::1", '"[2001:db8::1]"', True),
    ("2001:DB8::1", "2001:db8::1", '"[2001:db8::1]"', True),
    ("203.0.113.9, , 198.51.100.7,", "198.51.100.7", "198.51.100.7", True),
    ("198.51.100.7, 127.0.0.9", "198.51.100.7", "198.51.100.7", True),
    ("203.0.113.9", "203.0.113.9", "203.0.113.9", False),
    ("garbage", "unknown", "unknown", False),
    ("198.51.100.7, garbage", "unknown", "unknown", False),
    ("198.51.100.7:port", "unknown", "unknown", False),
    ("fe80::1%eth0", "unknown", "unknown", False),
    ("_hidden, 127.0.0.9", "unknown", "unknown", False),
    (" , ,", "127.0.0.1", "127.0.0.1", True),
]


@TRANSPORTS
@pytest.mark.parametrize(("given", "address", "node", "inside"), ADDRESSES)
async def test_reported_address_is_the_clients_everywhere(
    tmp_path: Path, fast: bool, given: str, address: str, node: str, inside: bool
) -> None:
    async with behind_recorder(tmp_path, fast=fast, server=TRUSTED, more=ADDRESSED, rules="") as behind:
        await behind.warm()
        field = f"x-forwarded-for: {given}"
        assert (await behind.ask(behind.request("/noetl/x", field))).status == 200
        (arrived,) = behind.upstream.arrived
        assert arrived.values("x-forwarded-for") == [address]
        assert arrived.values("forwarded") == [f'for={node};host="gateway.test";proto=http']
        assert [line.ip for line in behind.lines] == [address]
        got = await behind.ask(behind.request("/inside/x", field))
        assert got.status == (200 if inside else 403)


@TRANSPORTS
async def test_unknown_addresses_have_a_bucket_of_their_own(tmp_path: Path, fast: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast, server=TRUSTED, more=ADDRESSED, rules="") as behind:
        await behind.warm()

        async def limited(*fields: str) -> int:
            return (await behind.ask(behind.request("/limited/x", *fields))).status

        assert await limited("x-forwarded-for: garbage") == 200
        assert await limited("x-forwarded-for: other garbage") == 429
        assert await limited() == 200
        assert await limited("x-forwarded-for: 198.51.100.7") == 200
        assert await limited("x-forwarded-for: 198.51.100.7:80") == 429
        assert await limited() == 429


COOKIE = "sessions: {cookie: {enabled: true}}\n"
OTHER = "0" * 32
COOKIES = {
    "in one line, the live one last": [f"cookie: session_token={OTHER}; session_token=TOKEN"],
    "in one line, the live one first": [f"cookie: session_token=TOKEN; session_token={OTHER}"],
    "in several lines": [f"cookie: session_token={OTHER}", "cookie: a=b; session_token=TOKEN"],
    "a malformed one first": ["cookie: session_token=; session_token=x; session_token=TOKEN"],
    "in quotes": ['cookie: session_token="TOKEN"'],
}


@TRANSPORTS
@pytest.mark.parametrize("cookies", COOKIES.values(), ids=COOKIES)
async def test_each_session_cookie_is_tried(tmp_path: Path, fast: bool, cookies: list[str]) -> None:
    async with behind_recorder(tmp_path, fast=fast, more=COOKIE) as behind:
        await behind.warm()
        for _ in range(2):
            assert (await behind.ask(behind.request("/noetl/x", *cookies, bearer=False))).status == 200
            me = await behind.ask(behind.request("/api/auth/me", *cookies, bearer=False))
            assert json.loads(me.body)["user"]["email"] == "anna@staff.test"
        sent = [value for arrived in behind.upstream.arrived for value in arrived.values("cookie")]
        assert not any("session_token" in value for value in sent)


async def alive(behind: Behind, token: str) -> bool:
    got = await behind.ask(behind.request("/api/auth/me", f"authorization: Bearer {token}", bearer=False))
    return got.status == 200


@TRANSPORTS
@pytest.mark.parametrize("joined", [True, False], ids=["one line", "several lines"])
async def test_logout_ends_and_clears_all_session_cookies(tmp_path: Path, fast: bool, joined: bool) -> None:
    async with behind_recorder(tmp_path, fast=fast, more=COOKIE) as behind:
        tokens = [await behind.gateway.session(), await behind.gateway.session("bob@staff.test")]
        pairs = [f"session_token={token}" for token in tokens]
        cookies = [f"cookie: {'; '.join(pairs)}"] if joined else [f"cookie: {pair}" for pair in pairs]
        got = await behind.ask(
            behind.request("/api/auth/logout", *cookies, JSON, method="POST", body=b"{}", bearer=False)
        )
        assert got.status == 200
        (cleared,) = got.values("set-cookie")
        assert cleared.lower().startswith(b'session_token="";') or cleared.startswith(b"session_token=;")
        assert b"max-age=0" in cleared.lower()
        assert [await alive(behind, token) for token in tokens] == [False, False]
        assert await alive(behind, behind.token)
