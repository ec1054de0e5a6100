"""Plans: for any document, variables and outcomes a plan answers byte for byte what graphql-core's `execute` does."""

from __future__ import annotations

import asyncio
import inspect
import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import pytest
from graphql import ExecutionResult, GraphQLSchema, build_schema, execute
from hypothesis import HealthCheck, Phase, assume, event, given, settings

from proxy.errors import NotFound
from proxy.graphql.documents import Documents, Operation
from proxy.graphql.http import answered
from proxy.graphql.limits import DocumentLimits
from proxy.graphql.schema import make_schema
from tests.property.graphql_documents import Case, Outcome, cases, resolved_below

LIMITS = DocumentLimits(tokens=5000, depth=30, aliases=500, root_fields=100, directives=100, size=10**6, cost=10**7)
WIDE = """
scalar JSON
enum Color { RED GREEN }
input Inner { n: Int! = 3 tags: [String!] color: Color }
input Outer { inner: Inner name: String! json: JSON }
type Leaf {
  id: ID! text: String total: Int ratio: Float flag: Boolean! color: Color json: JSON must: String! many: [Int!]
  grid: [[String]!]
}
type Node { leaf: Leaf leaves: [Leaf!]! maybe: [Leaf] must: Leaf! name: String! node: Node }
type Query {
  node(id: ID!, n: Int = 5, name: String! = "x"): Node
  needed(json: JSON, color: Color = RED): Node!
  nodes(outer: Outer, many: [Int!]): [Node]
  word: String!
  number(f: Float, b: Boolean): Int
}
type Mutation { change(outer: Outer!, json: JSON = {a: 1}): Node set(id: ID!, color: Color): Leaf! word: String }
"""


@dataclass
class Context:
    """What the test's resolvers need, and what they were called with."""

    outcomes: Mapping[str, Outcome]
    calls: list[tuple[str, dict[str, Any]]] = field(default_factory=list)


def with_resolvers(schema: GraphQLSchema) -> GraphQLSchema:
    """The schema with resolvers that do what the context says; those without arguments answer at once."""
    for key, definition in resolved_below(schema).items():
        definition.resolve = _resolver(key, at_once=False)
    for kind in (schema.query_type, schema.mutation_type):
        assert kind is not None
        for name, definition in kind.fields.items():
            definition.resolve = _resolver(name, at_once=not definition.args)
    return schema


def _resolver(name: str, *, at_once: bool) -> Any:
    def answer(outcome: Outcome) -> Any:
        if outcome.raises:
            raise NotFound(f"no {name}") if outcome.turns else KeyError(name)
        return outcome.value

    def resolve(_: Any, info: Any, **arguments: Any) -> Any:
        info.context.calls.append((name, arguments))
        return answer(info.context.outcomes[name])

    async def resolve_later(_: Any, info: Any, **arguments: Any) -> Any:
        info.context.calls.append((name, arguments))
        outcome = info.context.outcomes[name]
        for _turn in range(outcome.turns):
            await asyncio.sleep(0)
        return answer(outcome)

    return resolve if at_once else resolve_later


def without_lost_errors(result: ExecutionResult) -> ExecutionResult:
    """The result without errors of events whose execution is null, because of another field.

    The executor still waits for the events then, and the plan does not request them.
    """
    data = result.data or {}
    kept = [
        error
        for error in result.errors or ()
        if error.path is None
        or len(error.path) < 2
        or not str(error.path[1]).startswith("events")
        or data.get(str(error.path[0])) is not None
    ]
    return ExecutionResult(result.data, kept or None)


async def both(schema: GraphQLSchema, operation: Operation, case: Case) -> tuple[Any, Any]:
    """What the executor and the plan answer, and what each called."""
    plan = operation.plan(None)
    assert plan is not None
    seen = []
    for planned in (False, True):
        context = Context(case.outcomes)
        if planned:
            result = await plan.run(context, case.variables)
        else:
            outcome = execute(
                schema,
                operation.document,
                context_value=context,
                variable_values=case.variables,
                hide_suggestions=True,
            )
            result = await outcome if inspect.isawaitable(outcome) else outcome
        assert isinstance(result, ExecutionResult)
        answer, behind = answered(without_lost_errors(result), {})
        causes = [type(cause) for _, cause in behind]
        calls = [
            (name, repr(sorted(arguments.items())))
            for name, arguments in context.calls
            if result.data is not None or "." not in name  # those below may be cancelled before they begin
        ]
        seen.append((json.dumps(answer.body), answer.status, causes, calls))
        for _ in range(5):
            await asyncio.sleep(0)
    return seen[0], seen[1]


def check(schema: GraphQLSchema, case: Case) -> None:
    """Both answer the same."""
    found = Documents(schema, LIMITS, cache=0, suggestions=False).get(case.text)
    if not isinstance(found, Operation):
        event("invalid document")
        assume(False)
        raise AssertionError
    if found.plan(None) is None:
        assert case.text.count("events") > 1  # two resolvers below one root field
        event("no plan")
        return
    executed, planned = asyncio.run(both(schema, found, case))
    event("errors" if '"errors"' in executed[0] else "data only")
    assert planned == executed


WIDE_SCHEMA = with_resolvers(build_schema(WIDE))
REAL_SCHEMA = with_resolvers(make_schema())
many = settings(
    max_examples=150,
    phases=[Phase.explicit, Phase.reuse, Phase.generate],  # to shrink a document takes minutes and tells little more
    suppress_health_check=list(HealthCheck),
)


@pytest.mark.slow
@many
@given(cases(WIDE_SCHEMA))
def test_a_plan_answers_byte_for_byte_what_the_executor_does(case: Case) -> None:
    check(WIDE_SCHEMA, case)


@pytest.mark.slow
@many
@given(cases(REAL_SCHEMA))
def test_a_plan_answers_the_same_on_the_schema_of_the_gateway(case: Case) -> None:
    check(REAL_SCHEMA, case)
