"""Strategies: valid GraphQL documents for a schema, variables that fit or do not, and what resolvers answer."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from graphql import (
    GraphQLArgument,
    GraphQLEnumType,
    GraphQLField,
    GraphQLInputObjectType,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    get_named_type,
    is_leaf_type,
    is_required_argument,
    is_required_input_field,
)
from hypothesis import strategies as st

Draw = Callable[..., Any]
_WORDS = st.sampled_from(["", "a", "é", "RED", "7", "Infinity"])
_NUMBERS = st.one_of(st.integers(-5, 5), st.sampled_from([2**31, -(2**31), 1.5, 2.0, float("nan"), True]))
JSON = st.recursive(
    st.one_of(st.none(), _WORDS, _NUMBERS),
    lambda inner: st.one_of(st.lists(inner, max_size=2), st.dictionaries(_WORDS, inner, max_size=2)),
    max_leaves=4,
)
_LITERALS = {
    "String": ['"a"', '"""b"""', '""'],
    "ID": ['"x1"', "12"],
    "Int": ["0", "-3"],
    "Float": ["1.5", "2"],
    "Boolean": ["true", "false"],
    "JSON": ["{a: [1, null]}", "[]", '"j"', "4", "{}"],
}


@dataclass
class Outcome:
    """What a field's resolver does: wait for some turns of the loop, then answer or raise."""

    value: Any
    raises: bool
    turns: int


@dataclass
class Writing:
    """A document on its way: the variables and fragments that it has come to need."""

    draw: Draw
    variables: dict[str, tuple[str, str]] = field(default_factory=dict)
    fragments: list[str] = field(default_factory=list)

    def one_in(self, count: int) -> bool:
        """True once in a while."""
        return bool(self.draw(st.integers(1, count)) == count)


def literal(writing: Writing, kind: Any) -> str:
    """A literal of an input type, with a variable here and there."""
    if isinstance(kind, GraphQLNonNull):
        return literal(writing, kind.of_type)
    if writing.one_in(8):
        return "null"
    return _value(writing, kind)


def _value(writing: Writing, kind: Any) -> str:
    if isinstance(kind, GraphQLNonNull):
        return _value(writing, kind.of_type)
    if isinstance(kind, GraphQLList):
        item = kind.of_type
        return "[" + ", ".join(given(writing, item) for _ in range(writing.draw(st.integers(0, 2)))) + "]"
    if isinstance(kind, GraphQLInputObjectType):
        names = [n for n, f in kind.fields.items() if is_required_input_field(f) or writing.one_in(2)]
        return "{" + ", ".join(f"{name}: {given(writing, kind.fields[name].type)}" for name in names) + "}"
    if isinstance(kind, GraphQLEnumType):
        return str(writing.draw(st.sampled_from(sorted(kind.values))))
    return str(writing.draw(st.sampled_from(_LITERALS[kind.name])))


def given(writing: Writing, kind: Any, *, has_default: bool = False) -> str:
    """A value for a place of an input type: a literal, or a variable of a type that may stand there."""
    if not writing.one_in(2):
        return literal(writing, kind) if not isinstance(kind, GraphQLNonNull) else _value(writing, kind)
    name, declared, default = f"v{len(writing.variables)}", str(kind), ""
    if isinstance(kind, GraphQLNonNull) and writing.one_in(2):
        declared, default = str(kind.of_type), _constant(writing, kind.of_type)
    elif not isinstance(kind, GraphQLNonNull):
        if writing.one_in(4):
            declared += "!"
        if writing.one_in(4):
            default = _constant(writing, kind)
    writing.variables[name] = (declared, default)
    return f"${name}"


def _constant(writing: Writing, kind: Any) -> str:
    """A literal without variables."""
    alone = Writing(writing.draw)
    text = _value(alone, kind)
    return text if not alone.variables else {"[": "[]"}.get(text[0], '{name: "d"}' if "Outer" in str(kind) else "{}")


def arguments(writing: Writing, declared: dict[str, GraphQLArgument]) -> str:
    """Arguments of a field, in brackets if there are any."""
    parts = [
        f"{name}: {given(writing, argument.type)}"
        for name, argument in declared.items()
        if is_required_argument(argument) or writing.one_in(2)
    ]
    return f"({', '.join(parts)})" if parts else ""


def selection(writing: Writing, kind: GraphQLObjectType, depth: int, *, roots: bool = False) -> str:
    """A selection set of an object type."""
    parts = []
    for _ in range(writing.draw(st.integers(1, 4))):
        shape = writing.draw(st.integers(1, 10))
        if shape == 10 and depth > 0:
            parts.append(f"... on {kind.name} {selection(writing, kind, depth - 1, roots=roots)}")
        elif shape == 9 and depth > 0:
            name = f"F{len(writing.fragments)}"
            writing.fragments.append("")
            place = len(writing.fragments) - 1
            body = selection(writing, kind, depth - 1, roots=roots)
            writing.fragments[place] = f"fragment {name} on {kind.name} {body}"
            parts.append(f"...{name}")
        elif shape == 8:
            parts.append("__typename")
        else:
            parts.append(_field(writing, kind, depth, len(writing.variables) + len(writing.fragments) + len(parts)))
    return "{ " + " ".join(parts) + " }"


