# ruff: noqa: E501 - data in lines
"""Path confusion: what is matched is what is judged is what is sent."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from urllib.parse import unquote

import pytest

from tests.attack.battle import battle
from tests.attack.table import Tally

RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], paths: ["/noetl/**"]}
    - {deny: ["*"], roles: [staff], paths: ["/noetl/secret", "/noetl/secret/**"]}
"""
REFUSED = (
    "/noetl/secret", "/noetl/secret/", "/noetl/secret/x", "/noetl//secret", "/noetl/./secret/x", "/noetl/%73ecret/x", "/noetl/s%65cret",
    "/noetl/secret/./x", "//noetl/secret", "/./noetl/secret", "/noetl/x/../secret", "/noetl/x/%2e%2e/secret", "/noetl/x/%2E%2E/secret",
    "/noetl/x/.%2e/secret", "/noetl/x/%2e./secret", "/noetl/x%2f..%2fsecret", "/noetl/x%2Fsecret", "/noetl%2fsecret", "/noetl/x%5c..%5csecret",
    "/noetl/x\\..\\secret", "/noetl\\secret", "/noetl/..", "/noetl/../admin", "/noetl/%00", "/noetl/x%00.png", "/noetl/%0d%0ax", "/noetl/%09",
    "/noetl/%7f", "/noetl/%", "/noetl/%2", "/noetl/%zz", "/noetl/%u002e", "/noetl/x#/secret", "/noetl/\x01", "/noetl/x/..", "/noetl/x/../..",
    "/noetl/%c0%ae%c0%ae/../x", "/NOETL/x", "/Noetl/x", "/api/x", "/api/secret", "/noetl/x/%2e%2e%2fsecret", "/noetl/..%2fsecret",
    "/noetl/..%5csecret", "/noetl/%2e%2e/", "/noetl/%2e%2e", "/..", "/%2e%2e/noetl/x", "/noetl/../noetl/x", "/noetl/%2e%2e/noetl/secret",
    "/x://gateway.test/noetl/x", "/noetl/secret;/../x", "/noetl/..;/x", "/noetl/x/..;/secret", "/noetl/x/..;a=1", "/noetl/.;/x", "/noetl/%2e%2e;/x", "/noetl/x/..//secret", "/noetl/\xe9",
)  # fmt: skip
"""Not one of these may reach the upstream."""
SENT = {
    "/noetl/x": "/api/x", "/noetl/x/": "/api/x/", "/noetl//x": "/api/x", "/noetl/x//y": "/api/x/y", "/noetl/./x": "/api/x", "/noetl/x/.": "/api/x/",
    "/noetl/%78": "/api/x", "/noetl/%2578": "/api/%2578", "/noetl/%252e%252e/secret": "/api/%252e%252e/secret", "/noetl/x;y=1": "/api/x;y=1",
    "/noetl/...": "/api/...", "/noetl/.../x": "/api/.../x", "/noetl/x.": "/api/x.",
    "/noetl/x..": "/api/x..", "/noetl/..x": "/api/..x", "/noetl/.x": "/api/.x", "/noetl/SECRET/x": "/api/SECRET/x", "/noetl/x?a=../secret": "/api/x?a=../secret",
    "/noetl/x?": "/api/x?", "/noetl/x?/../secret": "/api/x?/../secret", "/noetl/x%3f/secret": "/api/x%3F/secret", "/noetl/x%23/secret": "/api/x%23/secret",
    "/noetl/%c3%a9": "/api/%C3%A9", "/noetl/x%3b": "/api/x%3B", "/noetl/x%20": "/api/x%20", "/noetl/~x": "/api/~x", "/noetl/%7ex": "/api/~x", "/noetl/x@y:z": "/api/x@y:z",
    "/noetl/secrets": "/api/secrets", "/noetl/secret;x": "/api/secret;x", "/noetl/secret.": "/api/secret.", "/noetl/secret%20": "/api/secret%20", "/noetl/": "/api/",
    "/noetl/x?a=%2e%2e&b=%00": "/api/x?a=%2e%2e&b=%00", "/noetl/x?u=http://evil.test/": "/api/x?u=http://evil.test/", "/./noetl/x": "/api/x", "//noetl/x": "/api/x",
    "/noetl/x%2b%26": "/api/x%2B%26", "/noetl/secret%3b": "/api/secret%3B", "/noetl/%e2%80%ae": "/api/%E2%80%AE", "/noetl/%c0%ae%c0%ae/x": "/api/%C0%AE%C0%AE/x",
}  # fmt: skip
"""The one form of each, which is what the rules have judged, and what a server reads that decodes once."""


