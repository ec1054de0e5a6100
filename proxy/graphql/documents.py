"""GraphQL documents: limits first, then validation, then plans, once per text, and kept. Pure.

Limits are counted before validation (`limits.py`), and validation and planning are under a deadline
(`validation.py`), so that no document can keep the event loop busy.
"""

from __future__ import annotations

import math
import re
from collections import OrderedDict
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

from proxy.graphql.limits import DocumentLimits, check_limits, check_size
from proxy.graphql.plans import Plan, make_plans
from proxy.graphql.validation import Deadline, Overtime, validate_in_time, without_collection

_MAX_CACHED_TEXT = 16 * 1024
_LIMIT = "LIMIT_EXCEEDED"
_SUGGESTION = re.compile(r" Did you mean .*\?$", re.DOTALL)
_TOO_MUCH = re.compile(r"more than \d+ tokens|nested too deeply")


@dataclass(frozen=True, slots=True)
class Operation:
    """A valid document and what must be known of it before it runs."""

    document: DocumentNode
    kinds: Mapping[str | None, OperationType]
    introspects: bool
    plans: Mapping[str | None, Plan]

    def kind(self, name: str | None) -> OperationType | None:
        """The type of the operation of that name, or of the only one."""
        return self.kinds.get(self._name(name))

    def plan(self, name: str | None) -> Plan | None:
        """The plan of the operation of that name, or of the only one, if it has one."""
        return self.plans.get(self._name(name))

    def _name(self, name: str | None) -> str | None:
        return next(iter(self.kinds)) if name is None and len(self.kinds) == 1 else name


@dataclass(frozen=True, slots=True)
class Invalid:
    """Why a document can't run, with the errors' `extensions.code`."""

    errors: tuple[GraphQLError, ...]
    code: str = "BAD_USER_INPUT"

    @property
    def limit(self) -> bool:
        """Whether the document is too much, rather than wrong."""
        return self.code == _LIMIT


def refusal(text: str, code: str) -> Invalid:
    """A document that is refused with one error."""
    return Invalid((GraphQLError(text),), code)


class Documents:
    """Parses, validates and plans each document once, and keeps as many as `cache` says.

    `seconds` is the processor time that one may take.
    """

    def __init__(
        self, schema: GraphQLSchema, limits: DocumentLimits, *, cache: int, suggestions: bool, seconds: float = math.inf
    ) -> None:
        self._schema = schema
        self._limits = limits
        self._cache = cache
        self._suggestions = suggestions
        self._seconds = seconds
        self._kept: OrderedDict[str, Operation] = OrderedDict()

    def known(self, text: str) -> Operation | None:
        """The ready operation of a document's text, if it is kept."""
        known = self._kept.get(text)
        if known is not None:
            self._kept.move_to_end(text)
        return known

    def get(self, text: str) -> Operation | Invalid:
        """The ready operation of a document's text."""
        known = self.known(text)
        if known is not None:
            return known
        found = self._prepare(text)
        if isinstance(found, Operation) and self._cache and len(text) <= _MAX_CACHED_TEXT:
            self._kept[text] = found
            if len(self._kept) > self._cache:
                self._kept.popitem(last=False)
        return found

    def _prepare(self, text: str) -> Operation | Invalid:
        excess = check_size(text, self._limits)
        if excess:
            return refusal(excess, _LIMIT)
        try:
            with without_collection():
                return self._parsed(text, Deadline(self._seconds))
        except Overtime:
            return refusal("The document takes too long to validate (graphql.validation_timeout)", _LIMIT)
        except RecursionError:
            return refusal("The document is nested too deeply", _LIMIT)

    def _parsed(self, text: str, deadline: Deadline) -> Operation | Invalid:
        try:
            document = parse(text, no_location=False, max_tokens=self._limits.tokens)
        except GraphQLSyntaxError as error:
            return Invalid((error,), _LIMIT if _TOO_MUCH.search(error.message) else "BAD_USER_INPUT")
        excess = check_limits(self._schema, document, self._limits)
        if excess:
            return refusal(excess, _LIMIT)
        errors = validate_in_time(self._schema, document, deadline, hide_suggestions=not self._suggestions)
        if errors:
            return Invalid(tuple(error if self._suggestions else _plain(error) for error in errors))
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        kinds = {node.name.value if node.name else None: node.operation for node in operations}
        introspects = _introspects(document)
        plans = {} if introspects else make_plans(self._schema, document, deadline, hide=not self._suggestions)
        return Operation(document, kinds, introspects, plans)


def _plain(error: GraphQLError) -> GraphQLError:
    """Without the suggestions that graphql-core makes all the same, as that of a selection."""
    return GraphQLError(_SUGGESTION.sub("", error.message), error.nodes)


def _introspects(document: DocumentNode) -> bool:
    found = False

    class Look(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            nonlocal found
            found = found or node.name.value in ("__schema", "__type")

    visit(document, Look())
    return found
