# ruff: noqa: E501 - data in lines
"""No text of a client's or of a token's becomes a line, a field or a terminal's command of its own."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.http.credentials import key_of
from proxy.observe import logs
from proxy.sessions.store import Identity, new_session, new_token
from tests.attack.battle import LIMITS, Battle, battle
from tests.attack.table import Tally
from tests.integration.harness import TENANT
from tests.secretsearch import RUN

HOSTILE = {
    "line end": "a\r\nx-user-id: 666", "lf": "a\nx-user-id: 666", "cr": "a\rx-user-id: 666", "nul": "a\x00b", "escape": "\x1b[31mred\x1b[0m",
    "c1": "a\x85x-user-id: 666", "line separator": "a\u2028x-user-id: 666", "del": "a\x7f", "backspace": "a\x08\x08b", "tab": "a\tb",
    "surrogate": "a\ud800", "not latin-1": "Ā Ж 漢 🐍", "latin-1": "é\xff", "rtl": "a\u202eb", "long": "a" * 20_000,
    "utf-8 that ends a line in latin-1": "\u010d\u010a", "quotes": "a\"'\\b", "request": "a\r\n\r\nGET /api/smuggled HTTP/1.1\r\nhost: x\r\n\r\n",
}  # fmt: skip
ROLE_LISTS = {
    "a comma": "x,admin", "a comma and a blank": "x, admin", "a blank after": "admin ", "a blank before": " admin", "a line end after": "admin\r\n",
    "a tab after": "admin\t", "a no-break space after": "admin\xa0", "nothing": "", "commas": ",,admin,", "a nul after": "admin\x00", "a surrogate": "admin\ud800",
}  # fmt: skip
WITH_ROLES = TENANT.replace("audience: [tests]", "audience: [tests], roles_claim: roles")
_CONSOLE = re.compile(
    r"\d\d:\d\d:\d\d [A-Z]+ (/\S*|-) \d{3} [\d.]+ms( upstream=[\d.]+ms)?( user=\d+)? ip=[\w.:]+ id=[\w.-]+( .*)?"
)
_CONTROL = re.compile(r"[\x00-\x09\x0b-\x1f\x7f-\x9f\u2028\u2029]")


async def signed_in(field: Battle, **changes: object) -> str:
    """A session of somebody of the staff, with claims as a provider might tell them."""
    token = new_token()
    key = key_of(token)
    assert key is not None
    identity = Identity("http://localhost:1/", f"sub{len(token)}", "eve@staff.test", "eve", "localhost")
    values = {
        name: getattr(identity, name) for name in ("issuer", "subject", "email", "display_name", "tenant", "claims")
    }
    merged = {**values, **changes}
    merged["claims"] = {"email_verified": True, **merged["claims"]}
    session = new_session(key, Identity(**merged), now=time.time(), lifetime=60, ip="127.0.0.1", user_agent="x")
    await field.gateway.server.gateway.store.create(key, session, max_per_user=0)
    RUN.used(token, "session of a hostile name")
    return token


async def asked(field: Battle, token: str, *, warm: bool) -> str:
    """What is wrong with the fields that upstream gets for this session; empty if nothing is."""
    field.upstream.keep = warm
    await field.warm()
    data = f"GET /noetl/things HTTP/1.1\r\nhost: gateway.test\r\nconnection: close\r\nauthorization: Bearer {token}\r\n\r\n"
    came = await field.gateway.raw(data.encode())
    if field.upstream.violations:
        return str(field.upstream.violations)[:200]
    for seen in field.upstream.arrived:
        if "666" in seen.values("x-user-id") or seen.target != "/api/things":
            return f"forged: {seen.raw[:300]!r}"
        if any(_CONTROL.search(value.encode("latin-1").decode("utf-8", "replace")) for _, value in seen.fields):
            return f"control characters: {seen.raw[:300]!r}"
        if {"admin", "666"} & {role.strip() for value in seen.values("x-user-roles") for role in value.split(",")}:
            return f"a role that nobody has: {seen.values('x-user-roles')}"
    if len(field.upstream.arrived) == 1 and came.startswith(b"HTTP/1.1 200"):
        return ""
    return "" if not field.upstream.arrived and came[9:10] == b"4" else f"{came[:100]!r}"


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_claims_of_a_token_can_not_make_a_field(
    warm: bool, tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    with tally("injection by token claims") as counts:
        async with battle(tmp_path, tenant=WITH_ROLES) as field:
            for name, text in HOSTILE.items():
                for claims in (
                    {"email": text}, {"display_name": text}, {"claims": {"roles": [text]}}, {"claims": {"roles": text}},
                    {"claims": {"roles": ["x", text]}},
                ):  # fmt: skip
                    surprise = await asked(field, await signed_in(field, **claims), warm=warm)
                    counts.count(f"{name} in {list(claims)}", refused=False, surprise=surprise)
            for name, text in ROLE_LISTS.items():
                for roles in ([text], ["x", text], text):
                    surprise = await asked(field, await signed_in(field, claims={"roles": roles}), warm=warm)
                    counts.count(f"role: {name}", refused=False, surprise=surprise)


def hostile_requests() -> dict[str, bytes]:
    """Requests whose every part tries to make a line of the log its own."""
    bits = {
        "escape": "\x1b[31m", "c1": "\x9b31m", "nul": "\x00", "encoded lf": "%0a", "encoded crlf": "%0d%0a{\"event\":\"forged\"}", "encoded escape": "%1b[31m",
        "cr": "\r", "quote": '"', "json": '","event":"forged","x":"', "backslash": "\\", "utf-8": "é", "line separator": "\u2028", "double": "%250a",
    }  # fmt: skip
    made = {}
    for name, bit in bits.items():
        places = {
            "path": (f"/noetl/{bit}x", ""), "query": (f"/noetl/x?a={bit}", ""), "id": ("/noetl/x", f"x-request-id: {bit}"), "agent": ("/noetl/x", f"user-agent: {bit}"),
            "for": ("/noetl/x", f"x-forwarded-for: {bit}"), "zone": ("/noetl/x", f"x-forwarded-for: fe80::1%{bit}"), "origin": ("/noetl/x", f"origin: {bit}"),
            "host": ("/noetl/x", f"host: {bit}"), "trace": ("/noetl/x", f"traceparent: {bit}"), "type": ("/noetl/execute", f"content-type: {bit}"),
            "name": ("/noetl/x", f"{bit}: 1"), "secret": (f"/noetl/x?session_token={bit}", ""),
        }  # fmt: skip
        for place, (target, line) in places.items():
            method = "POST" if place == "type" else "GET"
            lines = [
                f"{method} {target} HTTP/1.1",
                "authorization: Bearer TOKEN",
                "connection: close",
                *([line] if line else []),
            ]
            if place != "host":
                lines.append("host: gateway.test")
            made[f"{name} in {place}"] = "\r\n".join([*lines, "", ""]).encode()
    return made


def told(line: str, form: str) -> bool:
    """Whether a line of the log is one that we write about requests."""
    if form == "json":
        return json.loads(line)["event"] in ("request", "request.malformed")
    return (
        _CONSOLE.fullmatch(line) is not None or re.match(r"[0-9T:.Z-]+ \[\w+ *\] request\.malformed ", line) is not None
    )


@pytest.mark.parametrize("form", ["json", "console"])
async def test_no_request_can_make_a_line_of_the_log(
    form: str, tmp_path: Path, tally: Callable[[str], Tally], capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure(form, "info")
    trusted = LIMITS + ", trusted_proxies: [127.0.0.0/8]"
    with tally(f"log injection, {form}") as counts:
        async with battle(tmp_path, server=trusted, own_log=False) as field:
            for name, data in hostile_requests().items():
                capsys.readouterr()
                await field.send(data, victim=False)
                field.gateway.server.flush_log()
                lines = capsys.readouterr().err.split("\n")
                RUN.came_out("the log", "\n".join(lines))
                why = ""
                for line in filter(None, lines):
                    if _CONTROL.search(line):
                        why = f"control characters: {line!r}"
                    elif field.attacker in line:
                        why = f"the session token: {line!r}"
                    elif not told(line, form):
                        why = f"forged: {line!r}"
                counts.count(name, refused=False, surprise=why or ("" if any(lines) else "nothing was told"))
