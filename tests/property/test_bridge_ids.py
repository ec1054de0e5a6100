"""Ids on their way over the bridge keep their digits, in both directions, at any depth, in texts of any size."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from proxy.noetl.bridge.requests import execute, resource
from proxy.noetl.bridge.text import with_text_ids

IDS = st.integers(min_value=0, max_value=2**63 - 1)
NAMES = st.sampled_from(["execution_id", "catalog_id", "event_id", "command_id", "request_id", "parent_event_id"])
OTHERS = st.one_of(st.none(), st.booleans(), st.floats(allow_nan=False, allow_infinity=False), st.text(), IDS)
TEXTS = st.sampled_from(['"execution_id": 5', '{"event_id":7}', "\\", 'a,"catalog_id":1,', "ü"])


def documents() -> st.SearchStrategy[Any]:
    leaves = st.one_of(OTHERS, TEXTS, st.dictionaries(NAMES, st.one_of(IDS, TEXTS, st.none())))
    return st.recursive(
        leaves, lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.one_of(NAMES, st.text()), inner))
    )


def expected(value: Any, name: str = "") -> Any:
    """Return a document with its ids as texts, without any rule about texts."""
    ids = {"execution_id", "catalog_id", "event_id", "command_id", "request_id", "parent_event_id"}
    if isinstance(value, dict):
        return {key: expected(member, key) for key, member in value.items()}
    if isinstance(value, list):
        return [expected(member) for member in value]
    return str(value) if name in ids and type(value) is int else value


@given(documents(), st.sampled_from([None, 1]), st.booleans())
def test_ids_are_texts_with_the_same_digits_and_nothing_else_changes(
    document: Any, indent: int | None, ascii_only: bool
) -> None:
    text = json.dumps(document, indent=indent, ensure_ascii=ascii_only)
    assert json.loads(with_text_ids(text)) == expected(document)


@given(st.lists(st.fixed_dictionaries({"event_id": IDS, "x": TEXTS}), min_size=1, max_size=3))
def test_ids_of_a_large_text_are_texts_too(events: list[dict[str, Any]]) -> None:
    many = events * (300_000 // len(json.dumps(events)) + 1)
    assert json.loads(with_text_ids(json.dumps(many))) == expected(many)


@given(IDS, st.text())
def test_catalog_id_of_a_start_is_a_number_with_the_same_digits(number: int, other: str) -> None:
    document = {"workload": {"catalog_id": str(number), "x": other}, "catalog_id": str(number)}
    text = json.dumps(document)
    assert execute(document, text).text == text.replace(f'"catalog_id": "{number}"}}', f'"catalog_id": {number}}}')


@given(IDS)
def test_catalog_id_of_a_lookup_is_a_text_with_the_same_digits(number: int) -> None:
    document = {"catalog_id": number, "version": 3}
    assert resource(document, json.dumps(document)).text == f'{{"catalog_id": "{number}", "version": "3"}}'
