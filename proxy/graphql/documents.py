"""Parse, limit, validate and plan GraphQL documents, once per text, and cache the result. Pure.

Limits are checked before validation (`limits.py`), and validation and planning have a deadline (`validation.py`), so
that no document can block the event loop.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    OperationDefinitionNode,
    OperationType,
    parse,
    visit,
)
from graphql.language import Visitor

from proxy.bounded import BoundedCache
from proxy.graphql.limits import DocumentLimits, check_limits, check_size
from proxy.graphql.plans import Plan, make_plans
from proxy.graphql.validation import Deadline, Overtime, Repetitive, validate_in_time, without_collection

_MAX_CACHED_TEXT = 16 * 1024
_BYTES_OF_CHARACTER = 128
"""What a parsed and planned document takes in memory for each character of its text, as measured."""
_MAX_BYTES = 32 * 1024**2
_LIMIT = "LIMIT_EXCEEDED"
_SUGGESTION = re.compile(r" Did you mean .*\?$", re.DOTALL)
_LIMIT_MESSAGE = re.compile(r"more than \d+ tokens|nested too deeply")


@dataclass(frozen=True, slots=True)
class Operation:
    """A valid document, with the types and the plans of its operations."""

    document: DocumentNode
    kinds: Mapping[str | None, OperationType]
    introspects: bool
    plans: Mapping[str | None, Plan]

    def kind(self, name: str | None) -> OperationType | None:
        """Return the type of the operation with this name, or of the only operation if `name` is None."""
        return self.kinds.get(self._name(name))

    def plan(self, name: str | None) -> Plan | None:
        """Return the plan of the operation with this name, or of the only operation; None if it has no plan."""
        return self.plans.get(self._name(name))

    def _name(self, name: str | None) -> str | None:
        return next(iter(self.kinds)) if name is None and len(self.kinds) == 1 else name


@dataclass(frozen=True, slots=True)
class Invalid:
    """The errors of a document that can't run, with their `extensions.code`."""

    errors: tuple[GraphQLError, ...]
    code: str = "BAD_USER_INPUT"

    @property
    def limit(self) -> bool:
        """Return True if the document exceeds a limit."""
        return self.code == _LIMIT


def rejection(text: str, code: str) -> Invalid:
    """Return the result for a document that is rejected with one error."""
    return Invalid((GraphQLError(text),), code)


class Documents:
    """A cache of parsed, validated and planned documents.

    Args:
        schema: the schema that documents are validated against.
        limits: the limits of a document.
        cache: the maximum number of cached documents.
        suggestions: True if errors suggest names of the schema.
        seconds: the maximum processor time for one document, in seconds.
    """

    def __init__(
        self, schema: GraphQLSchema, limits: DocumentLimits, *, cache: int, suggestions: bool, seconds: float = math.inf
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._keeps = cache > 0
        self._suggestions = suggestions
        self._seconds = seconds
        self._cached: BoundedCache[str, Operation] = BoundedCache(max(1, cache), _MAX_BYTES, exact=True)

    def known(self, text: str) -> Operation | None:
        """Return the operation of a document's text from the cache; None if it is not cached."""
        return self._cached[text]

    def get(self, text: str) -> Operation | Invalid:
        """Return the operation of a document's text, or its errors."""
        cached = self.known(text)
        if cached is not None:
            return cached
        found = self._prepare(text)
        if isinstance(found, Operation) and self._keeps and len(text) <= _MAX_CACHED_TEXT:
            self._cached.put(text, found, _BYTES_OF_CHARACTER * len(text))
        return found

    def _prepare(self, text: str) -> Operation | Invalid:
        excess = check_size(text, self._limits)
        if excess:
            return rejection(excess, _LIMIT)
        try:
            with without_collection():
                return self._parsed(text, Deadline(self._seconds))
        except Overtime:
            return rejection("The document takes too long to validate (graphql.validation_timeout)", _LIMIT)
        except Repetitive:
            return rejection("The document repeats fields too often; remove the repetitions", _LIMIT)
        except RecursionError:
            return rejection("The document is nested too deeply", _LIMIT)

    def _parsed(self, text: str, deadline: Deadline) -> Operation | Invalid:
        try:
            document = parse(text, no_location=False, max_tokens=self._limits.tokens)
        except GraphQLSyntaxError as error:
            return Invalid((error,), _LIMIT if _LIMIT_MESSAGE.search(error.message) else "BAD_USER_INPUT")
        excess = check_limits(self._schema, document, self._limits)
        if excess:
            return rejection(excess, _LIMIT)
        errors = validate_in_time(self._schema, document, deadline, hide_suggestions=not self._suggestions)
        if errors:
            return Invalid(tuple(error if self._suggestions else _without_suggestion(error) for error in errors))
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        kinds = {node.name.value if node.name else None: node.operation for node in operations}
        introspects = _introspects(document)
        plans = {} if introspects else make_plans(self._schema, document, deadline, hide=not self._suggestions)
        return Operation(document, kinds, introspects, plans)


def _without_suggestion(error: GraphQLError) -> GraphQLError:
    """Return the error without the suggestion that graphql-core adds even with `hide_suggestions`."""
    return GraphQLError(_SUGGESTION.sub("", error.message), error.nodes)


def _introspects(document: DocumentNode) -> bool:
    found = False

    class Search(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            nonlocal found
            found = found or node.name.value in ("__schema", "__type")

    visit(document, Search())
    return found
