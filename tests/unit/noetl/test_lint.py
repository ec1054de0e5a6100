"""What `check` warns about rules for paths of the NoETL API."""

from __future__ import annotations

from pathlib import Path

import pytest

from proxy.config.compile import compile_config
from proxy.config.load import load
from proxy.noetl.lint import lint_noetl

TEXT = """\
upstreams: {noetl: {urls: ["http://localhost:8082"]}, other: {urls: ["http://localhost:8083"]}}
routes:
  - {path: "/noetl/{path:**}", upstream: noetl, rewrite: "/api/{path}"}
  - {path: "/noetl/threads", upstream: noetl, rewrite: "/api/threads", action: view}
  - {path: "/ws/{path:**}", upstream: noetl, rewrite: "/api/ws/{path}", methods: [GET]}
  - {path: "/other/{path:**}", upstream: other, rewrite: "/api/{path}"}
acl:
  rules:
"""


@pytest.mark.parametrize(
    ("rule", "warned"),
    [
        ("{allow: [view], paths: ['/noetl/credentials/**']}", True),
        ("{allow: [view, modify], paths: [/noetl/events, '/noetl/commands/*']}", True),
        ("{deny: [view], paths: ['/noetl/ehdb/streams/**']}", True),
        ("{allow: [view], paths: ['/noetl/cred?ntials/**']}", False),
        ("{allow: [view], paths: ['/noetl/credentials/**', /noetl/health]}", False),
        ("{allow: [admin], paths: ['/noetl/credentials/**']}", False),
        ("{allow: ['*'], paths: ['/noetl/credentials/**']}", False),
        ("{allow: [view], paths: ['/noetl/**']}", False),
        ("{allow: [view], paths: [/noetl/threads], methods: [GET]}", False),
        ("{allow: [view], paths: ['/ws/**'], methods: [GET]}", True),
        ("{allow: [view], paths: ['/other/credentials/**']}", False),
        ("{allow: [view], paths: ['/nowhere/**']}", False),
        ("{allow: [view], playbooks: ['credentials/**']}", False),
    ],
)
def test_rule_for_internal_paths_without_admin_is_warned_of(tmp_path: Path, rule: str, warned: bool) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(f"{TEXT}    - {rule}\n")
    found = [f"{w.place.line} {w.key}: {w.text}" for w in lint_noetl(compile_config(load(file, {})))]
    assert [line.partition(",")[0] for line in found] == (
        ["9 acl.rules[0]: has no effect: these paths are internal"] if warned else []
    )


@pytest.mark.parametrize(
    ("route", "warned"),
    [
        ("{path: '/a/{path:**}', upstream: noetl, rewrite: '/api/{path}', action: view}", True),
        ("{path: '/a/{path:**}', upstream: noetl, rewrite: '/api/{path}', action: admin}", False),
        ("{path: '/a/{path:**}', upstream: noetl, rewrite: '/api/threads/{path}', action: view}", False),
        ("{path: /a, upstream: noetl, rewrite: /api/threads, action: view}", False),
        ("{path: '/a/{path:**}', upstream: other, rewrite: '/api/{path}', action: view}", False),
    ],
)
def test_route_that_opens_the_whole_api_is_warned_of(tmp_path: Path, route: str, warned: bool) -> None:
    file = tmp_path / "gateway.yaml"
    file.write_text(TEXT.replace("acl:", f"  - {route}\nacl:").replace("  rules:\n", "  rules: []\n"))
    found = [f"{w.place.line} {w.key}: {w.text}" for w in lint_noetl(compile_config(load(file, {})))]
    assert [line[:46] for line in found] == (["7 routes[4].action: opens all internal endpoint"[:46]] if warned else [])


def test_shipped_file_has_no_warnings() -> None:
    assert lint_noetl(compile_config(load(Path("gateway.yaml"), {}))) == ()