def _field(writing: Writing, kind: GraphQLObjectType, depth: int, number: int) -> str:
    leaves = [name for name, f in kind.fields.items() if is_leaf_type(get_named_type(f.type))]
    name = writing.draw(st.sampled_from(sorted(kind.fields) if depth > 0 or not leaves else leaves))
    definition: GraphQLField = kind.fields[name]
    given_ = arguments(writing, definition.args)
    alias = f"{name}{number}{writing.draw(st.integers(0, 99))}: " if given_ or writing.one_in(3) else ""
    condition = f" @{writing.draw(st.sampled_from(['skip(if: false)', 'include(if: true)', 'skip(if: true)']))}"
    text = f"{alias}{name}{given_}{condition if writing.one_in(10) else ''}"
    named = get_named_type(definition.type)
    return text if not isinstance(named, GraphQLObjectType) else f"{text} {selection(writing, named, depth - 1)}"


def raw_value(draw: Draw, declared: str, schema: GraphQLSchema) -> Any:
    """What a client sends for a variable: mostly what fits."""
    if draw(st.integers(1, 6)) == 6:
        return draw(JSON)
    name = declared.strip("[]!")
    if declared.startswith("["):
        return draw(st.lists(st.integers(0, 3), max_size=2))
    kind = schema.type_map.get(name)
    if isinstance(kind, GraphQLEnumType):
        return draw(st.sampled_from(sorted(kind.values)))
    if isinstance(kind, GraphQLInputObjectType):
        return draw(st.sampled_from([{}, {"name": "n"}, {"name": "n", "inner": {"n": 1}}, {"method": "GET"}]))
    fitting: dict[str, st.SearchStrategy[Any]] = {
        "String": _WORDS, "ID": _WORDS, "Int": st.integers(-9, 9), "Float": st.floats(-2, 2), "Boolean": st.booleans(),
    }  # fmt: skip
    return draw(fitting.get(name, JSON))


def resolved(draw: Draw, kind: Any, depth: int) -> Any:
    """A value that a resolver might give for an output type: mostly what fits; also null, an error, another type."""
    if draw(st.integers(1, 12)) == 12:
        return draw(st.one_of(st.none(), JSON, st.just(ValueError("as a value"))))
    if isinstance(kind, GraphQLNonNull):
        return resolved(draw, kind.of_type, depth)
    if isinstance(kind, GraphQLList):
        items = [resolved(draw, kind.of_type, depth) for _ in range(draw(st.integers(0, 2)))]
        return tuple(items) if draw(st.booleans()) else items
    if isinstance(kind, GraphQLEnumType):
        return draw(st.sampled_from(sorted(kind.values)))
    if isinstance(kind, GraphQLObjectType):
        if depth <= 0:
            return None
        return {name: resolved(draw, f.type, depth - 1) for name, f in kind.fields.items()}
    fitting = {
        "String": _WORDS, "ID": _WORDS, "Int": st.integers(-9, 9), "Float": st.floats(-2, 2), "Boolean": st.booleans(),
    }  # fmt: skip
    return draw(fitting.get(kind.name, JSON))


def resolved_below(schema: GraphQLSchema) -> dict[str, GraphQLField]:
    """The fields below the root that have a resolver, by the names of their type and of their own."""
    roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
    kinds = [kind for kind in schema.type_map.values() if isinstance(kind, GraphQLObjectType) and kind not in roots]
    fields = {f"{kind.name}.{name}": field for kind in kinds for name, field in kind.fields.items()}
    return {key: field for key, field in fields.items() if field.resolve is not None and not key.startswith("__")}


@dataclass
class Case:
    """A document, its variables, and what each root field's resolver does."""

    text: str
    variables: dict[str, Any]
    outcomes: dict[str, Outcome]


@st.composite
def cases(draw: Draw, schema: GraphQLSchema) -> Case:
    """A case for a schema."""
    writing = Writing(draw)
    word = draw(st.sampled_from(["query", "query", "mutation"]))
    root = schema.query_type if word == "query" else schema.mutation_type
    assert root is not None
    body = selection(writing, root, 3, roots=True)
    declared = [
        f"${name}: {kind}" + (f" = {default}" if default else "") for name, (kind, default) in writing.variables.items()
    ]
    heading = f"({', '.join(declared)})" if declared else ""
    text = "\n".join([f"{word} Q{heading} {body}", *writing.fragments])
    variables = {
        name: raw_value(draw, kind, schema) for name, (kind, _) in writing.variables.items() if not writing.one_in(6)
    }
    outcomes = {
        name: Outcome(resolved(draw, f.type, 3), writing.one_in(8), draw(st.integers(0, 2)))
        for name, f in {**root.fields, **resolved_below(schema)}.items()
    }
    return Case(text, variables, outcomes)
