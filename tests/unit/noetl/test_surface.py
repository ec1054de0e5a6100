# ruff: noqa: E501 - data in lines
"""What a request to the NoETL API is judged on."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import BadRequest, NotFound
from proxy.noetl.needs import INTERNAL, About, Need
from proxy.noetl.surface import Kind, Starts, by_path, classify, is_internal_area, needs_of
from proxy.policy.acl import Action

VIEW, EXECUTE, ADMIN = Action.VIEW, Action.EXECUTE, Action.ADMIN
RUN, EXECUTION, PLAYBOOK, PATH = About.RUN, About.EXECUTION, About.PLAYBOOK, About.PATH


@pytest.mark.parametrize(
    ("method", "path", "kind", "needs"),
    [
        ("GET", "/api/executions/42", Kind.EXECUTION, [(EXECUTION, VIEW, "42")]),
        ("HEAD", "/api/executions/42/status", Kind.EXECUTION, [(EXECUTION, VIEW, "42")]),
        ("POST", "/api/executions/42/cancel", Kind.EXECUTION, [(EXECUTION, EXECUTE, "42")]),
        ("POST", "/api/executions/42/analyze", Kind.EXECUTION, [(EXECUTION, VIEW, "42")]),
        ("POST", "/api/EXECUTIONS/42/Rerun/", Kind.RUN, [(RUN, EXECUTE, "42")]),
        ("DELETE", "/api/executions/42", Kind.INTERNAL, [(PATH, ADMIN, ""), (RUN, EXECUTE, "42")]),
        ("GET", "/api/executions/42/other", Kind.INTERNAL, [(PATH, ADMIN, ""), (EXECUTION, VIEW, "42")]),
        ("POST", "/api/executions/42/other", Kind.INTERNAL, [(PATH, ADMIN, ""), (RUN, EXECUTE, "42")]),
        ("POST", "/api/executions/cleanup", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/vars/42", Kind.EXECUTION, [(EXECUTION, VIEW, "42")]),
        ("GET", "/api//Vars/42/a/b/", Kind.EXECUTION, [(EXECUTION, VIEW, "42")]),
        ("DELETE", "/api/vars/42/a", Kind.EXECUTION, [(EXECUTION, EXECUTE, "42")]),
        ("PUT", "/api/result/42", Kind.EXECUTION, [(EXECUTION, EXECUTE, "42")]),
        ("GET", "/api/result/stats", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/temp/resolve", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/ehdb/executions/42/x", Kind.EXECUTION, [(EXECUTION, VIEW, "42")]),
        ("GET", "/api/ehdb/streams", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/postgres/weather_alert_summary/42/last", Kind.EXECUTION, [(EXECUTION, VIEW, "42")]),
        ("POST", "/api/postgres/execute", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/catalog/a/b", Kind.SOURCE, [(PLAYBOOK, VIEW, "a/b")]),
        ("GET", "/api/Catalog/A/b%20c/UI_Schema/", Kind.SOURCE, [(PLAYBOOK, VIEW, "A/b c")]),
        ("GET", "/api/catalog/%C3%A9/ui_schema", Kind.SOURCE, [(PLAYBOOK, VIEW, "é")]),
        ("POST", "/api/catalog/a/b", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("POST", "/api/mcp/a/b/lifecycle/deploy", Kind.RUN, [(PLAYBOOK, EXECUTE, "a/b")]),
        ("POST", "/api/mcp/a/b/discover", Kind.RUN, [(PLAYBOOK, EXECUTE, "a/b")]),
        (
            "POST",
            "/api/mcp/a/lifecycle/discover",
            Kind.RUN,
            [(PLAYBOOK, EXECUTE, "a"), (PLAYBOOK, EXECUTE, "a/lifecycle")],
        ),
        ("GET", "/api/mcp/a/discover", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/health", Kind.PATH, [(PATH, VIEW, "")]),
        ("POST", "/api/health", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/worker/pools", Kind.PATH, [(PATH, VIEW, "")]),
        ("POST", "/api/worker/pool/register", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("POST", "/api/catalog/playbooks/validate", Kind.PATH, [(PATH, VIEW, "")]),
        ("GET", "/api/execute", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("POST", "/api/execute;x", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api/credentials/x", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/API/no/such/endpoint", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/api", Kind.INTERNAL, [(PATH, ADMIN, "")]),
        ("GET", "/other/executions/42", Kind.PATH, [(PATH, VIEW, "")]),
        ("POST", "/execute", Kind.PATH, [(PATH, Action.MODIFY, "")]),
    ],
)
def test_request_needs_what_it_does(method: str, path: str, kind: Kind, needs: list[tuple[About, Action, str]]) -> None:
    judged = classify(method, path, None)
    assert (judged.kind, list(judged.needs), judged.varies) == (kind, needs, False)


@pytest.mark.parametrize(
    ("path", "starts"),
    [
        ("/api/execute", Starts.NAMED),
        ("//api//Execute/", Starts.NAMED),
        ("/api/executions/1/rerun", Starts.NAMED),
        ("/api/mcp/a/lifecycle/deploy", Starts.NONE),
        ("/api/executions/1/cancel", Starts.NONE),
        ("/api/catalog/resource", Starts.NONE),
    ],
)
def test_request_that_starts_executions_is_known(path: str, starts: Starts) -> None:
    assert classify("POST", path, None).starts is starts


def test_action_of_the_route_counts_for_paths_only() -> None:
    assert classify("POST", "/api/events", VIEW).needs == (Need(PATH, VIEW),)
    assert classify("GET", "/api/health", ADMIN).needs == (Need(PATH, ADMIN),)
    assert classify("GET", "/api/executions/1", ADMIN).needs == (Need(EXECUTION, VIEW, "1"),)
    assert needs_of(classify("POST", "/api/execute", VIEW), "", {"path": "a"}) == (Need(PLAYBOOK, EXECUTE, "a"),)
    assert by_path(ADMIN).needs == (INTERNAL,)


@pytest.mark.parametrize("path", ["/api/executions/4x", "/api/executions/" + "1" * 21, "/api/executions/a.b/status"])
def test_malformed_execution_id_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        classify("GET", path, None)


@pytest.mark.parametrize(
    "path", ["/api/catalog/%20a", "/api/catalog/a%FF/ui_schema", "/api/mcp/a%01/discover", "/api/catalog/" + "a" * 513]
)
def test_malformed_name_in_the_path_is_refused(path: str) -> None:
    with pytest.raises(BadRequest):
        classify("POST" if "mcp" in path else "GET", path, None)


@pytest.mark.parametrize(
    ("path", "query", "need"),
    [
        ("/api/replay/state", "?execution_id=42", (EXECUTION, VIEW, "42")),
        ("/api/replay/state", "?a=1&execution%5Fid=%34%32&b", (EXECUTION, VIEW, "42")),
        ("/api/replay/state", "?Execution_id=42", INTERNAL),
        ("/api/replay/state", "", INTERNAL),
        ("/api/aggregate/loop/results", "?step_name=a&execution_id=42", (EXECUTION, VIEW, "42")),
        ("/api/catalog/playbook/content", "?playbook_id=a/b%20c+d", (PLAYBOOK, VIEW, "a/b c d")),
        ("/api/catalog/playbook/content", "?playbook_id=42", (About.CATALOG_ID, VIEW, "42")),
        ("/api/catalog/playbook/content", "?", INTERNAL),
    ],
)
def test_query_names_what_is_needed(path: str, query: str, need: tuple[Any, ...]) -> None:
    assert needs_of(classify("GET", path, None), query, None) == (need,)


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/api/replay/state", "?execution_id=1&execution_id=1"),
        ("/api/replay/state", "?execution_id=1&execution%5fid=2"),
        ("/api/replay/state", "?execution_id=1;execution_id=2"),
        ("/api/replay/state", "?execution_id=1;x"),
        ("/api/replay/state", "?execution_id="),
        ("/api/replay/state", "?execution_id=1x"),
        ("/api/replay/state", "?execution_id=%ff"),
        ("/api/catalog/playbook/content", "?playbook_id=../a"),
        ("/api/catalog/playbook/content", "?playbook_id=a&playbook_id=b"),
        ("/api/catalog/playbook/content", "?playbook_id=%FF"),
    ],
)
def test_query_that_could_be_read_in_two_ways_is_refused(path: str, query: str) -> None:
    with pytest.raises(BadRequest):
        needs_of(classify("GET", path, None), query, None)


@pytest.mark.parametrize(
    ("path", "below", "internal"),
    [
        ("/api/credentials", True, True), ("/api/events", False, True), ("/api/executions/cleanup", False, True),
        ("/api/postgres/execute", False, True), ("/api/postgres", True, False), ("/api/catalog", True, False),
        ("/api/catalog", False, True), ("/api/health", False, False), ("/api/health", True, False), ("/api", True, False),
        ("/other", True, False), ("/api/vars/1/x", False, False), ("/api/mcp/a", True, False), ("/api/Ehdb/streams", True, True),
    ],
)  # fmt: skip
def test_area_is_internal_if_no_endpoint_of_the_table_is_in_it(path: str, below: bool, internal: bool) -> None:
    assert is_internal_area(path, below=below) is internal