def read_by_a_server(target: str) -> list[str]:
    """The segments that a server sees that decodes once, and then takes dots and doubled slashes away."""
    kept: list[str] = []
    for segment in unquote(target.partition("?")[0], "latin-1").split("/"):
        if segment == "..":
            kept = kept[:-1]
        elif segment not in ("", "."):
            kept.append(segment)
    return kept


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_what_is_judged_is_what_is_sent(
    warm: bool, method: str, tmp_path: Path, tally: Callable[[str], Tally]
) -> None:
    with tally("path confusion") as counts:
        async with battle(tmp_path, rules=RULES) as field:
            field.upstream.keep = warm
            for path in (*REFUSED, *SENT):
                await field.warm()
                head = f"{method} {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer TOKEN\r\ncontent-length: 0\r\n\r\n"
                outcome = await field.send(head.encode("latin-1"))
                targets = [one.target for one in field.upstream.arrived if one.target != "/api/victim"]
                judged = [line.path for line in field.told.lines if line.path != "/noetl/victim"]
                why = str(field.upstream.violations or "")
                if path in REFUSED:
                    if targets or outcome.answers[0].status not in (400, 403, 404):
                        why = f"{outcome.statuses}, upstream got {targets}"
                elif targets != [SENT[path]]:
                    why = f"upstream got {targets}"
                elif judged != ["/noetl" + SENT[path].removeprefix("/api")]:
                    why = f"judged as {judged}, sent as {targets}"
                elif read_by_a_server(targets[0])[:2] == ["api", "secret"]:
                    why = f"a server reads {read_by_a_server(targets[0])}"
                counts.count(path, refused=path in REFUSED, surprise=why)


OVERRIDES = (
    "X-HTTP-Method-Override: DELETE", "X-HTTP-Method: DELETE", "X-Method-Override: DELETE", "x_http_method_override: DELETE",
    "X-HTTP_Method-Override: DELETE", "X_METHOD_OVERRIDE: DELETE", "X-Original-Method: DELETE", "X-Original-URL: /api/secret",
    "X-Rewrite-URL: /api/secret", "X-Original-URI: /api/secret", "X-Forwarded-Uri: /health", "X-Forwarded-Prefix: /secret",
    "x_original_url: /api/secret", "X-Forwarded-Method: DELETE",
)  # fmt: skip


@pytest.mark.parametrize("warm", [False, True], ids=["cold", "warm"])
async def test_no_field_can_change_method_or_path(warm: bool, tmp_path: Path, tally: Callable[[str], Tally]) -> None:
    with tally("method and path overrides") as counts:
        async with battle(tmp_path, rules=RULES) as field:
            field.upstream.keep = warm
            for line in OVERRIDES:
                for method in ("GET", "POST", "HEAD"):
                    for path, reaches in (("/noetl/x", True), ("/noetl/secret", False)):
                        await field.warm()
                        head = f"{method} {path} HTTP/1.1\r\nhost: gateway.test\r\nauthorization: Bearer TOKEN\r\n{line}\r\n\r\n"
                        await field.send(head.encode())
                        found = [one for one in field.upstream.arrived if one.target != "/api/victim"]
                        told = [(one.method, one.target) for one in found] == ([(method, "/api/x")] if reaches else [])
                        hidden = not any(line.partition(": ")[2].encode() in one.raw for one in found)
                        counts.check(f"{method} {path} {line}", told and hidden, found, refused=not reaches)
