# ruff: noqa: E501 - data in lines
"""The published advisories of oauth2-proxy named in its changelog since v7.5, asked of this gateway.

Each test names the advisory whose equivalent it looks for.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.attack.battle import LIMITS, Battle, battle
from tests.attack.noetl import says
from tests.attack.ways import proxied

RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], paths: ["/noetl/open/**"]}
    - {allow: [execute], roles: [staff], playbooks: ["open/**"]}
"""
ROUTES = """
routes:
  - {path: /health, handler: health}
  - {path: /graphql, handler: graphql}
  - {path: /inner, handler: health, allow_from: [10.0.0.0/8]}
  - {path: '/public/{path:**}', upstream: noetl, rewrite: '/api/public/{path}', auth: none}
  - {path: '/noetl/{path:**}', upstream: noetl, rewrite: '/api/{path}'}
"""
AGENTS = (
    "GoogleHC/1.0",
    "kube-probe/1.29",
    "ELB-HealthChecker/2.0",
    "Amazon-Route53-Health-Check-Service",
    "Envoy/HC",
    "",
)
URI_FIELDS = (
    "X-Forwarded-Uri",
    "X-Original-URL",
    "X-Original-URI",
    "X-Rewrite-URL",
    "X-Forwarded-Path",
    "X_Forwarded_Uri",
)


async def status(field: Battle, target: str, *lines: str, session: bool = True) -> tuple[int, list[str]]:
    """The status of a request, and what arrived upstream."""
    field.forget()
    bearer = ("authorization: Bearer TOKEN",) if session else ()
    head = [f"GET {target} HTTP/1.1", "host: gateway.test", "connection: close", *bearer, *lines, "", ""]
    outcome = await field.send("\r\n".join(head).encode(), victim=False)
    assert not field.upstream.violations
    return outcome.answers[0].status, [one.target for one in field.upstream.arrived]


@pytest.mark.parametrize("session", [False, True], ids=["no session", "session"])
@pytest.mark.parametrize(
    "target",
    ["/noetl/secret?/public/x", "/noetl/secret?x=/public/", "/noetl/secret?/noetl/open/x", "/noetl/secret?/health", "/noetl/secret?&/../public/x", "/noetl/secret?//public"],
)  # fmt: skip
async def test_a_query_can_not_choose_the_route_or_the_rule(tmp_path: Path, target: str, session: bool) -> None:
    """GHSA-7rh7-c77v-6434 (CVE-2025-54576, fixed in v7.11.0): `skip_auth_routes` matched path and query together."""
    async with battle(tmp_path, rules=RULES, more=ROUTES) as field:
        assert await status(field, target, session=session) == (403 if session else 401, [])


async def test_look_alikes_with_underscores_do_not_reach_the_upstream(tmp_path: Path) -> None:
    """GHSA-vjrc-mh2v-45x6 (CVE-2025-64484, fixed in v7.13.0): `X_Forwarded_User` for `X-Forwarded-User`."""
    names = (
        "X_Forwarded_User",
        "X-Forwarded_Email",
        "X_Forwarded-Groups",
        "X_User_Id",
        "x_user-roles",
        "X_AUTH_REQUEST_USER",
    )
    async with battle(tmp_path, rules=RULES, more=ROUTES) as field:
        for warm in (False, True):
            field.upstream.keep = warm
            await field.warm()
            assert (await status(field, "/noetl/open/x", *(f"{name}: forged" for name in names)))[0] == 200
            assert b"forged" not in field.upstream.received


@pytest.mark.parametrize("agent", AGENTS)
async def test_a_health_checks_user_agent_opens_nothing(tmp_path: Path, agent: str) -> None:
    """GHSA-5hvv-m4w4-gf6v (CVE-2026-34457, fixed in v7.15.2): a health check's agent passed for every path."""
    async with battle(tmp_path, rules=RULES, more=ROUTES) as field:
        for target in ("/noetl/open/x", "/graphql", "/noetl/ping", "/noetl/health"):
            assert await status(field, target, f"user-agent: {agent}", session=False) == (401, [])
        assert await status(field, "/inner", f"user-agent: {agent}", session=False) == (403, [])


