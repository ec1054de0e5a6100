"""No document keeps the event loop busy: parsing is bounded by limits, validating and planning by a deadline."""

from __future__ import annotations

import gc
import time
from typing import Any

import pytest
from graphql import parse

from proxy.config.model import Graphql
from proxy.graphql.build import make_library
from proxy.graphql.documents import Invalid, Operation
from proxy.graphql.http import GraphqlRequest
from proxy.graphql.plans import make_plans
from proxy.graphql.schema import make_schema
from proxy.graphql.validation import Deadline, Overtime, validate_in_time, without_collection
from tests.unit.graphql.worst import SHIPPED, WORST

SCHEMA = make_schema()
LARGER = {"size": "1MiB", "tokens": 20_000, "cost": 999_999}
PARSING = 0.2
"""Far more processor time than parsing needs within the limits that are used here."""


def settings(**keys: Any) -> Graphql:
    """The shipped settings, but for some keys as they stand in a file."""
    return Graphql.model_validate(keys)


def prepared(text: str, settings: Graphql) -> tuple[Operation | Invalid, float]:
    """What becomes of a document that was not seen before, and the processor time that it took."""
    library = make_library(SCHEMA, settings, SHIPPED)
    start = time.thread_time()
    return library.find(GraphqlRequest(text, None, None), 1), time.thread_time() - start


@pytest.mark.parametrize("name", WORST)
def test_the_worst_documents_within_the_shipped_limits_end_in_time(name: str) -> None:
    shipped = Graphql()
    _, seconds = prepared(WORST[name], shipped)
    assert seconds < shipped.validation_timeout + PARSING


REPETITIVE = [
    "the same field 700 times",
    "the same field 990 times",
    "two fragments of the same fields",
    "operations and a long fragment",
    "fragments beside each other",
]


@pytest.mark.parametrize("name", REPETITIVE)
def test_document_that_repeats_fields_too_often_is_rejected_early(name: str) -> None:
    """However much time it has."""
    found, seconds = prepared(WORST[name], settings(validation_timeout="60s"))
    assert isinstance(found, Invalid)
    assert found.code == "LIMIT_EXCEEDED"
    assert found.errors[0].message == "The document repeats fields too often; remove the repetitions"
    assert seconds < PARSING


@pytest.mark.parametrize("name", ["the same field 100 times", "60 fragments"])
def test_repetitions_of_generated_documents_are_accepted(name: str) -> None:
    fragments = " ".join(f"fragment F{i} on User {{ __typename email }}" for i in range(60))
    spread = "{ me { __typename " + " ".join(f"...F{i}" for i in range(60)) + " } } " + fragments
    text = spread if name == "60 fragments" else "{ me { " + "email " * 100 + "} }"
    found, _ = prepared(text, settings(validation_timeout="60s"))
    assert isinstance(found, Operation)


def test_comparison_of_fields_ends_with_the_deadline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("proxy.graphql.validation._MAX_STEPS", 10**9)
    found, seconds = prepared(WORST["the same field 700 times"], settings(validation_timeout="10ms"))
    assert isinstance(found, Invalid)
    assert found.errors[0].message == "The document takes too long to validate (graphql.validation_timeout)"
    assert seconds < 0.01 + PARSING


def test_larger_limits_make_no_document_take_longer_than_the_deadline() -> None:
    operations = " ".join(f"query Q{i} {{ me {{ ...F }} }}" for i in range(1000))
    text = f"{operations} fragment F on User {{ {'email ' * 500} }}"
    found, seconds = prepared(text, settings(limits=LARGER, validation_timeout="20ms"))
    assert isinstance(found, Invalid)
    assert found.code == "LIMIT_EXCEEDED"
    assert seconds < 0.02 + 2 * PARSING


def test_many_mistakes_are_mistakes_and_no_limit() -> None:
    found, _ = prepared("{ " + " ".join(f"gone{i}" for i in range(9)) + " }", Graphql())
    assert isinstance(found, Invalid)
    assert found.code == "BAD_USER_INPUT"
    assert len(found.errors) == 6


def test_validation_looks_at_the_clock_at_each_node() -> None:
    with pytest.raises(Overtime):
        validate_in_time(SCHEMA, parse("{ version }"), Deadline(-1), hide_suggestions=True)


def test_planning_looks_at_the_clock() -> None:
    with pytest.raises(Overtime):
        make_plans(SCHEMA, parse("{ version }"), Deadline(-1), hide=True)


@pytest.mark.parametrize(
    ("text", "code"),
    [
        ("{ a " * 600 + "}" * 600, "LIMIT_EXCEEDED"),
        ("{ version } " + "# x\n" * 1000, "LIMIT_EXCEEDED"),
        ('mutation { executePlaybook(name: "a", variables: ' + "[" * 480 + "]" * 480 + ") { id } }", "LIMIT_EXCEEDED"),
        ("{ version ", "BAD_USER_INPUT"),
        ("{ \ud800 }", "BAD_USER_INPUT"),
    ],
)
def test_syntax_error_and_exceeded_limit_have_different_codes(text: str, code: str) -> None:
    found, _ = prepared(text, Graphql())
    assert isinstance(found, Invalid)
    assert found.code == code


def test_a_collection_of_garbage_does_not_take_the_documents_time() -> None:
    counts = gc.get_stats()[0]["collections"]
    with without_collection():
        assert not gc.isenabled()
        assert [[index] for index in range(5000)]
        assert gc.get_stats()[0]["collections"] == counts
    assert gc.isenabled()
