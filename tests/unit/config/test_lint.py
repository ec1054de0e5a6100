"""What `check` warns about: one line per warning, at its place."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.compile import compile_config
from proxy.config.lint import lint
from proxy.config.load import load

BASE = """\
upstreams: {noetl: {urls: ["http://localhost:8082"]}}
auth: {tenants: [{domain: a.example.com, audience: [x]}]}
"""
ACL = """\
acl:
  roles: {dev: {emails: ["*@x.org"]}}
  rules:
    - {allow: [execute], roles: [dev], playbooks: ["a/**"]}
"""


def warnings(folder: Path, text: str) -> list[str]:
    file = folder / "gateway.yaml"
    file.write_text(BASE + text)
    found = lint(compile_config(load(file, {})))
    return [f"{w.place.line}:{w.place.column} {w.key}: {w.text}" for w in found]


def test_a_sound_file_has_no_warnings(tmp_path: Path) -> None:
    assert warnings(tmp_path, ACL) == []


def test_the_shipped_file_has_no_warnings() -> None:
    assert lint(compile_config(load(Path("gateway.yaml"), {}))) == ()


@pytest.mark.parametrize(
    ("text", "start"),
    [
        ("server: {host: 0.0.0.0}\n", "3:16 server.host: is reachable from other machines without TLS"),
        ("server: {host: 0.0.0.0, trusted_proxies: [10.0.0.0/8]}\n", ""),
        ("sessions: {cookie: {enabled: true, secure: false, same_site: none}}\n", "3:62 sessions.cookie.same_site: b"),
        (
            "routes: [{path: /a, handler: health}, {path: /a, handler: health}]\n",
            "3:39 routes[1]: can never match: ",
        ),
        ("routes: [{path: '/{a}', handler: health}, {path: '/{b}', handler: ready}]\n", "3:43 routes[1]: can never ma"),
        ("routes: [{path: /a, handler: health}, {path: /a, host: x.org, handler: ready}]\n", ""),
        ("routes: [{path: /a%41, handler: health}]\n", '3:10 routes[0]: can never match: "a%41" is normalised to "aA"'),
        (
            "routes: [{path: /o, upstream: noetl, auth: none}]\n",
            "3:44 routes[0].auth: auth: none forwards requests withou",
        ),
        ("routes: [{path: /o, upstream: noetl, auth: none, allow_from: [127.0.0.0/8]}]\n", ""),
        (
            "routes: [{path: /o, upstream: noetl, headers: {request: {set: {x-api-key: abc}}}}]\n",
            "3:75 routes[0].headers.request.set.x-api-key: is a secret in plain text",
        ),
        ("routes: [{path: /o, upstream: noetl, headers: {request: {set: {x-api-key: '${K:-v}'}}}}]\n", ""),
    ],
)
def test_a_warning_names_the_place(tmp_path: Path, text: str, start: str) -> None:
    found = warnings(tmp_path, text + ACL)
    assert [line[: len(start)] for line in found] == ([start] if start else [])


@pytest.mark.parametrize(
    ("rule", "because"),
    [
        ("{allow: [view], roles: [ghost], playbooks: [a]}", "nobody has role ghost"),
        ("{allow: [view], paths: [/other/x]}", "no route with an upstream serves these paths"),
        ("{allow: [delete, modify], paths: [/noetl/**]}", "no method of the routes that serve these paths"),
        ("{allow: [admin], paths: ['/noetl/credentials/**']}", ""),
        ("{allow: [delete], paths: [/noetl/**], methods: [GET]}", "no method of the routes that serve these paths"),
        (
            "{allow: [execute], roles: [dev], playbooks: ['a/b']}",
            "the rule at {file}:6 has the same effect on all of it",
        ),
        ("{allow: [view], paths: [/noetl/catalog/list], methods: [POST]}", ""),
        ("{allow: [view], roles: [dev], playbooks: ['a/b']}", ""),
        ("{allow: [execute], playbooks: ['a/b']}", ""),
        ("{deny: [execute], roles: [dev], playbooks: ['a/b']}", ""),
    ],
)
def test_unreachable_rule_is_reported_with_its_reason(tmp_path: Path, rule: str, because: str) -> None:
    found = warnings(tmp_path, f"{ACL}    - {rule}\n")
    wanted = f"7:7 acl.rules[1]: has no effect: {because.format(file=tmp_path / 'gateway.yaml')}"
    assert [line[: len(wanted)] for line in found] == ([wanted] if because else [])


def test_an_allow_below_a_wider_deny_can_never_decide(tmp_path: Path) -> None:
    found = warnings(tmp_path, ACL + "    - {deny: ['*'], playbooks: ['**']}\n")
    assert found == [f"6:7 acl.rules[0]: has no effect: the rule at {tmp_path}/gateway.yaml:7 denies all of it"]


def test_roles_may_come_from_the_token(tmp_path: Path) -> None:
    text = ACL.replace("[dev]", "[from_the_token]")
    (tmp_path / "gateway.yaml").write_text(BASE.replace("audience: [x]", "audience: [x], roles_claim: r") + text)
    assert lint(compile_config(load(tmp_path / "gateway.yaml", {}))) == ()
