"""The limits of a document, checked after parsing and before validation. Pure.

A fragment counts once per spread. Fragments are not expanded and sums saturate, so that the time to count is
proportional to the length of the document.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from graphql import (
    DocumentNode,
    FieldNode,
    FragmentDefinitionNode,
    FragmentSpreadNode,
    GraphQLField,
    GraphQLInterfaceType,
    GraphQLNamedType,
    GraphQLNonNull,
    GraphQLObjectType,
    GraphQLSchema,
    InlineFragmentNode,
    IntValueNode,
    NamedTypeNode,
    NullValueNode,
    OperationDefinitionNode,
    SelectionSetNode,
    ValueNode,
    get_named_type,
    is_list_type,
    visit,
)
from graphql.language import Visitor

from proxy.graphql.resolvers import LOCAL, MAX_ITEMS

HIGH_COST = 10
"""The cost of a field that makes an upstream call or whose value is a list. Every other field costs 1."""
ASSUMED_ITEMS = 4
"""The assumed length of a list without the argument `first`, such as the lists of introspection."""
_MAX_COUNT = 1_000_000
_MAX_DIGITS = 6


@dataclass(frozen=True, slots=True)
class DocumentLimits:
    """The limits of one document; see the `graphql.limits` block.

    Args:
        size: the maximum length, in bytes.
        tokens: the maximum number of tokens.
        depth: the maximum nesting of fields.
        aliases: the maximum number of aliases of an operation.
        root_fields: the maximum number of root fields of an operation.
        directives: the maximum number of directives.
        cost: the maximum cost of an operation.
    """

    size: int
    tokens: int
    depth: int
    aliases: int
    root_fields: int
    directives: int
    cost: int


def check_size(text: str, limits: DocumentLimits) -> str:
    """Return an error text if the document is too long to be parsed; otherwise an empty text."""
    if len(text) > limits.size or len(text.encode("utf-8", "surrogatepass")) > limits.size:
        return f"The document has more than {limits.size} bytes; send long values as variables"
    return ""


def check_limits(schema: GraphQLSchema, document: DocumentNode, limits: DocumentLimits) -> str:
    """Return an error text for the first limit that a document exceeds; otherwise an empty text."""
    directives = _directives(document)
    if directives > limits.directives:
        return f"The document has more than {limits.directives} directives"
    counter = _Counter(schema, document)
    for node in document.definitions:
        if not isinstance(node, OperationDefinitionNode):
            continue
        count = counter.count(node.selection_set, schema.get_root_type(node.operation))
        if count.roots > limits.root_fields:
            return f"The operation has more than {limits.root_fields} root fields"
        if count.aliases > limits.aliases:
            return f"The operation has more than {limits.aliases} aliases"
        if count.depth > limits.depth:
            return f"The operation is nested deeper than {limits.depth}"
        if count.cost > limits.cost:
            return f"The operation costs {_cost_text(count.cost)}, and graphql.limits.cost is {limits.cost}"
    return ""


def cost_of(schema: GraphQLSchema, document: DocumentNode) -> int:
    """Return the highest cost of an operation of a document, at most 1,000,000."""
    counter = _Counter(schema, document)
    return max(
        counter.count(node.selection_set, schema.get_root_type(node.operation)).cost
        for node in document.definitions
        if isinstance(node, OperationDefinitionNode)
    )


def _cost_text(cost: int) -> str:
    return f"{_MAX_COUNT} or more" if cost >= _MAX_COUNT else str(cost)


def _directives(document: DocumentNode) -> int:
    found = 0

    class Count(Visitor):
        def enter_directive(self, *_: object) -> None:
            nonlocal found
            found += 1

    visit(document, Count())
    return found


@dataclass(frozen=True, slots=True)
class _Count:
    depth: int = 0
    aliases: int = 0
    roots: int = 0
    cost: int = 0

    def plus(self, other: _Count) -> _Count:
        return _Count(
            max(self.depth, other.depth),
            min(_MAX_COUNT, self.aliases + other.aliases),
            min(_MAX_COUNT, self.roots + other.roots),
            min(_MAX_COUNT, self.cost + other.cost),
        )


class _Counter:
    """Counts selections, and each fragment only once.

    A fragment that contains itself counts as zero, and an unknown field as a simple field: validation rejects both.
    """

    def __init__(self, schema: GraphQLSchema, document: DocumentNode) -> None:
        self._schema = schema
        self._roots = (schema.query_type, schema.mutation_type, schema.subscription_type)
        self._fragments = {
            node.name.value: node for node in document.definitions if isinstance(node, FragmentDefinitionNode)
        }
        self._done: dict[str, _Count] = {}

    def count(self, selections: SelectionSetNode, parent: GraphQLNamedType | None) -> _Count:
        total = _Count()
        for node in selections.selections:
            if isinstance(node, FieldNode):
                total = total.plus(self._field(node, parent))
            elif isinstance(node, InlineFragmentNode):
                condition = node.type_condition
                total = total.plus(self.count(node.selection_set, self._type(condition) if condition else parent))
            elif isinstance(node, FragmentSpreadNode):
                total = total.plus(self._fragment(node.name.value))
        return total

    def _type(self, condition: NamedTypeNode) -> GraphQLNamedType | None:
        return self._schema.get_type(condition.name.value)

    def _field(self, node: FieldNode, parent: GraphQLNamedType | None) -> _Count:
        name, definition = node.name.value, None
        if isinstance(parent, GraphQLObjectType | GraphQLInterfaceType):
            definition = self._schema.get_field(parent, name)
        kind = get_named_type(definition.type) if definition is not None else None
        below = self.count(node.selection_set, kind) if node.selection_set is not None else _Count()
        depth = 1 if name.startswith("__") else below.depth + 1
        cost, items = 1, 1
        if definition is not None:
            many = is_list_type(_bare(definition.type))
            cost = HIGH_COST if many or self._calls(name, parent) else 1
            items = _items(definition, node) if many else 1
        return _Count(depth, below.aliases + (1 if node.alias else 0), 1, cost + items * below.cost)

    def _calls(self, name: str, parent: GraphQLNamedType | None) -> bool:
        return parent in self._roots and name not in LOCAL and not name.startswith("__")

    def _fragment(self, name: str) -> _Count:
        if name not in self._done:
            self._done[name] = _Count()
            fragment = self._fragments.get(name)
            if fragment is not None:
                self._done[name] = self.count(fragment.selection_set, self._type(fragment.type_condition))
        return self._done[name]


def _bare(kind: Any) -> Any:
    return kind.of_type if isinstance(kind, GraphQLNonNull) else kind


def _items(definition: GraphQLField, node: FieldNode) -> int:
    """Return the maximum number of items of a list: the value of `first`, or its highest allowed value."""
    first = definition.args.get("first")
    if first is None:
        return ASSUMED_ITEMS
    given = [argument.value for argument in node.arguments or () if argument.name.value == "first"]
    default = (
        _requested_items(first.default.literal, MAX_ITEMS) if first.default and first.default.literal else MAX_ITEMS
    )
    return max((_requested_items(value, default) for value in given), default=default)


def _requested_items(value: ValueNode, default: int) -> int:
    if isinstance(value, NullValueNode):
        return default
    if isinstance(value, IntValueNode):
        return max(0, int(value.value)) if len(value.value) <= _MAX_DIGITS else _MAX_COUNT
    return MAX_ITEMS
