# ruff: noqa: E501 - data in lines
"""GraphQL documents: limits, validation, the cache, and plans beside graphql-core's executor.

Input: which schema and limits (one byte), what resolvers answer (one byte), a document, and after a NUL its variables
as JSON. A document is refused with errors that can be sent, or it runs; what is over a limit, counted naively, is
refused as such; a plan answers what the executor does.
"""

from __future__ import annotations

import asyncio
import json
import random
from collections.abc import Iterator
from functools import cache
from typing import Any

from graphql import (
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLEnumType,
    GraphQLError,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    OperationDefinitionNode,
    SelectionSetNode,
    parse,
)

from proxy.graphql.documents import Documents, Invalid, Operation
from proxy.graphql.http import rejected
from proxy.graphql.limits import DocumentLimits
from tests.attack import ways
from tests.property.graphql_documents import Case, Outcome
from tests.property.test_plans import REAL_SCHEMA, WIDE_SCHEMA, both

MAX_SIZE = 2048
WORDS = (
    "query ", "mutation ", "subscription ", "fragment F on ", "...F", "... on ", "__typename", "__schema", "__type", "@skip(if: ", "@include(if: $a)", "@deprecated", "true", "false", "null", '"""', "$a: Int!", "$b: JSON = ", "= {a: [1]}",
    "node(id: ", "nodes(outer: ", "needed", "word", "number(f: 1)", "leaf", "leaves", "maybe", "grid", "json", "must", "many", "change(outer: ", "set(id: ", "Query", "Mutation", "Node", "Leaf", "color: RED", "inner: {", "tags: [",
    "executePlaybook(name: ", "executionStatus(executionId: ", "playbooks", "version", "proxyRequest(input: ", "executionId", "status", "\\u0041", "\\u{1F600}", "#\n", "\ufeff", '\x00{"a": ',
)  # fmt: skip
SCHEMAS = (WIDE_SCHEMA, REAL_SCHEMA)
WIDE = DocumentLimits(tokens=600, depth=30, aliases=100, root_fields=50, directives=50, size=10**6, cost=10**6)
TIGHT = DocumentLimits(tokens=60, depth=4, aliases=3, root_fields=3, directives=2, size=10**6, cost=10**6)
_MOST = 5000


class Many(Exception):
    """More selections than are worth counting."""


@cache
def ready(which: int) -> tuple[Documents, Any, DocumentLimits]:
    """The documents of a schema with its limits."""
    schema, limits = SCHEMAS[which & 1], TIGHT if which & 2 else WIDE
    return Documents(schema, limits, cache=8, suggestions=False), schema, limits


@cache
def runner() -> asyncio.Runner:
    """The event loop; it is made once."""
    return asyncio.Runner()


def run(data: bytes) -> None:
    """Raise AssertionError where a document is not treated as it must be."""
    if len(data) < 3:
        return
    documents, schema, limits = ready(data[0])
    text, _, told = data[2:].decode("utf-8", "replace").partition("\x00")
    found = documents.get(text)
    excess = over(text, limits)
    if isinstance(found, Invalid):
        check_refusal(found, excess)
        return
    assert excess is False, f"not rejected, though over a limit: {text!r}"
    assert documents.get(text) is found
    plan = found.plan(None)
    if plan is not None and len(found.kinds) == 1:
        case = Case(text, variables(told), outcomes(schema, data[1]))
        executed, planned = runner().run(both(schema, found, case))
        assert planned == executed, f"plan {planned}\nexecutor {executed}"
    check_kinds(found)


def check_refusal(found: Invalid, excess: bool | None) -> None:
    """It has errors that can be sent, and suggest nothing; it is called too large just if it is."""
    assert found.errors
    answer = rejected(found.errors, found.code)
    json.dumps(answer.body)
    for error in found.errors:
        assert isinstance(error, GraphQLError)
        assert "Did you mean" not in error.message, error.message
    assert excess is None or found.limit or not excess, found.errors
    assert excess is None or excess or not found.limit, found.errors


def check_kinds(found: Operation) -> None:
    """The names and types are those of the document."""
    nodes = [node for node in found.document.definitions if isinstance(node, OperationDefinitionNode)]
    assert {node.name.value if node.name else None: node.operation for node in nodes} == dict(found.kinds)
    assert set(found.plans) <= set(found.kinds)


def over(text: str, limits: DocumentLimits) -> bool | None:
    """Whether a document is over a limit, with every fragment written out; None where that can't be told."""
    try:
        document = parse(text, max_tokens=limits.tokens)
    except GraphQLError as error:
        return True if "more that" in error.message or "token limit" in error.message else None
    except RecursionError:
        return None
    if text.count("@") > limits.directives and directives(document) > limits.directives:
        return True
    fragments = {node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)}
    try:
        for node in document.definitions:
            if isinstance(node, OperationDefinitionNode):
                depth, aliases, roots = count(node.selection_set, fragments, (), [0])
                if depth > limits.depth or aliases > limits.aliases or roots > limits.root_fields:
                    return True
    except (Many, RecursionError):
        return None
    return False


