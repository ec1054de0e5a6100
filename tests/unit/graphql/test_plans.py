"""Plans: which operations have one, and what one does with variables, arguments, errors and order."""

from __future__ import annotations

import asyncio
import traceback
from typing import Any

import pytest
from graphql import ExecutionResult, GraphQLObjectType, GraphQLSchema, build_schema, execute

from proxy.errors import Forbidden
from proxy.graphql.documents import Documents, Operation
from proxy.graphql.limits import DocumentLimits
from proxy.graphql.plans import Plan

LIMITS = DocumentLimits(tokens=1000, depth=8, aliases=15, root_fields=10, directives=20, size=65536, cost=10000)
SCHEMA = """
scalar JSON
enum Color { RED GREEN }
input Box { side: Int! = 3 label: String! }
type Thing { id: ID! name: String! note: String tags: [String!] extra: JSON }
type Case { id: ID! parts(first: Int = 2, from: String): [Part!] must(first: Int): [Part!]! box: Case }
type Part { number: Int! extra: JSON }
type Query {
  box: Case
  needed_box: Case!
  boxes: [Case]
  thing(id: String!, color: Color = RED, first: Int = 5, box: Box, extra: JSON): Thing
  needed(id: String!): Thing!
  word: String!
}
type Mutation { first: Thing! second: Thing! }
"""
THING = {"id": "1", "name": "n", "note": None, "tags": ("a", "b"), "extra": {"deep": [1]}}


class World:
    """The context of a run: what resolvers answer, and what they were asked."""

    def __init__(self, answer: Any = None) -> None:
        self.answer = THING if answer is None else answer
        self.asked: list[dict[str, Any]] = []


def make_schema() -> GraphQLSchema:
    schema = build_schema(SCHEMA)

    async def resolve(_: Any, info: Any, **arguments: Any) -> Any:
        info.context.asked.append(arguments)
        await asyncio.sleep(0)
        answer = info.context.answer
        if isinstance(answer, Exception):
            raise answer
        return answer

    async def resolve_parts(parent: Any, info: Any, **arguments: Any) -> Any:
        info.context.asked.append({"of": parent["id"], **arguments})
        await asyncio.sleep(0)
        if arguments.get("first") == 0:
            raise Forbidden("no")
        return [{"number": number, "extra": {}} for number in range(arguments.get("first") or 0)]

    for kind in (schema.query_type, schema.mutation_type):
        assert kind is not None
        for field in kind.fields.values():
            field.resolve = resolve
    case = schema.type_map["Case"]
    assert isinstance(case, GraphQLObjectType)
    case.fields["parts"].resolve = case.fields["must"].resolve = resolve_parts
    assert schema.query_type is not None
    schema.query_type.fields["word"].resolve = lambda _, info: "w"
    return schema


SCHEMA_WITH_RESOLVERS = make_schema()


def prepared(text: str) -> Operation:
    found = Documents(SCHEMA_WITH_RESOLVERS, LIMITS, cache=0, suggestions=False).get(text)
    assert isinstance(found, Operation)
    return found


def planned(text: str) -> Plan:
    plan = prepared(text).plan(None)
    assert plan is not None
    return plan


async def run(text: str, world: World | None = None, **variables: Any) -> ExecutionResult:
    """The plan's result, which must be the executor's too."""
    world = world or World()
    result = await planned(text).run(world, variables)
    executed = execute(
        SCHEMA_WITH_RESOLVERS,
        prepared(text).document,
        context_value=World(world.answer),
        variable_values=variables,
        hide_suggestions=True,
    )
    expected = executed if isinstance(executed, ExecutionResult) else await executed
    assert result.formatted == expected.formatted
    return result


@pytest.mark.parametrize(
    "text",
    [
        "{ word }",
        "query Q($id: String!) { a: thing(id: $id) { name } b: thing(id: $id) { ...F } } fragment F on Thing { id }",
        "{ word @include(if: true) ... on Query @skip(if: false) { __typename } }",
        "mutation { first { id } second { id } }",
    ],
)
def test_a_plain_operation_has_a_plan(text: str) -> None:
    assert prepared(text).plan(None) is not None


