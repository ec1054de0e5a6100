"""Automatic persisted queries: what is kept is bounded, valid, and nobody pushes out what others keep."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from proxy.config.model import Graphql
from proxy.errors import BadRequest
from proxy.graphql.build import make_library
from proxy.graphql.documents import Invalid, Operation
from proxy.graphql.http import GraphqlRequest, hash_of, read_body, read_query
from proxy.graphql.persisted import ENTRY, Library, PersistedQueries
from proxy.graphql.schema import make_schema

SCHEMA = make_schema()
HASH = hash_of("{ version }")


def library(**keys: Any) -> Library:
    return make_library(SCHEMA, Graphql.model_validate(keys), Path())


def by_hash(text: str) -> GraphqlRequest:
    return GraphqlRequest(None, None, None, hash_of(text))


def with_hash(text: str) -> GraphqlRequest:
    return GraphqlRequest(text, None, None, hash_of(text))


def code(found: Operation | Invalid) -> str:
    assert isinstance(found, Invalid)
    return found.code


def test_a_hash_runs_once_its_text_was_sent() -> None:
    documents = library(apq=True)
    assert code(documents.find(by_hash("{ version }"), 1)) == "PERSISTED_QUERY_NOT_FOUND"
    sent = documents.find(with_hash("{ version }"), 1)
    assert isinstance(sent, Operation)
    assert documents.find(by_hash("{ version }"), 2) is sent


def test_where_it_is_off_a_hash_alone_is_not_supported_and_a_text_runs() -> None:
    documents = library()
    assert isinstance(documents.find(with_hash("{ version }"), 1), Operation)
    assert code(documents.find(by_hash("{ version }"), 1)) == "PERSISTED_QUERY_NOT_SUPPORTED"


def test_a_text_without_a_hash_is_not_kept() -> None:
    documents = library(apq=True)
    documents.find(GraphqlRequest("{ version }", None, None), 1)
    assert code(documents.find(by_hash("{ version }"), 1)) == "PERSISTED_QUERY_NOT_FOUND"


@pytest.mark.parametrize("text", ["{ nothing }", "{ version", "{ " + "me { email } " * 11 + "}"])
def test_a_document_that_can_not_run_is_not_kept(text: str) -> None:
    documents = library(apq=True)
    assert isinstance(documents.find(with_hash(text), 1), Invalid)
    assert code(documents.find(by_hash(text), 1)) == "PERSISTED_QUERY_NOT_FOUND"


def test_a_hash_runs_also_when_the_cache_of_documents_has_let_it_go() -> None:
    documents = library(apq=True, document_cache=0)
    documents.find(with_hash("{ version }"), 1)
    assert isinstance(documents.find(by_hash("{ version }"), 1), Operation)


def kept_by(count: int) -> PersistedQueries:
    """Room for so many texts of one letter, a quarter of them for each user."""
    return PersistedQueries(count * (ENTRY + 1))


def test_the_text_not_used_for_longest_goes_first() -> None:
    kept = kept_by(8)
    for number, letter in enumerate("abcdefgh"):
        kept.store(letter, letter, number // 2)
    assert kept.get("a") == "a"
    kept.store("i", "i", 9)
    assert [kept.get(letter) for letter in "abi"] == ["a", None, "i"]


def test_a_user_over_a_quarter_loses_their_own_and_nobody_elses() -> None:
    kept = kept_by(8)
    kept.store("x", "x", "another")
    for letter in "abcdefghijklm":
        kept.store(letter, letter, "greedy")
    assert kept.get("x") == "x"
    assert [letter for letter in "abcdefghijklm" if kept.get(letter)] == ["l", "m"]


def test_what_is_kept_never_takes_more_than_the_size() -> None:
    kept = kept_by(20)
    for number in range(5000):
        kept.store(str(number), "x" * (number % 700), number % 11)
        assert kept.bytes <= 20 * (ENTRY + 1)
    assert 0 < len(kept) <= 20


def test_a_text_larger_than_a_quarter_is_not_kept() -> None:
    kept = kept_by(8)
    kept.store("a", "a" * 3 * ENTRY, 1)
    assert (kept.get("a"), kept.bytes) == (None, 0)


def test_a_text_kept_already_stays_on_the_first_account() -> None:
    kept = kept_by(8)
    for who in (1, 2):
        kept.store("a", "a", who)
    assert (len(kept), kept.bytes) == (1, ENTRY + 1)


def extension(**keys: Any) -> dict[str, Any]:
    return {"extensions": {"persistedQuery": {"version": 1, "sha256Hash": HASH, **keys}}}


@pytest.mark.parametrize(
    "body",
    [extension(), {"documentId": f"sha256:{HASH}"}, {**extension(), "query": None, "documentId": None}],
    ids=["persistedQuery", "documentId", "null"],
)
def test_a_request_may_name_a_document_by_its_hash(body: dict[str, Any]) -> None:
    assert read_body(body, 1) == GraphqlRequest(None, None, None, HASH)


def test_a_get_may_name_a_document_by_its_hash() -> None:
    text = f'{{"persistedQuery": {{"version": 1, "sha256Hash": "{HASH}"}}}}'
    assert read_query({"extensions": text}) == GraphqlRequest(None, None, None, HASH)
    assert read_query({"documentId": f"sha256:{HASH}"}) == GraphqlRequest(None, None, None, HASH)


@pytest.mark.parametrize(
    ("body", "told"),
    [
        ({**extension(), "query": "{ health }"}, "sha256Hash is not the SHA-256 of query"),
        ({**extension(), "query": ""}, "query is required"),
        ({"documentId": f"sha256:{HASH}", "query": "{ version }"}, "not both"),
        (extension(sha256Hash=HASH.upper()), "64 hexadecimal digits"),
        (extension(sha256Hash=HASH[1:]), "64 hexadecimal digits"),
        (extension(sha256Hash=f"{HASH}\n"), "64 hexadecimal digits"),
        (extension(sha256Hash=None), "64 hexadecimal digits"),
        (extension(version=2), "version: 1"),
        (extension(version=True), "version: 1"),
        ({"extensions": {"persistedQuery": []}}, "version: 1"),
        ({"documentId": HASH}, "documentId must be sha256:"),
        ({"documentId": "md5:0"}, "documentId must be sha256:"),
        ({"documentId": 5}, "documentId must be sha256:"),
        ({"documentId": "sha256:../../secret"}, "documentId must be sha256:"),
    ],
)
def test_a_hash_that_is_none_or_another_texts_is_refused(body: dict[str, Any], told: str) -> None:
    with pytest.raises(BadRequest, match=told):
        read_body(body, 1)
