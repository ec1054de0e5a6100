"""Selections of a planned operation: resolved values become what is answered, as graphql-core completes them. Pure.

Values are plain data (mappings, lists, leaves) that are there already; nothing below a root field is waited for. A
leaf whose Python type is already the one that is written is taken as it is; all others go through their type's own
coercion, and all errors through graphql-core's own.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from operator import itemgetter
from typing import Any

from graphql import (
    FieldNode,
    GraphQLBoolean,
    GraphQLError,
    GraphQLField,
    GraphQLID,
    GraphQLList,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLOutputType,
    GraphQLScalarType,
    GraphQLString,
    Undefined,
    is_leaf_type,
    located_error,
)
from graphql.execution import Executor
from graphql.pyutils import is_iterable

Errors = list[GraphQLError]
Path = tuple[Any, str | int] | None
Value = Callable[[Any, Path, Errors], Any]
Subfields = Callable[[GraphQLObjectType, list[FieldNode]], "list[PlannedField] | None"]


class _Never:
    """No value has this type."""


_AS_IT_IS: dict[str, type] = {GraphQLString.name: str, GraphQLID.name: str, GraphQLBoolean.name: bool}


def _as_it_is(kind: Any) -> type:
    """The type of values that are written as they are where this type is asked for."""
    named = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if not isinstance(named, GraphQLScalarType):
        return _Never
    any_object = dict if named.coerce_output_value is GraphQLScalarType.serialize else _Never
    return _AS_IT_IS.get(named.name, any_object)


_LISTS = (list, tuple)
_complete_leaf = Executor.complete_leaf_value


class PlannedField:
    """One field of a selection. `key` is its name in the answer, `as_it_is` the type of values that need no look,
    and `null_as_it_is` whether null does not either."""

    __slots__ = ("_value", "as_it_is", "definition", "key", "name", "nodes", "null_as_it_is", "nullable", "parent")

    def __init__(
        self, key: str, name: str, nodes: list[FieldNode], definition: GraphQLField, parent: GraphQLObjectType
    ) -> None:
        self.key = key
        self.name = name
        self.nodes = nodes
        self.definition = definition
        self.parent = parent
        self.nullable = not isinstance(definition.type, GraphQLNonNull)
        self.null_as_it_is = self.nullable
        self.as_it_is = _as_it_is(definition.type)
        self._value: Value | None = None

    def prepare(self, subfields: Subfields) -> bool:
        """Work out how its values are completed; whether that can be planned."""
        self._value = self._completer(self.definition.type, subfields)
        return self._value is not None

    def complete(self, value: Any, path: Path, errors: Errors) -> Any:
        """The answer's part for a resolved value. Raises the located error of a field that must not be null."""
        assert self._value is not None  # noqa: S101 - prepared when the plan was made
        try:
            return self._value(value, (path, self.key), errors)
        except Exception as error:
            return self.failed(error, path, errors)

    def failed(self, error: Exception, path: Path, errors: Errors) -> None:
        """Note the error of this field, or raise it located where the field must not be null."""
        self._handle(error, (path, self.key), errors, nullable=self.nullable)

    def _handle(self, error: Exception, path: Path, errors: Errors, *, nullable: bool) -> None:
        located = located_error(error, self.nodes, _as_list(path))
        if not nullable:
            raise located
        errors.append(located)

    def _completer(self, kind: GraphQLOutputType, subfields: Subfields) -> Value | None:
        if isinstance(kind, GraphQLNonNull):
            return self._non_null(self._completer(kind.of_type, subfields))
        if isinstance(kind, GraphQLList):
            return self._list(kind, self._completer(kind.of_type, subfields))
        if is_leaf_type(kind):
            return _leaf(kind)
        if isinstance(kind, GraphQLObjectType):
            fields = subfields(kind, self.nodes)
            return None if fields is None else _object(fields)
        return None

    def _non_null(self, inner: Value | None) -> Value | None:
        if inner is None:
            return None
        text = f"Cannot return null for non-nullable field {self.parent}.{self.name}."

        def complete(value: Any, path: Path, errors: Errors) -> Any:
            completed = inner(value, path, errors)
            if completed is None:
                raise TypeError(text)
            return completed

        return complete

    def _list(self, kind: GraphQLList[Any], inner: Value | None) -> Value | None:
        if inner is None:
            return None
        text = f"Expected Iterable, but did not find one for field '{self.parent}.{self.name}'."
        nullable = not isinstance(kind.of_type, GraphQLNonNull)
        as_it_is = _as_it_is(kind.of_type)

        def complete(value: Any, path: Path, errors: Errors) -> Any:
            if _is_nothing(value):
                return None
            if type(value) not in _LISTS and not is_iterable(value):
                raise GraphQLError(text)
            completed: list[Any] = []
            for index, item in enumerate(value):
                if type(item) is as_it_is:
                    completed.append(item)
                    continue
                at = (path, index)
                try:
                    completed.append(inner(item, at, errors))
                except Exception as error:
                    self._handle(error, at, errors, nullable=nullable)
                    completed.append(None)
            return completed

        return complete


def _is_nothing(value: Any) -> bool:
    """Whether there is no value; raises the value if it is an error."""
    if isinstance(value, Exception):
        raise value
    return value is None or value is Undefined


def _leaf(kind: Any) -> Value:
    def complete(value: Any, path: Path, errors: Errors) -> Any:
        return None if _is_nothing(value) else _complete_leaf(kind, value)

    return complete


def _object(fields: list[PlannedField]) -> Value:
    rows = tuple((field.key, field.as_it_is, field.null_as_it_is, field) for field in fields)
    names = tuple(field.name for field in fields)
    all_of = itemgetter(*names) if len(set(names) - {"__typename"}) > 1 and "__typename" not in names else None

    def complete(value: Any, path: Path, errors: Errors) -> Any:
        if _is_nothing(value):
            return None
        try:
            found = all_of(value) if all_of is not None and type(value) is dict else _each_of(value, names)
        except KeyError:
            found = _each_of(value, names)
        return {
            key: item
            if type(item) is as_it_is or (item is None and null_as_it_is)
            else field.complete(item, path, errors)
            for (key, as_it_is, null_as_it_is, field), item in zip(rows, found, strict=True)
        }

    return complete


def _each_of(value: Any, names: Sequence[str]) -> Sequence[Any]:
    """As graphql-core's default resolver finds them: by key, or by attribute."""
    if isinstance(value, Mapping):
        return [value.get(name) for name in names]
    return [getattr(value, name, None) for name in names]


class PlannedTypename(PlannedField):
    """`__typename`: the same text, whatever the value."""

    __slots__ = ()

    def prepare(self, subfields: Subfields) -> bool:
        self._value = lambda value, path, errors: self.parent.name
        self.as_it_is, self.null_as_it_is = _Never, False
        return True


def _as_list(path: Path) -> list[str | int]:
    found: list[str | int] = []
    while path is not None:
        path, key = path
        found.append(key)
    return found[::-1]