@pytest.mark.parametrize(
    "text",
    [
        "{ __schema { queryType { name } } }",
        "query ($on: Boolean!) { word @include(if: $on) }",
        "query ($on: Boolean!) { ...F } fragment F on Query { word @skip(if: $on) }",
        "{ box { parts { number } more: parts { number } } }",
        "{ box { box { parts { number } } } }",
        "{ boxes { parts { number } } }",
    ],
    ids=[
        *("introspection", "condition on a variable", "condition on a variable in a fragment"),
        *("two resolvers below a root field", "a resolver two levels below", "a resolver in a list"),
    ],
)
def test_an_operation_that_is_not_plain_has_none(text: str) -> None:
    assert prepared(text).plan(None) is None


def test_each_operation_of_a_document_has_its_own_plan() -> None:
    found = prepared("query A { word } query B { word __typename }")
    a, b = found.plan("A"), found.plan("B")
    assert a is not None
    assert b is not None
    assert a is not b
    assert found.plan(None) is None


async def test_keys_come_in_the_order_of_the_document() -> None:
    result = await run('{ z: word thing(id: "1") { note id __typename name } a: word }')
    assert result.data is not None
    assert list(result.data) == ["z", "thing", "a"]
    assert list(result.data["thing"]) == ["note", "id", "__typename", "name"]


async def test_selections_of_one_key_are_merged() -> None:
    result = await run('{ thing(id: "1") { id } ...F } fragment F on Query { thing(id: "1") { name id } }')
    assert result.data == {"thing": {"id": "1", "name": "n"}}


async def test_plain_variables_and_defaults_reach_the_resolver() -> None:
    world = World()
    await run("query ($id: String!, $n: Int = 7) { thing(id: $id, first: $n) { id } }", world, id="x")
    assert world.asked == [{"id": "x", "color": "RED", "first": 7}]


async def test_a_variable_that_is_left_out_gives_way_to_the_default_of_the_argument() -> None:
    world = World()
    await run('query ($n: Int, $c: Color) { thing(id: "1", first: $n, color: $c) { id } }', world)
    assert world.asked == [{"id": "1", "color": "RED", "first": 5}]


async def test_null_for_a_variable_is_not_the_default() -> None:
    world = World()
    await run('query ($n: Int = 7) { thing(id: "1", first: $n) { id } }', world, n=None)
    assert world.asked == [{"id": "1", "color": "RED", "first": None}]


async def test_input_objects_are_coerced_with_their_defaults() -> None:
    world = World()
    await run('query ($l: String!) { thing(id: "1", box: {label: $l}) { id } }', world, l="x")
    assert world.asked[0]["box"] == {"side": 3, "label": "x"}


async def test_a_variable_of_a_custom_scalar_is_passed_as_it_is() -> None:
    world = World()
    await run('query ($e: JSON!) { thing(id: "1", extra: $e) { id } }', world, e=[{"a": None}, 1.5])
    assert world.asked[0]["extra"] == [{"a": None}, 1.5]


@pytest.mark.parametrize(
    ("text", "variables", "message"),
    [
        ("query ($id: String!) { needed(id: $id) { id } }", {}, "$id' has invalid value: Expected a value"),
        ("query ($id: String!) { needed(id: $id) { id } }", {"id": 5}, "String cannot represent a non string value: 5"),
        ("query ($n: Int) { thing(id: \"1\", first: $n) { id } }", {"n": 2**31}, "non 32-bit signed integer"),
        ("query ($c: Color) { thing(id: \"1\", color: $c) { id } }", {"c": "REDD"}, 'does not exist in "Color" enum'),
        ("query ($b: Box) { thing(id: \"1\", box: $b) { id } }", {"b": {}}, "required field"),
    ],
)  # fmt: skip
async def test_a_variable_that_does_not_fit_is_an_error_and_nothing_runs(
    text: str, variables: dict[str, Any], message: str
) -> None:
    world = World()
    result = await run(text, world, **variables)
    assert result.data is None
    assert result.errors is not None
    assert len(result.errors) == 1
    assert message.lower().replace("'", "").replace('"', "") in result.errors[0].message.lower().replace(
        "'", ""
    ).replace('"', "")
    assert "Did you mean" not in result.errors[0].message
    assert world.asked == []


async def test_null_for_an_argument_that_needs_a_value_is_an_error_of_the_field() -> None:
    result = await run('query ($id: String = "x") { word thing(id: $id) { id } }', id=None)
    assert result.data == {"word": "w", "thing": None}
    assert result.errors is not None
    assert result.errors[0].path == ["thing"]


async def test_an_error_of_a_nullable_root_field_leaves_the_others() -> None:
    result = await run('{ word thing(id: "1") { id } }', World(Forbidden("no")))
    assert result.data == {"word": "w", "thing": None}
    assert result.errors is not None
    assert isinstance(result.errors[0].original_error, Forbidden)


