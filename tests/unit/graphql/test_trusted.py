"""Trusted documents: what a folder may hold, what is told of what is wrong, and that nothing else runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from proxy.config.model import Graphql
from proxy.config.problems import ConfigError
from proxy.graphql.build import make_library
from proxy.graphql.documents import Invalid, Operation
from proxy.graphql.http import GraphqlRequest, hash_of
from proxy.graphql.persisted import Library
from proxy.graphql.schema import make_schema
from tests.unit.graphql.worst import WORST

SCHEMA = make_schema()
STATUS = "query S($id: String!) {\n  executionStatus(executionId: $id) { status }\n}\n"


def library(folder: Path, **files: str) -> Library:
    """A gateway's documents, where the folder holds these files; `__` in a name is a dot, and `___` a slash."""
    for name, text in files.items():
        file = folder / "trusted" / name.replace("___", "/").replace("__", ".")
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(text)
    return make_library(SCHEMA, Graphql(trusted_documents="trusted"), folder)


def told(folder: Path, **files: str) -> list[str]:
    """The problems of such a folder, without where it is."""
    with pytest.raises(ConfigError) as caught:
        library(folder, **files)
    return [str(problem).replace(f"{folder}/trusted/", "") for problem in caught.value.problems]


def by_text(text: str) -> GraphqlRequest:
    return GraphqlRequest(text, None, None)


def by_hash(text: str) -> GraphqlRequest:
    return GraphqlRequest(None, None, None, hash_of(text))


def test_a_trusted_document_runs_by_its_text_and_by_its_hash(tmp_path: Path) -> None:
    documents = library(tmp_path, status__graphql=STATUS)
    for wanted in (by_text(STATUS), by_hash(STATUS), by_text(STATUS.strip()), by_hash(STATUS.strip())):
        assert isinstance(documents.find(wanted, 1), Operation)


@pytest.mark.parametrize("text", ["{ version }", STATUS.replace("status", "path"), STATUS + "#", ""])
def test_no_other_document_runs(tmp_path: Path, text: str) -> None:
    documents = library(tmp_path, status__graphql=STATUS)
    for wanted in (by_text(text), by_hash(text), GraphqlRequest(text, None, None, hash_of(text))):
        found = documents.find(wanted, 1)
        assert isinstance(found, Invalid)
        assert found.code == "DOCUMENT_NOT_TRUSTED"
    assert documents.known(text) is None


def test_the_fast_path_finds_trusted_documents_only(tmp_path: Path) -> None:
    documents = library(tmp_path, status__graphql=STATUS)
    assert documents.known(STATUS) is not None
    assert documents.known("{ version }") is None


def test_a_manifest_holds_texts_by_their_hash(tmp_path: Path) -> None:
    texts = ["{ version }", STATUS]
    manifest = {hash_of(texts[0]): texts[0], f"sha256:{hash_of(texts[1])}": texts[1]}
    documents = library(tmp_path, web___manifest__json=json.dumps(manifest))
    assert all(isinstance(documents.find(by_hash(text), 1), Operation) for text in texts)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{ version ", "a.graphql:1:11: Expected Name, found <EOF>."),
        ("{\n  nothing\n}", "a.graphql:2:3: Cannot query field 'nothing' on type 'Query'."),
        ("", "a.graphql:1:1: Unexpected <EOF>."),
        ("fragment F on User { email }", "a.graphql:1:1: Fragment 'F' is never used."),
        (
            "{ executions(first: 9999) { id path } }",
            "a.graphql:1:1: The operation costs 20008, and graphql.limits.cost is 10000",
        ),
    ],
)
def test_invalid_document_is_reported_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    assert told(tmp_path, a__graphql=text) == [problem]


def test_every_invalid_document_is_reported(tmp_path: Path) -> None:
    found = told(tmp_path, a__graphql="{", b__graphql="{ gone }", c__graphql="{ version }", d___e__json="[")
    assert [line.partition(" ")[0] for line in found] == ["a.graphql:1:2:", "b.graphql:1:3:", "d/e.json:1:2:"]


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{\n nonsense", "a.json:2:2: is not JSON"),
        ("[]", "a.json:1:1: needs an object of texts by their SHA-256"),
        ('{"a": 1}', "a.json:1:1: needs an object of texts by their SHA-256"),
        ('{\n  "abc": "{ version }"}', 'a.json:2:3: "abc" is not the SHA-256 of its document'),
        (
            "{\n  " + json.dumps(hash_of("{ gone }")) + ': "{ gone }"}',
            "a.json:2:3: Cannot query field 'gone' on type 'Query'. (line 1, column 3 of the document)",
        ),
    ],
)
def test_invalid_manifest_is_reported_with_its_place(tmp_path: Path, text: str, problem: str) -> None:
    (line,) = told(tmp_path, a__json=text)
    assert line.startswith(problem)


def test_binary_file_is_reported(tmp_path: Path) -> None:
    (tmp_path / "trusted").mkdir()
    (tmp_path / "trusted" / "a.graphql").write_bytes(b"\xff")
    assert told(tmp_path) == ["a.graphql:1:1: can't be read: it is not UTF-8"]


def test_other_files_are_let_be(tmp_path: Path) -> None:
    documents = library(tmp_path, a__graphql="{ version }", README__md="{ nothing", __hidden="{")
    assert isinstance(documents.find(by_text("{ version }"), 1), Operation)


def test_nobody_waits_for_trusted_documents_so_they_have_no_deadline(tmp_path: Path) -> None:
    slow = WORST["two fragments of the same fields"]
    assert isinstance(library(tmp_path, slow__graphql=slow).find(by_text(slow), 1), Operation)
