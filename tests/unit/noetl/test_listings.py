"""Entries of the catalog and of the list of executions, in both dialects."""

from __future__ import annotations

import json
from typing import Any

import pytest

from proxy.noetl.listings import (
    CatalogEntry,
    ExecutionSummary,
    about_of,
    catalog_entry,
    content_to_read,
    execution_page,
    execution_summary,
    newest_entries,
)

YAML = "metadata: {description: From text}\nworkload: {b: 2}\n"
DOCUMENT = {
    "apiVersion": "noetl.io/v2",
    "kind": "Playbook",
    "metadata": {"description": "From JSON"},
    "workload": {"a": 1},
    "workflow": [],
}


def entry_of(raw: dict[str, Any]) -> CatalogEntry | None:
    """Return an entry, whose content is read if it has to be."""
    content = content_to_read(raw)
    return catalog_entry(raw, about_of(content) if content is not None else None)


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (
            {"path": "a", "catalog_id": 7, "version": 3, "kind": "Playbook", "payload": DOCUMENT, "content": YAML},
            CatalogEntry("a", "7", 3, "playbook", "From JSON", {"a": 1}),
        ),
        ({"path": "a", "catalog_id": "7", "content": YAML}, CatalogEntry("a", "7", None, None, "From text", {"b": 2})),
        (
            {"path": "a", "catalog_id": 7, "version": "3", "kind": "", "payload": "x"},
            CatalogEntry("a", "7", None, None, None, None),
        ),
        (
            {"path": "a", "catalog_id": "7", "kind": "agent", "payload": {"kind": "x"}, "content": YAML},
            CatalogEntry("a", "7", None, "agent", "From text", {"kind": "x"}),
        ),
    ],
    ids=["payload is the playbook", "content is YAML", "malformed members are left out", "payload is the workload"],
)
def test_catalog_entry_is_read_from_either_dialect(raw: dict[str, Any], expected: CatalogEntry) -> None:
    assert entry_of(raw) == expected


@pytest.mark.parametrize("content", ["a: [", "- a", "text", "", 5, None, "!!python/object:os.system {}", "[" * 5000])
def test_malformed_content_of_an_entry_is_an_entry_without_details(content: object) -> None:
    assert entry_of({"path": "a", "content": content}) == CatalogEntry("a", None, None, None, None, None)


@pytest.mark.parametrize("raw", [None, "a", [], {}, {"path": None}, {"path": 5}])
def test_entry_without_a_path_is_none(raw: object) -> None:
    assert catalog_entry(raw, None) is None


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
        (
            {"execution_id": 17, "path": "a", "status": "RUNNING", "started_at": "s", "completed_at": "e"},
            ExecutionSummary("17", "a", "running", "s", None),
        ),
        ({"execution_id": 17}, ExecutionSummary("17", None, "running", None, None)),
    ],
)
def test_execution_summary_is_read_from_either_dialect(item: dict[str, Any], expected: ExecutionSummary) -> None:
    assert execution_summary(item) == expected


def test_content_with_aliases_that_stand_for_too_much_is_an_entry_without_details() -> None:
    lines = ["a0: &a0 [x, x, x, x, x, x, x, x, x, x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 10)}]" for n in range(1, 8)]
    entry = entry_of({"path": "a", "content": "\n".join([*lines, "workload: {b: *a7}"])})
    assert entry == CatalogEntry("a", None, None, None, None, None)


def test_catalog_has_the_newest_version_of_each_path_of_the_wanted_kind() -> None:
    entries = [
        {"path": "b", "catalog_id": "4", "version": 1, "kind": "Agent"},
        {"path": "a", "catalog_id": 3, "version": 1, "kind": "playbook"},
        {"path": "a", "catalog_id": "2", "version": 2, "kind": "Playbook"},
        {"path": "c"},
    ]
    data = json.dumps({"entries": entries}).encode()
    found = newest_entries(data, "playbook")
    assert (found.entries, found.paths) == ([entries[2], entries[3]], {"4": "b", "3": "a", "2": "a"})
    assert newest_entries(data, None).entries == [entries[2], entries[0], entries[3]]


@pytest.mark.parametrize("data", [b"{}", b"[]", b'{"entries": [1]}', b'{"entries": [{}]}', b'{"entries": []', b""])
def test_catalog_of_another_shape_is_a_value_error(data: bytes) -> None:
    with pytest.raises(ValueError, match=r".*"):
        newest_entries(data, None)


def test_page_of_executions_needs_an_id_for_each() -> None:
    assert [item.execution_id for item in execution_page(b'[{"execution_id": 123456789012345678}]')] == [
        "123456789012345678"
    ]
    for data in (b"{}", b"[1]", b'[{"path": "a"}]', b"[] []"):
        with pytest.raises(ValueError, match=r".*"):
            execution_page(data)
