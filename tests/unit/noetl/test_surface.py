# ruff: noqa: E501 - data in lines
"""What a request to the NoETL API is judged on."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import BadRequest, NotFound
from proxy.noetl.surface import Judged, Kind, classify, is_id, named_playbook, playbook_name
from proxy.policy.acl import Action


@pytest.mark.parametrize("name", ["a", "a/b", "a b/c.d", "a..b", "é/漢", "a" * 512, "a/b@1", "%2e%2e/a"])
def test_the_path_of_a_playbook_is_taken_as_it_is(name: str) -> None:
    assert playbook_name(name, "name") == name


@pytest.mark.parametrize(
    "name",
    [
        "", None, 5, ["a"], "/a", "a/", "a//b", "../a", "a/../b", "a/..", "./a", "a/.", "a\\b", "a\x00", "a\n", " a",
        "a ", "a\ud800", "a" * 513,
    ],
)  # fmt: skip
def test_what_could_be_read_in_two_ways_is_no_path_of_a_playbook(name: object) -> None:
    with pytest.raises(BadRequest, match=r"^name is "):
        playbook_name(name, "name")


@pytest.mark.parametrize(
    ("method", "path", "kind", "action", "execution"),
    [
        ("POST", "/api/execute", Kind.EXECUTE, Action.EXECUTE, ""),
        ("POST", "/api/Execute/", Kind.EXECUTE, Action.EXECUTE, ""),
        ("POST", "//api//execute", Kind.EXECUTE, Action.EXECUTE, ""),
        ("GET", "/api/execute", Kind.PATH, Action.VIEW, ""),
        ("POST", "/api/execute/batch", Kind.PATH, Action.MODIFY, ""),
        ("POST", "/api/catalog/resource", Kind.RESOURCE, Action.VIEW, ""),
        ("GET", "/api/executions/42", Kind.EXECUTION, Action.VIEW, "42"),
        ("GET", "/api/executions/42/status", Kind.EXECUTION, Action.VIEW, "42"),
        ("DELETE", "/api/executions/42", Kind.EXECUTION, Action.DELETE, "42"),
        ("POST", "/api/executions/42/cancel", Kind.EXECUTION, Action.EXECUTE, "42"),
        ("POST", "/api/EXECUTIONS/42/Rerun/", Kind.RERUN, Action.EXECUTE, "42"),
        ("POST", "/api/executions/42/other", Kind.EXECUTION, Action.MODIFY, "42"),
        ("GET", "/api/executions", Kind.PATH, Action.VIEW, ""),
        ("POST", "/api/executions/cleanup", Kind.PATH, Action.MODIFY, ""),
        ("GET", "/other/executions/42", Kind.PATH, Action.VIEW, ""),
        ("POST", "/execute", Kind.PATH, Action.MODIFY, ""),
    ],
)
def test_request_is_judged_by_what_it_does(method: str, path: str, kind: Kind, action: Action, execution: str) -> None:
    assert classify(method, path, None) == Judged(kind, action, execution)


def test_action_of_the_route_counts_for_paths() -> None:
    assert classify("POST", "/api/catalog/list", Action.VIEW).action is Action.VIEW
    assert classify("POST", "/api/execute", Action.VIEW).action is Action.EXECUTE


@pytest.mark.parametrize("path", ["/api/executions/4x", "/api/executions/" + "1" * 21, "/api/executions/a.b/status"])
def test_malformed_execution_id_is_not_found(path: str) -> None:
    with pytest.raises(NotFound):
        classify("GET", path, None)


@pytest.mark.parametrize(
    ("kind", "document", "path", "catalog_id"),
    [
        (Kind.EXECUTE, {"path": "a/b"}, "a/b", None),
        (Kind.EXECUTE, {"catalog_id": 5}, None, "5"),
        (Kind.EXECUTE, {"catalog_id": "5", "path": None}, None, "5"),
        (Kind.RESOURCE, {"path": "a"}, "a", None),
    ],
)
def test_body_names_one_playbook(kind: Kind, document: Any, path: str | None, catalog_id: str | None) -> None:
    assert named_playbook(kind, document) == (path, catalog_id)


@pytest.mark.parametrize(
    "document",
    [None, [], "a", {}, {"path": 5}, {"path": "a", "catalog_id": 5}, {"catalog_id": "x"}, {"catalog_id": True}],
)
def test_body_that_names_no_playbook_or_two_is_refused(document: Any) -> None:
    with pytest.raises(BadRequest):
        named_playbook(Kind.EXECUTE, document)


@pytest.mark.parametrize(
    ("value", "fits"), [(5, True), ("5", True), ("0" * 20, True), ("0" * 21, False), (True, False), (1.0, False), ("", False), ("5 ", False)]
)  # fmt: skip
def test_id_is_a_number_or_its_digits(value: Any, fits: bool) -> None:
    assert is_id(value) is fits
