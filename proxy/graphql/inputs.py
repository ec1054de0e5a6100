"""Coercion of the variables and arguments of a planned operation, prepared once per document. Pure.

This module handles only values that graphql-core would use unchanged or replace by a constant default. All other
values, and all errors, go through graphql-core's own coercion, so that rules and error texts exist once.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from typing import Any

from graphql import (
    FieldNode,
    GraphQLArgument,
    GraphQLBoolean,
    GraphQLEnumType,
    GraphQLError,
    GraphQLField,
    GraphQLFloat,
    GraphQLID,
    GraphQLInt,
    GraphQLNonNull,
    GraphQLScalarType,
    GraphQLSchema,
    GraphQLString,
    Node,
    Undefined,
    ValueNode,
    VariableDefinitionNode,
    VariableNode,
    get_argument_values,
    get_variable_values,
    is_required_argument,
    type_from_ast,
    visit,
)
from graphql.execution.values import VariableValues, coerce_argument
from graphql.language import Visitor

MAX_ERRORS = 50
"""The maximum number of errors about variables, as in graphql-core's `execute`."""
_INT = 2**31
_CONSTANTS = (str, int, float, bool, type(None))
Raw = Mapping[str, Any]
Plain = Callable[[Any], bool]


def _is_text(value: Any) -> bool:
    return type(value) is str


def _is_int(value: Any) -> bool:
    return type(value) is int and -_INT <= value < _INT


def _is_float(value: Any) -> bool:
    return type(value) is float and math.isfinite(value)


def _is_flag(value: Any) -> bool:
    return type(value) is bool


def _is_any(value: Any) -> bool:
    return value is not None


_PLAIN: dict[str, Plain] = {
    GraphQLString.name: _is_text,
    GraphQLID.name: _is_text,
    GraphQLInt.name: _is_int,
    GraphQLFloat.name: _is_float,
    GraphQLBoolean.name: _is_flag,
}


def _plain(kind: Any) -> Plain | None:
    """Return a test for values of this type that coercion does not change; None if there is no simple test."""
    if isinstance(kind, GraphQLEnumType):
        names = frozenset(name for name, value in kind.values.items() if value.value == name)
        return lambda value: type(value) is str and value in names
    if not isinstance(kind, GraphQLScalarType):
        return None
    if kind.name in _PLAIN:
        return _PLAIN[kind.name]
    return _is_any if kind.coerce_input_value is GraphQLScalarType.parse_value else None


class Variables:
    """The variables of one operation."""

    __slots__ = ("_hide", "_nodes", "_rows", "_schema", "_simple")

    def __init__(self, schema: GraphQLSchema, nodes: Sequence[VariableDefinitionNode], *, hide: bool) -> None:
        self._schema = schema
        self._nodes = nodes
        self._hide = hide
        self._rows: list[tuple[str, bool, Plain, Any]] = []
        self._simple = self._prepare()

    def _prepare(self) -> bool:
        for node in self._nodes:
            kind: Any = type_from_ast(self._schema, node.type)
            nullable = not isinstance(kind, GraphQLNonNull)
            plain = _plain(kind if nullable else kind.of_type)
            name, default = node.variable.name.value, Undefined
            if node.default_value is not None:
                known = get_variable_values(self._schema, [node], {})
                if isinstance(known, list) or not isinstance(known.coerced[name], _CONSTANTS):
                    return False
                default = known.coerced[name]
            if plain is None:
                return False
            self._rows.append((name, nullable, plain, default))
        return True

    def plain(self, raw: Raw) -> dict[str, Any] | None:
        """Return the values if coercion does not change them; None if `full` must coerce them."""
        if not self._simple:
            return None
        values: dict[str, Any] = {}
        for name, nullable, plain, default in self._rows:
            value = raw.get(name, Undefined)
            if value is Undefined:
                if default is not Undefined:
                    values[name] = default
                elif not nullable:
                    return None
            elif value is None:
                if not nullable:
                    return None
                values[name] = None
            elif plain(value):
                values[name] = value
            else:
                return None
        return values

    def full(self, raw: Raw) -> VariableValues | list[GraphQLError]:
        """Return the values as coerced by graphql-core, or its errors."""
        return get_variable_values(self._schema, self._nodes, dict(raw), MAX_ERRORS, self._hide)


class Arguments:
    """The arguments of one field: constants, and references to variables."""

    __slots__ = ("_constants", "_definition", "_hide", "_node", "_plain", "_rows")

    def __init__(self, definition: GraphQLField, node: FieldNode, *, hide: bool) -> None:
        self._definition = definition
        self._node = node
        self._hide = hide
        self._constants: dict[str, Any] = {}
        self._rows: list[tuple[str, str, bool, Any]] = []
        given = {argument.name.value: argument.value for argument in node.arguments or ()}
        self._plain = all(self._prepare(name, argument, given.get(name)) for name, argument in definition.args.items())

    def _prepare(self, name: str, argument: GraphQLArgument, value: ValueNode | None) -> bool:
        out = argument.out_name or name
        if isinstance(value, VariableNode):
            required = is_required_argument(argument)
            default = Undefined if required else self._constant(name, argument, without=True)
            if default is not Undefined and not isinstance(default, _CONSTANTS):
                return False
            nullable = not isinstance(argument.type, GraphQLNonNull)
            self._rows.append((out, value.name.value, nullable, default))
            return True
        if value is not None and uses_variables(value):
            return False
        constant = self._constant(name, argument, without=value is None)
        if constant is Undefined:
            return value is None and not is_required_argument(argument)
        self._constants[out] = constant
        return isinstance(constant, _CONSTANTS)

    def _constant(self, name: str, argument: GraphQLArgument, *, without: bool) -> Any:
        """Return the argument's value, or its default (`without`); Undefined if it is absent or invalid."""
        node = next((a for a in self._node.arguments or () if a.name.value == name), None)
        found: dict[str, Any] = {}
        try:
            coerce_argument(found, self._node, name, argument, None if without else node, None, None)
        except GraphQLError:
            return Undefined
        return found.get(argument.out_name or name, Undefined)

    def of(self, values: dict[str, Any] | None, full: Callable[[], VariableValues]) -> dict[str, Any]:
        """Return the arguments.

        Args:
            values: the variables, if coercion does not change them.
            full: returns the variables as coerced by graphql-core.

        Raises:
            GraphQLError: an argument is invalid, as reported by graphql-core.
        """
        if values is not None and self._plain:
            found = dict(self._constants)
            for out, name, nullable, default in self._rows:
                value = values.get(name, default)
                if value is None and not nullable:
                    break
                if value is not Undefined:
                    found[out] = value
                elif not nullable:
                    break
            else:
                return found
        return get_argument_values(self._definition, self._node, full(), None, self._hide)


def uses_variables(node: Node) -> bool:
    """Return True if a part of a document contains a variable."""
    found = False

    class Search(Visitor):
        def enter_variable(self, *_: object) -> None:
            nonlocal found
            found = True

    visit(node, Search())
    return found
