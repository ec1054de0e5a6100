"""GraphQL documents: limits first, then validation, then plans, once per text, and kept. Pure.

Limits are counted on the parsed document before validation, so that no document can make validation expensive.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Mapping
from dataclasses import dataclass

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLError,
    GraphQLSchema,
    GraphQLSyntaxError,
    InlineFragmentNode,
    OperationDefinitionNode,
    OperationType,
    SelectionSetNode,
    parse,
    validate,
    visit,
)
from graphql.language import Visitor

from proxy.graphql.plans import Plan, make_plans

_MAX_CACHED_TEXT = 16 * 1024
_MAX_ERRORS = 5
_SUGGESTION = re.compile(r" Did you mean .*\?$", re.DOTALL)
_MAX_COUNT = 1_000_000


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """See the `graphql.limits` block."""

    tokens: int
    depth: int
    aliases: int
    root_fields: int
    directives: int


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
    """Why a document can't run. `limit`: it is too large, rather than wrong."""

    errors: tuple[GraphQLError, ...]
    limit: bool = False


class Documents:
    """Parses, validates and plans each document once, and keeps as many as `cache` says."""

    def __init__(self, schema: GraphQLSchema, limits: DocumentLimits, *, cache: int, suggestions: bool) -> None:
        self._schema = schema
        self._limits = limits
        self._cache = cache
        self._suggestions = suggestions
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
        try:
            document = parse(text, no_location=False, max_tokens=self._limits.tokens)
        except GraphQLSyntaxError as error:
            return Invalid((error,), limit="token limit" in error.message or "more that" in error.message)
        except RecursionError:
            return Invalid((GraphQLError("The document is nested too deeply"),), limit=True)
        excess = check_limits(document, self._limits)
        if excess:
            return Invalid((GraphQLError(excess),), limit=True)
        errors = validate(self._schema, document, max_errors=_MAX_ERRORS)
        if errors:
            return Invalid(tuple(error if self._suggestions else _plain(error) for error in errors))
        operations = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
        kinds = {node.name.value if node.name else None: node.operation for node in operations}
        introspects = _introspects(document)
        plans = {} if introspects else make_plans(self._schema, document, hide=not self._suggestions)
        return Operation(document, kinds, introspects, plans)


def _plain(error: GraphQLError) -> GraphQLError:
    return GraphQLError(_SUGGESTION.sub("", error.message), error.nodes)


def check_limits(document: DocumentNode, limits: DocumentLimits) -> str:
    """What is too much about a document; empty if nothing is. Fragments count wherever they are spread."""
    directives = sum(1 for _ in _directives(document))
    if directives > limits.directives:
        return f"The document has more than {limits.directives} directives"
    counter = _Counter(document)
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        count = counter.count(node.selection_set)
        if count.roots > limits.root_fields:
            return f"The operation has more than {limits.root_fields} root fields"
        if count.aliases > limits.aliases:
            return f"The operation has more than {limits.aliases} aliases"
        if count.depth > limits.depth:
            return f"The operation is nested deeper than {limits.depth}"
    return ""


def _directives(document: DocumentNode) -> list[object]:
    found: list[object] = []

    class Collect(Visitor):
        def enter_directive(self, node: object, *_: object) -> None:
            found.append(node)

    visit(document, Collect())
    return found


@dataclass(frozen=True, slots=True)
class _Count:
    depth: int = 0
    aliases: int = 0
    roots: int = 0

    def plus(self, other: _Count) -> _Count:
        return _Count(
            max(self.depth, other.depth),
            min(_MAX_COUNT, self.aliases + other.aliases),
            min(_MAX_COUNT, self.roots + other.roots),
        )


class _Counter:
    """Counts selections, each fragment once; a fragment within itself counts as nothing (validation refuses it)."""

    def __init__(self, document: DocumentNode) -> None:
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._done: dict[str, _Count] = {}

    def count(self, selections: SelectionSetNode) -> _Count:
        total = _Count()
        for node in selections.selections:
            if isinstance(node, FieldNode):
                total = total.plus(self._field(node))
            elif isinstance(node, InlineFragmentNode):
                total = total.plus(self.count(node.selection_set))
            elif isinstance(node, FragmentSpreadNode):
                total = total.plus(self._fragment(node.name.value))
        return total

    def _field(self, node: FieldNode) -> _Count:
        alias = 1 if node.alias else 0
        if node.selection_set is None or node.name.value.startswith("__"):
            return _Count(1, alias, 1)
        below = self.count(node.selection_set)
        return _Count(below.depth + 1, below.aliases + alias, 1)

    def _fragment(self, name: str) -> _Count:
        if name not in self._done:
            self._done[name] = _Count()
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._done[name] = self.count(fragment.selection_set)
        return self._done[name]


def _introspects(document: DocumentNode) -> bool:
    found = False

    class Look(Visitor):
        def enter_field(self, node: FieldNode, *_: object) -> None:
            nonlocal found
            found = found or node.name.value in ("__schema", "__type")

    visit(document, Look())
    return found
