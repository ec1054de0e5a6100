"""Completion of resolved values into the response data of a planned operation, equal to graphql-core's. Pure.

Values are plain data (mappings, lists, scalars); nothing here is awaited. A scalar whose Python type is
already the type of the response is used unchanged. All other values go through the coercion of their GraphQL type, and
all errors through graphql-core.
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
    """A type without instances: every value goes through coercion."""


_UNCHANGED: dict[str, type] = {GraphQLString.name: str, GraphQLID.name: str, GraphQLBoolean.name: bool}


def _unchanged_type(kind: Any) -> type:
    """Return the Python type of the values that are written unchanged for this GraphQL type."""
    named = kind.of_type if isinstance(kind, GraphQLNonNull) else kind
    if not isinstance(named, GraphQLScalarType):
        return _Never
    any_object = dict if named.coerce_output_value is GraphQLScalarType.serialize else _Never
    return _UNCHANGED.get(named.name, any_object)


_LISTS = (list, tuple)
_complete_leaf = Executor.complete_leaf_value


class PlannedField:
    """One field of a selection.

    `unchanged` is the Python type of values that are written unchanged, and `null_unchanged` is True if null is too.

    Args:
        key: the field's name in the response.
        name: the field's name in the schema.
        nodes: the field's nodes in the document.
        definition: the field's definition in the schema.
        parent: the type that the field belongs to.
    """

    __slots__ = ("_value", "definition", "key", "name", "nodes", "null_unchanged", "nullable", "parent", "unchanged")

    def __init__(
        self, key: str, name: str, nodes: list[FieldNode], definition: GraphQLField, parent: GraphQLObjectType
    ) -> None:
        self.key = key
        self.name = name
        self.nodes = nodes
        self.definition = definition
        self.parent = parent
        self.nullable = not isinstance(definition.type, GraphQLNonNull)
        self.null_unchanged = self.nullable
        self.unchanged = _unchanged_type(definition.type)
        self._value: Value | None = None

    def prepare(self, subfields: Subfields) -> bool:
        """Prepare the completion of values. Return False if the field can't be planned."""
        self._value = self._completer(self.definition.type, subfields)
        return self._value is not None

    def complete(self, value: Any, path: Path, errors: Errors) -> Any:
        """Return the response data for a resolved value.

        Raises:
            GraphQLError: the located error of a field that must not be null.
        """
        assert self._value is not None  # noqa: S101 - prepared when the plan was made
        try:
            return self._value(value, (path, self.key), errors)
        except Exception as error:
            return self.failed(error, path, errors)

    def failed(self, error: Exception, path: Path, errors: Errors) -> None:
        """Add the error to `errors`, or raise it with its location if the field must not be null."""
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
        unchanged = _unchanged_type(kind.of_type)

        def complete(value: Any, path: Path, errors: Errors) -> Any:
            if _is_absent(value):
                return None
            if type(value) not in _LISTS and not is_iterable(value):
                raise GraphQLError(text)
            completed: list[Any] = []
            for index, item in enumerate(value):
                if type(item) is unchanged:
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


def _is_absent(value: Any) -> bool:
    """Return True if there is no value. Raise the value if it is an exception."""
    if isinstance(value, Exception):
        raise value
    return value is None or value is Undefined


def _leaf(kind: Any) -> Value:
    def complete(value: Any, path: Path, errors: Errors) -> Any:
        return None if _is_absent(value) else _complete_leaf(kind, value)

    return complete


def _object(fields: list[PlannedField]) -> Value:
    rows = tuple((field.key, field.unchanged, field.null_unchanged, field) for field in fields)
    names = tuple(field.name for field in fields)
    all_of = itemgetter(*names) if len(set(names) - {"__typename"}) > 1 and "__typename" not in names else None

    def complete(value: Any, path: Path, errors: Errors) -> Any:
        if _is_absent(value):
            return None
        try:
            found = all_of(value) if all_of is not None and type(value) is dict else _each_of(value, names)
        except KeyError:
            found = _each_of(value, names)
        return {
            key: item
            if type(item) is unchanged or (item is None and null_unchanged)
            else field.complete(item, path, errors)
            for (key, unchanged, null_unchanged, field), item in zip(rows, found, strict=True)
        }

    return complete


def _each_of(value: Any, names: Sequence[str]) -> Sequence[Any]:
    """Return the values of these fields, by key or by attribute like graphql-core's default resolver."""
    if isinstance(value, Mapping):
        return [value.get(name) for name in names]
    return [getattr(value, name, None) for name in names]


class ResolvedField(PlannedField):
    """A field below a root field that has a resolver. It is called once the other fields of the object are complete."""

    __slots__ = ()

    def prepare(self, subfields: Subfields) -> bool:
        self.unchanged, self.null_unchanged = _Never, False
        return super().prepare(subfields)

    def complete(self, value: Any, path: Path, errors: Errors) -> Any:
        """Return null, which the plan replaces by the response data."""
        return None

    def complete_resolved(self, value: Any, path: Path, errors: Errors) -> Any:
        """Return the response data for the value of the resolver. Raises GraphQLError as `complete` does."""
        return super().complete(value, path, errors)


class PlannedTypename(PlannedField):
    """The field `__typename`: the name of the type, for every value."""

    __slots__ = ()

    def prepare(self, subfields: Subfields) -> bool:
        self._value = lambda value, path, errors: self.parent.name
        self.unchanged, self.null_unchanged = _Never, False
        return True


def _as_list(path: Path) -> list[str | int]:
    found: list[str | int] = []
    while path is not None:
        path, key = path
        found.append(key)
    return found[::-1]
