"""What a document costs, and which limit it exceeds, before anything is validated."""

from __future__ import annotations

import pytest
from graphql import get_introspection_query, parse

from proxy.config.model import Graphql
from proxy.graphql.build import make_library
from proxy.graphql.documents import Invalid, Operation
from proxy.graphql.http import GraphqlRequest
from proxy.graphql.limits import cost_of
from proxy.graphql.schema import make_schema
from tests.unit.graphql.worst import SHIPPED

SCHEMA = make_schema()
LARGEST = "playbooks { name description variables version kind __typename }"


@pytest.mark.parametrize(
    ("text", "cost"),
    [
        ("{ version }", 1),
        ("{ __typename }", 1),
        ("{ health }", 10),
        ("{ me { email userId } }", 3),
        ("{ me { roles } }", 11),
        ('{ playbook(name: "a") { name kind } }', 12),
        ('{ executionStatus(executionId: "1") { status completedSteps } }', 21),
        ("{ executions { id path } }", 110),
        ("{ executions(first: 3) { id path } }", 16),
        ("{ executions(first: null) { id path } }", 110),
        ("query ($n: Int) { executions(first: $n) { id } }", 1010),
        ("query ($n: Int = 1) { executions(first: $n) { id } }", 1010),
        ("{ executions(first: -1) { id } }", 10),
        ("{ executions(first: 99999999999999999999) { id } }", 1_000_000),
        ('{ executions(first: "3") { id } }', 1010),
        ("{ executions(first: 1, first: 7) { id } }", 17),
        ("{ playbooks { name } }", 1010),
        ("{ playbooks { ...F } } fragment F on Playbook { name kind }", 2010),
        ("{ a: playbooks(first: 5) { ...F } ...G } fragment F on Playbook { name } fragment G on Query { health ...H } "
         "fragment H on Query { version }", 26),
        ("{ ... on Query { ... { playbooks(first: 2) { ... { name } } } } }", 12),
        ("{ playbooks(first: 20) { name version } executions { id status } }", 160),
        ('{ execution(id: "1") { status events { id result } } }', 221),
        ('{ execution(id: "1") { events(first: 7, after: "5") { id } } }', 27),
        ('query ($n: Int) { execution(id: "1") { events(first: $n) { id } } }', 1020),
        ('{ execution(id: "1") { a: events(first: 1) { id } b: events(first: 2) { id } } }', 33),
        ("{ ...F } fragment F on Query { version ...F }", 1),
        ("{ ...Gone }", 0),
        ("{ nothing { at { all } } }", 3),
        ("{ ... on Nothing { at } }", 1),
        ('mutation { executePlaybook(name: "a") { executionId status } }', 12),
        ("query A { version } query B { health }", 10),
        ("{ __schema { types { name } } }", 15),
    ],
)  # fmt: skip
def test_a_document_costs_what_its_dearest_operation_does(text: str, cost: int) -> None:
    assert cost_of(SCHEMA, parse(text)) == cost


def found(text: str) -> Operation | Invalid:
    """What the shipped settings make of a document."""
    return make_library(SCHEMA, Graphql(), SHIPPED).find(GraphqlRequest(text, None, None), 1)


def test_an_operation_over_the_cost_is_refused_with_its_cost_and_the_limit() -> None:
    refused = found(f"{{ a: {LARGEST} b: {LARGEST} }}")
    assert isinstance(refused, Invalid)
    assert refused.code == "LIMIT_EXCEEDED"
    assert [error.message for error in refused.errors] == [
        "The operation costs 12020, and graphql.limits.cost is 10000"
    ]


def test_cost_above_the_countable_maximum_is_reported() -> None:
    refused = found("{ executions(first: 123456789) { id } }")
    assert isinstance(refused, Invalid)
    assert refused.errors[0].message == "The operation costs 1000000 or more, and graphql.limits.cost is 10000"


def test_fragments_that_double_each_other_are_counted_without_being_expanded() -> None:
    doubling = "".join(f"fragment F{i} on User {{ ...F{i + 1} ...F{i + 1} }}" for i in range(40))
    refused = found("{ me { ...F0 } }" + doubling + "fragment F40 on User { email roles }")
    assert isinstance(refused, Invalid)
    assert "1000000 or more" in refused.errors[0].message


def test_aliases_within_introspection_count() -> None:
    refused = found("{ __schema { types { " + " ".join(f"a{i}: name" for i in range(16)) + " } } }")
    assert isinstance(refused, Invalid)
    assert refused.errors[0].message == "The operation has more than 15 aliases"


@pytest.mark.parametrize(
    "text",
    [
        'mutation { executePlaybook(name: "my_playbook", variables: {}) { executionId } }',
        "mutation ExecutePlaybook($name: String!, $vars: JSON!) "
        "{ executePlaybook(name: $name, variables: $vars) { executionId status } }",
        "query GetStatus($id: String!) { executionStatus(executionId: $id) "
        "{ executionId status completed failed currentStep completedSteps variables } }",
        f"{{ {LARGEST} executions {{ id executionId path status startTime endTime __typename }} }}",
        "query ($n: Int) { executions(first: $n) { id executionId path status startTime endTime __typename } }",
        get_introspection_query(),
        get_introspection_query(specified_by_url=True, directive_is_repeatable=True, schema_description=True,
                                input_value_deprecation=True),
    ],
)  # fmt: skip
def test_what_clients_ask_for_is_within_the_shipped_limits(text: str) -> None:
    assert isinstance(found(text), Operation)


@pytest.mark.parametrize(("length", "fits"), [(64 * 1024, True), (64 * 1024 + 1, False)])
def test_a_text_may_be_as_long_as_the_size_says(length: int, fits: bool) -> None:
    assert isinstance(found("{ version }".ljust(length)), Operation) == fits


def test_the_size_is_counted_in_bytes() -> None:
    refused = found("{ version } #" + "é" * 33_000)
    assert isinstance(refused, Invalid)
    assert refused.code == "LIMIT_EXCEEDED"