def directives(node: Any) -> int:
    """How many directives there are in a part of a document."""
    if isinstance(node, list | tuple):
        return sum(map(directives, node))
    if not hasattr(node, "keys"):
        return 0
    own = 1 if node.kind == "directive" else 0
    return own + sum(directives(getattr(node, key)) for key in node.keys if key != "loc")


def count(
    selections: SelectionSetNode, fragments: dict[str, FragmentDefinitionNode], inside: tuple[str, ...], seen: list[int]
) -> tuple[int, int, int]:
    """Depth, aliases and fields at the top of a selection set."""
    depth = aliases = roots = 0
    for node in selections.selections:
        seen[0] += 1
        if seen[0] > _MOST:
            raise Many
        if isinstance(node, FieldNode):
            below = (0, 0, 0)
            if node.selection_set is not None:
                below = count(node.selection_set, fragments, inside, seen)
            deep = 1 if node.name.value.startswith("__") else below[0] + 1
            part = (deep, below[1] + (node.alias is not None), 1)
        elif isinstance(node, FragmentSpreadNode):
            name = node.name.value
            if name in inside:
                raise Many  # within itself: validation refuses it
            spread = fragments.get(name)
            part = count(spread.selection_set, fragments, (*inside, name), seen) if spread else (0, 0, 0)
        else:
            part = count(node.selection_set, fragments, inside, seen)  # type: ignore[attr-defined]
        depth, aliases, roots = max(depth, part[0]), aliases + part[1], roots + part[2]
    return depth, aliases, roots


def variables(text: str) -> dict[str, Any]:
    """The variables of a request, where they are what JSON and the gateway allow."""
    try:
        found = json.loads(text)
    except (ValueError, RecursionError):
        return {}
    return found if isinstance(found, dict) else {}


def outcomes(schema: Any, number: int) -> dict[str, Outcome]:
    """What each root field's resolver does: what fits, and now and then what does not."""
    chance = random.Random(number)
    made = {}
    for root in (schema.query_type, schema.mutation_type):
        for name, field in root.fields.items():
            made[name] = Outcome(value(field.type, chance, 4), number > 3 and chance.random() < 0.1, number % 3)
    return made


def value(kind: Any, chance: random.Random, depth: int) -> Any:
    """A value of an output type, or none such."""
    odd = chance.random()
    if odd < 0.03:
        return chance.choice([None, 5, "x", {}, [None], ValueError("as a value"), float("nan")])
    if isinstance(kind, GraphQLNonNull):
        return value(kind.of_type, chance, depth)
    if isinstance(kind, GraphQLList):
        return [value(kind.of_type, chance, depth) for _ in range(chance.randrange(3))]
    if isinstance(kind, GraphQLEnumType):
        return chance.choice(sorted(kind.values))
    if isinstance(kind, GraphQLObjectType):
        return {name: value(f.type, chance, depth - 1) for name, f in kind.fields.items()} if depth else None
    fitting = {"String": "é", "ID": "x1", "Int": 7, "Float": 1.5, "Boolean": True}
    return fitting.get(kind.name, {"a": [1, None]})


def seeds() -> Iterator[bytes]:
    """The documents of the attack tests, and every shape that a plan knows."""
    for shape in ways.SHAPES.values():
        body = shape("open/a").partition(b"\r\n\r\n")[2]
        try:
            asked = json.loads(body)
        except ValueError:
            continue
        if isinstance(asked, dict) and "query" in asked:
            yield b"\x01\x00" + asked["query"].encode() + b"\x00" + json.dumps(asked["variables"]).encode()
    for number, text in enumerate(_DOCUMENTS):
        for which in (b"\x00", b"\x02"):
            yield which + bytes([number % 7]) + text.encode()


_DOCUMENTS = (
    "{ word }", "{ a: word b: word word }", 'query Q($i: ID!, $n: Int = 3) { node(id: $i, n: $n) { leaf { id many grid } } }\x00{"i": "x", "n": 4}',
    'query Q($o: Outer) { nodes(outer: $o, many: [1, 2]) { leaves { ...L } } } fragment L on Leaf { id text json }\x00{"o": {"inner": {"n": 1, "tags": ["a"]}}}',
    'mutation M($o: Outer!) { change(outer: $o, json: {a: $x}) { name } }\x00{"o": {"name": "n"}}', "query Q($b: Boolean!) { word @skip(if: $b) number @include(if: true) }\x00{\"b\": false}",
    "{ needed(json: {a: [1, {b: null}]}, color: GREEN) { leaf { must } must { id } node { node { node { name } } } } }", "{ __schema { types { name } } __typename }", "subscription { x }", "query A { word } query B { word }",
    "{ ...F } fragment F on Query { ...G } fragment G on Query { ...F }", "{ ...F ...F } fragment F on Query { ...G ...G } fragment G on Query { a: word b: word }", "{ word @a @b @c @d }", "{ node(id: 1) { ... { name } ... on Node { name } } }",
    '{ needed(json: """a\n  b""") { name } }', "{ wor }", "{ node }", "{", "", "#", '{ node(id: "\\ud83d\\ude00 \\u{1F600}") { name } }', "type X { a: Int }", "query ($a: [Int!]! = [1]) { nodes(many: $a) { name } }\x00{\"a\": [1, null]}",
)  # fmt: skip
