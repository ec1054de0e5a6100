"""Entries of the catalog and of the list of executions, in both dialects."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.noetl.listings import CatalogEntry, ExecutionSummary, catalog_entry, execution_summary

YAML = "metadata: {description: From text}\nworkload: {b: 2}\n"
DOCUMENT = {"metadata": {"description": "From JSON"}, "workload": {"a": 1}}


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"path": "a", "catalog_id": 7, "version": 3, "kind": "Playbook", "payload": DOCUMENT, "content": YAML},
            CatalogEntry("a", "7", 3, "Playbook", "From JSON", {"a": 1}),
        ),
        ({"path": "a", "catalog_id": "7", "content": YAML}, CatalogEntry("a", "7", None, None, "From text", {"b": 2})),
        (
            {"path": "a", "catalog_id": 7, "version": "3", "kind": "", "payload": {"metadata": "x"}},
            CatalogEntry("a", "7", None, None, None, None),
        ),
    ],
    ids=["payload comes first", "content is YAML", "malformed members are left out"],
)
def test_catalog_entry_is_read_from_either_dialect(raw: dict[str, Any], expected: CatalogEntry) -> None:
    assert catalog_entry(raw) == expected


@pytest.mark.parametrize("content", ["a: [", "- a", "text", "", 5, None, "!!python/object:os.system {}", "[" * 5000])
def test_malformed_content_of_an_entry_is_an_entry_without_details(content: object) -> None:
    assert catalog_entry({"path": "a", "content": content}) == CatalogEntry("a", None, None, None, None, None)


@pytest.mark.parametrize("raw", [None, "a", [], {}, {"path": None}, {"path": 5}])
def test_entry_without_a_path_is_none(raw: object) -> None:
    assert catalog_entry(raw) is None


@pytest.mark.parametrize(
    ("item", "expected"),
    [
        (
            {"execution_id": 17, "path": "a", "status": "COMPLETED", "start_time": "s", "end_time": "e"},
            ExecutionSummary("17", "a", "completed", "s", "e"),
        ),
        (
            {"execution_id": "17", "status": "failed", "started_at": "s", "completed_at": "e", "end_time": ""},
            ExecutionSummary("17", None, "failed", "s", "e"),
        ),
        ({"execution_id": 17}, ExecutionSummary("17", None, "running", None, None)),
    ],
)
def test_execution_summary_is_read_from_either_dialect(item: dict[str, Any], expected: ExecutionSummary) -> None:
    assert execution_summary(item) == expected
