"""`noetl-edge explain`: what the bridge makes of a request."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.unit.commands.shell import GOOD, Shell


@pytest.mark.parametrize(
    ("method", "path", "body", "lines"),
    [
        ("GET", "/noetl/executions", None, ["list: GET /api/executions"]),
        ("POST", "/noetl/executions/7/stop", None, ["stop: POST /api/executions/7/cancel"]),
        (
            "GET", "/noetl/executions/7/events?page=2", None,
            [
                "events, Python server: GET /api/executions/7/events?page=2",
                "events, Rust server: GET /api/executions/7?page=2",
            ],
        ),
        (
            "POST", "/noetl/catalog/list", '{"resource_type": "Playbook"}',
            [
                "catalog, Python server: POST /api/catalog/list",
                'catalog, Rust server: POST /api/catalog/list, body: {"resource_type":"playbook"}',
            ],
        ),
        (
            "POST", "/noetl/execute", '{"path": "a/b", "version": 3}',
            [
                "execute, Python server: POST /api/execute",
                "execute, Rust server: POST /api/execute, body: the catalog_id of version 3 instead of the path",
            ],
        ),
        (
            "POST", "/noetl/executions/7/rerun", None,
            ["rerun: the gateway responds, after GET /api/executions/7 and POST /api/execute"],
        ),
        ("POST", "/noetl/catalog/playbooks/validate", None, ["validate: the gateway responds, without the server"]),
        ("GET", "/noetl/dashboard/stats", None, []),
        ("GET", "/nowhere", None, []),
        ("GET", "/health", None, []),
    ],
)  # fmt: skip
def test_explain_shows_what_the_bridge_makes_of_a_request(
    shell: Shell, method: str, path: str, body: str | None, lines: list[str]
) -> None:
    given = ("--body", body) if body is not None else ()
    _, out, _ = shell("explain", "--as", "a@x.org", "--method", method, "--path", path, *given)
    assert [line.removeprefix("bridge     ") for line in out.splitlines() if line.startswith("bridge")] == lines
    Path("gateway.yaml").write_text(GOOD.replace("urls:", "bridge: false, urls:"))
    assert "bridge  " not in shell("explain", "--as", "a@x.org", "--method", method, "--path", path, *given)[1]