@pytest.mark.parametrize("trusted", [False, True], ids=["untrusted peer", "trusted peer"])
@pytest.mark.parametrize("name", URI_FIELDS)
async def test_a_field_can_not_name_another_path(tmp_path: Path, name: str, trusted: bool) -> None:
    """GHSA-7x63-xv5r-3p2x (CVE-2026-40575, fixed in v7.15.2): `X-Forwarded-Uri` was judged in place of the path.

    Also CVE-2026-76835, the same with the proxies that v7.15.2 trusted by default: here none is.
    """
    server = LIMITS + (", trusted_proxies: [127.0.0.0/8]" if trusted else "")
    async with battle(tmp_path, server=server, rules=RULES, more=ROUTES) as field:
        for uri in ("/health", "/public/x", "/noetl/open/x"):
            assert await status(field, "/noetl/secret", f"{name}: {uri}", session=False) == (401, [])
            assert await status(field, "/noetl/secret", f"{name}: {uri}") == (403, [])


@pytest.mark.parametrize("session", [False, True], ids=["no session", "session"])
@pytest.mark.parametrize(
    "target",
    ["/noetl/secret#/public/x", "/public/x#/../noetl/secret", "/noetl/secret?#/public/x", "/noetl/open/#/../../secret"],
)
async def test_a_fragment_is_refused(tmp_path: Path, target: str, session: bool) -> None:
    """GHSA-pxq7-h93f-9jrg (CVE-2026-41059, fixed in v7.15.2): `#` was judged with the path and dropped behind it."""
    async with battle(tmp_path, rules=RULES, more=ROUTES) as field:
        assert await status(field, target, session=session) == (400, [])


@pytest.mark.parametrize("target", ["/noetl/secret%23/public/x", "/noetl/secret%2523/noetl/open/x"])
async def test_an_encoded_fragment_stays_part_of_the_path(tmp_path: Path, target: str) -> None:
    """GHSA-pxq7-h93f-9jrg (CVE-2026-41059), in its browser-safe form."""
    async with battle(tmp_path, rules=RULES, more=ROUTES) as field:
        assert await status(field, target) == (403, [])


@pytest.mark.parametrize(
    "endpoint", ["/api/execute#", "/api/execute#/x", "/api/execute?#", "/api/execute?x#y", "/api/open/x\x7f"]
)
async def test_a_fragment_can_not_hide_execute_in_proxy_request(tmp_path: Path, endpoint: str) -> None:
    """GHSA-pxq7-h93f-9jrg (CVE-2026-41059): what a server drops behind `#` must not be what was judged."""
    rules = RULES.replace("/noetl/open/**", "/noetl/**")
    async with battle(tmp_path, rules=rules, more=ROUTES) as field:
        field.upstream.says = says
        outcome = await field.send(proxied("POST", endpoint, {"path": "secret/b"}), victim=False)
        assert b"BAD_USER_INPUT" in outcome.answers[0].body
        assert not field.upstream.arrived


@pytest.mark.parametrize("trusted", ["", "192.0.2.0/24", "127.0.0.0/8"])
async def test_an_address_opens_nothing_unless_a_trusted_proxy_tells_it(tmp_path: Path, trusted: str) -> None:
    """GHSA-wr5q-7wxw-x568: an address that the client claims waived authentication."""
    server = LIMITS + (f", trusted_proxies: [{trusted}]" if trusted else "")
    async with battle(tmp_path, server=server, rules=RULES, more=ROUTES) as field:
        for line in (
            "X-Real-IP: 10.0.0.1", "Forwarded: for=10.0.0.1", "X-Client-IP: 10.0.0.1", "True-Client-IP: 10.0.0.1", "X_Forwarded_For: 10.0.0.1",
            "X-Forwarded-For: 10.0.0.1, 203.0.113.7", "X-Forwarded-For: 10.0.0.1\r\nX-Forwarded-For: 203.0.113.7", "X-Forwarded-For: 10.0.0.1, x",
        ):  # fmt: skip
            assert await status(field, "/inner", line, session=False) == (403, []), line
        believed = (await status(field, "/inner", "X-Forwarded-For: 10.0.0.1", session=False))[0]
        assert believed == (200 if trusted == "127.0.0.0/8" else 403)
