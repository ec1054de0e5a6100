# ruff: noqa: E501 - data in lines
"""What the bodies of requests name."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import BadRequest
from proxy.noetl.needs import INTERNAL, About, Need
from proxy.noetl.surface import classify, needs_of
from proxy.policy.acl import Action

VIEW, EXECUTE = Action.VIEW, Action.EXECUTE
PLAYBOOK, CATALOG_ID, EXECUTION = About.PLAYBOOK, About.CATALOG_ID, About.EXECUTION


def needs(path: str, document: Any, method: str = "POST", query: str = "") -> list[tuple[About, Action, str]]:
    """Return what a request needs."""
    return [tuple(need) for need in needs_of(classify(method, f"/api{path}", None), query, document)]  # type: ignore[misc]


@pytest.mark.parametrize(
    ("path", "document", "need"),
    [
        ("/execute", {"path": "a/b"}, Need(PLAYBOOK, EXECUTE, "a/b")),
        ("/execute", {"catalog_id": 5}, Need(CATALOG_ID, EXECUTE, "5")),
        ("/execute", {"catalog_id": "5", "path": None}, Need(CATALOG_ID, EXECUTE, "5")),
        ("/catalog/resource", {"path": "a"}, Need(PLAYBOOK, VIEW, "a")),
        ("/catalog/resource", {"catalog_id": "77"}, Need(CATALOG_ID, VIEW, "77")),
    ],
)
def test_body_names_one_playbook(path: str, document: Any, need: Need) -> None:
    assert needs(path, document) == [need]


MODIFY, DELETE = Action.MODIFY, Action.DELETE
YAML = "metadata: {path: a/b, name: c}"


@pytest.mark.parametrize(
    ("path", "document", "expected"),
    [
        (
            "/execute/batch",
            {"executions": [{"path": "a"}, {"catalog_id": 5}, {"path": "a"}]},
            [(PLAYBOOK, EXECUTE, "a"), (CATALOG_ID, EXECUTE, "5")],
        ),
        (
            "/executions/7/analyze/ai",
            {"analysis_playbook_path": "a"},
            [(EXECUTION, VIEW, "7"), (PLAYBOOK, EXECUTE, "a")],
        ),
        (
            "/catalog/playbooks/explain/ai",
            {"path": "a", "explanation_playbook_path": "b"},
            [(PLAYBOOK, VIEW, "a"), (PLAYBOOK, EXECUTE, "b")],
        ),
        (
            "/catalog/playbooks/explain/ai",
            {"catalog_id": 5, "explanation_playbook_path": "b"},
            [(CATALOG_ID, VIEW, "5"), (PLAYBOOK, EXECUTE, "b")],
        ),
        ("/catalog/playbooks/generate/ai", {"generator_playbook_path": "a", "prompt": "x"}, [(PLAYBOOK, EXECUTE, "a")]),
        ("/mcp/playbook/a/b/jsonrpc", {"method": "tools/call"}, [(PLAYBOOK, EXECUTE, "a/b")]),
        ("/mcp/playbook/a/b/jsonrpc", {"method": "tools/list"}, [(PLAYBOOK, VIEW, "a/b")]),
        ("/mcp/playbook/a/b/jsonrpc", {"method": "ping"}, [(PLAYBOOK, VIEW, "a/b")]),
        ("/mcp/playbook/a/b/jsonrpc", {"method": "notifications/initialized"}, [(PLAYBOOK, VIEW, "a/b")]),
        ("/mcp/playbook/a/b/jsonrpc", {"method": "resources/list"}, [INTERNAL]),
        (
            "/mcp/playbook/a/b/jsonrpc",
            [{"method": "ping"}, {"method": "tools/call"}],
            [(PLAYBOOK, VIEW, "a/b"), (PLAYBOOK, EXECUTE, "a/b")],
        ),
        (
            "/mcp/playbook/a/lifecycle/jsonrpc",
            {"method": "ping"},
            [(PLAYBOOK, EXECUTE, "playbook/a"), (PLAYBOOK, VIEW, "a/lifecycle")],
        ),
        ("/subscriptions", {"path": "a"}, [(PLAYBOOK, EXECUTE, "a")]),
        (
            "/subscriptions/register",
            {"spec": [{"playbook": {"catalog_id": 5}}, {"playbook_path": "b"}]},
            [(PLAYBOOK, EXECUTE, "b"), (CATALOG_ID, EXECUTE, "5")],
        ),
        ("/catalog/register", {"content": YAML}, [(PLAYBOOK, MODIFY, "a/b")]),
        ("/catalog/register", {"content": YAML, "path": "d"}, [(PLAYBOOK, MODIFY, "a/b"), (PLAYBOOK, MODIFY, "d")]),
        ("/catalog/restore", {"path": "a"}, [(PLAYBOOK, MODIFY, "a")]),
        ("/catalog/delete", {"catalog_id": 5}, [(CATALOG_ID, DELETE, "5")]),
    ],
)
def test_body_names_all_that_is_needed(path: str, document: Any, expected: list[Any]) -> None:
    assert needs(path, document) == expected


def test_content_that_is_put_needs_both_the_named_and_the_contained_playbook() -> None:
    found = needs("/catalog/playbook/content", {"content": YAML}, "PUT", "?playbook_id=x/y")
    assert found == [(PLAYBOOK, MODIFY, "x/y"), (PLAYBOOK, MODIFY, "a/b")]


@pytest.mark.parametrize(
    ("path", "document"),
    [
        ("/execute/batch", []), ("/execute/batch", {}), ("/execute/batch", {"executions": []}), ("/execute/batch", {"executions": ["a"]}),
        ("/execute/batch", {"executions": [{"path": "a", "catalog_id": 1}]}), ("/execute/batch", {"executions": [{"path": "a"}] * 1001}),
        ("/executions/7/analyze/ai", {}), ("/catalog/playbooks/explain/ai", {"path": "a"}), ("/catalog/playbooks/generate/ai", {"prompt": "x"}),
        ("/catalog/playbooks/explain/ai", {"path": "a", "catalog_id": 1, "explanation_playbook_path": "b"}),
        ("/mcp/playbook/a/jsonrpc", {}), ("/mcp/playbook/a/jsonrpc", []), ("/mcp/playbook/a/jsonrpc", ["x"]), ("/mcp/playbook/a/jsonrpc", {"method": 5}),
        ("/subscriptions", {}), ("/subscriptions", {"path": 5}), ("/subscriptions", {"playbook": {"path": "../a"}}),
        ("/catalog/register", {}), ("/catalog/register", {"content": 5}), ("/catalog/register", {"content": YAML, "path": 5}),
        ("/catalog/restore", {"path": "a", "catalog_id": 1}), ("/catalog/delete", {}),
    ],
)  # fmt: skip
def test_body_that_does_not_name_what_is_needed_is_refused(path: str, document: Any) -> None:
    with pytest.raises(BadRequest):
        needs(path, document)


@pytest.mark.parametrize("path", ["/execute", "/catalog/resource"])
@pytest.mark.parametrize(
    "document",
    [None, [], "a", {}, {"path": 5}, {"path": "a", "catalog_id": 5}, {"catalog_id": "x"}, {"catalog_id": True}],
)
def test_body_that_names_no_playbook_or_two_is_refused(path: str, document: Any) -> None:
    with pytest.raises(BadRequest):
        needs(path, document)
