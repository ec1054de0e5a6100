"""Noticing that the configuration's files have changed."""

from __future__ import annotations

from pathlib import Path

from proxy.config.load import Loaded, load
from proxy.server.file_watch import Changes

TEXT = "acl: {default: allow}\n"


def loaded(folder: Path, text: str = TEXT) -> Loaded:
    file = folder / "gateway.yaml"
    file.write_text(text)
    return load(file, {})


def test_a_change_is_seen_once_and_only_when_it_has_settled(tmp_path: Path) -> None:
    current = loaded(tmp_path)
    changes = Changes(current)
    current.file.write_text(TEXT + "# one\n")
    assert [changes.detected(current) for _ in range(3)] == [False, True, False]


def test_files_that_stay_as_they_are_are_no_change(tmp_path: Path) -> None:
    current = loaded(tmp_path)
    changes = Changes(current)
    assert [changes.detected(current) for _ in range(3)] == [False, False, False]


def test_a_new_file_that_an_include_names_is_a_change(tmp_path: Path) -> None:
    (tmp_path / "one.inc").write_text("routes: []\n")
    current = loaded(tmp_path, TEXT + "include: ['*.inc']\n")
    changes = Changes(current)
    (tmp_path / "two.inc").write_text("routes: []\n")
    assert [changes.detected(current) for _ in range(2)] == [False, True]


def test_a_file_that_is_gone_is_a_change_and_no_failure(tmp_path: Path) -> None:
    current = loaded(tmp_path)
    changes = Changes(current)
    current.file.unlink()
    assert [changes.detected(current) for _ in range(2)] == [False, True]


def test_a_trusted_document_that_changes_is_a_change(tmp_path: Path) -> None:
    document = tmp_path / "documents" / "a.graphql"
    document.parent.mkdir()
    document.write_text("{ version }")
    current = loaded(tmp_path, "graphql: {trusted_documents: documents}\n")
    changes = Changes(current)
    document.write_text("{ health }")
    assert [changes.detected(current) for _ in range(2)] == [False, True]