async def test_null_where_there_must_be_a_value_travels_to_the_nearest_nullable_field() -> None:
    result = await run('{ word thing(id: "1") { id name } }', World({**THING, "name": None}))
    assert result.data == {"word": "w", "thing": None}
    assert result.errors is not None
    assert result.errors[0].path == ["thing", "name"]


async def test_null_that_no_field_stops_leaves_no_data() -> None:
    result = await run('{ needed(id: "1") { id name } }', World({**THING, "tags": ["a", None], "name": None}))
    assert result.data is None


async def test_an_error_in_a_list_names_the_item() -> None:
    result = await run('{ thing(id: "1") { tags } }', World({**THING, "tags": ["a", {"not": "a text"}]}))
    assert result.errors is not None
    assert result.errors[0].path == ["thing", "tags", 1]
    assert result.data == {"thing": {"tags": None}}


async def test_mutations_run_one_after_the_other_and_stop_at_the_first_failure() -> None:
    world = World(Forbidden("no"))
    result = await run("mutation { first { id } second { id } }", world)
    assert result.data is None
    assert len(world.asked) == 1


async def test_a_resolver_that_fails_at_once_leaves_the_others_unstarted() -> None:
    schema = make_schema()
    assert schema.query_type is not None

    def fail(_: Any, info: Any) -> Any:
        raise Forbidden("no")

    schema.query_type.fields["word"].resolve = fail
    found = Documents(schema, LIMITS, cache=0, suggestions=False).get('{ thing(id: "1") { id } word }')
    assert isinstance(found, Operation)
    plan, world = found.plan(None), World()
    assert plan is not None
    result = await plan.run(world, {})
    assert (result.data, world.asked) == (None, [])


async def test_an_argument_that_is_refused_again_and_again_keeps_nothing_of_each_run() -> None:
    ready = planned('query ($id: String = "1") { thing(id: $id) { id } }').ready({"id": None})
    lengths = []
    for _ in range(3):
        errors = (await ready.run(World())).errors
        assert errors is not None
        lengths.append(len(list(traceback.walk_tb(errors[0].__traceback__))))
    assert lengths == lengths[:1] * 3


async def test_resolver_below_a_root_field_gets_its_value_and_its_own_arguments() -> None:
    world = World({"id": "c", "box": {"id": "d"}})
    text = (
        "query ($n: Int, $f: String) { box { id p: parts(first: $n, from: $f) { number __typename } box { id } } word }"
    )
    result = await run(text, world, f="x")
    assert world.asked == [{}, {"of": "c", "first": 2, "from": "x"}]
    assert result.data is not None
    assert list(result.data["box"]) == ["id", "p", "box"]
    assert [part["number"] for part in result.data["box"]["p"]] == [0, 1]


async def test_resolver_below_a_root_field_is_not_called_unless_it_is_selected() -> None:
    for text, answer in (("{ box { id } }", {"id": "c"}), ("{ box { id parts { number } } }", {"id": None})):
        world = World(answer)
        await run(text, world)
        assert world.asked == [{}]


@pytest.mark.parametrize("root", ["box", "needed_box"])
@pytest.mark.parametrize("below", ["parts", "must"])
async def test_error_of_a_resolver_below_a_root_field_is_that_of_its_field(root: str, below: str) -> None:
    result = await run(f"{{ {root} {{ id {below}(first: 0) {{ number }} }} }}", World({"id": "c"}))
    assert result.errors is not None
    assert result.errors[0].path == [root, below]
    left = {"id": "c", "parts": None} if below == "parts" else None
    assert result.data == (None if left is None and root == "needed_box" else {root: left})


async def test_variable_that_does_not_fit_below_a_root_field_is_an_error_and_nothing_runs() -> None:
    world = World({"id": "c"})
    result = await run("query ($n: Int) { box { parts(first: $n) { number } } }", world, n="5")
    assert (result.data, world.asked) == (None, [])


async def test_root_fields_with_resolvers_below_run_at_once() -> None:
    result = await run(
        '{ a: box { parts(first: 1) { number } } b: box { parts(first: 0) { number } } thing(id: "1") { id } }',
        World({**THING, "id": "c"}),
    )
    assert result.data == {"a": {"parts": [{"number": 0}]}, "b": {"parts": None}, "thing": {"id": "c"}}
