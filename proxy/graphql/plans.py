"""Plans: simple operations, prepared once, that run without graphql-core's executor.

The result of a plan is equal to that of `graphql.execute`: data, errors, their order and locations. A plan calls the
same resolvers: those of the root fields, and at most one below each. Operations that are not simple (introspection,
`@skip` or `@include` with variables, other directives, abstract types, subscriptions, more resolvers) have no plan, and
run with `execute`. A resolver below a root field is not called if another field has made its object null.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass
from inspect import iscoroutinefunction
from typing import Any, NamedTuple

from graphql import (
    DirectiveNode,
    DocumentNode,
    ExecutionResult,
    FieldNode,
    FragmentDefinitionNode,
    GraphQLError,
    GraphQLField,
    GraphQLObjectType,
    GraphQLSchema,
    OperationDefinitionNode,
    OperationType,
    get_nullable_type,
    visit,
)
from graphql.execution.collect_fields import FieldDetails, FragmentDetails, collect_fields, collect_subfields
from graphql.execution.values import VariableValues
from graphql.language import Visitor
from graphql.pyutils import gather_with_cancel, is_awaitable

from proxy.graphql.inputs import Arguments, Variables, uses_variables
from proxy.graphql.outputs import Errors, PlannedField, PlannedTypename, ResolvedField
from proxy.graphql.validation import Deadline

_CONDITIONS = ("skip", "include")
_NO_VARIABLES = VariableValues({}, {})
Coerced = dict[str, Any] | GraphQLError
"""The arguments of a resolver, or the error that prevents its call."""


class Given(NamedTuple):
    """The arguments of the resolver of a root field, and of the one below it."""

    own: Coerced
    below: Coerced


class _Run:
    """One run of a plan: its errors, and the part of graphql-core's resolve info that resolvers use."""

    __slots__ = ("context", "errors")

    def __init__(self, context: Any) -> None:
        self.context = context
        self.errors: Errors = []


class _Resolver:
    """The resolver of a field, with its arguments."""

    __slots__ = ("_arguments", "_resolve")

    def __init__(self, field: PlannedField, *, hide: bool) -> None:
        self._resolve = field.definition.resolve
        self._arguments = Arguments(field.definition, field.nodes[0], hide=hide)

    def coerced(self, values: dict[str, Any] | None, full: Callable[[], VariableValues]) -> Coerced:
        """Return the arguments for the values of the variables; see `Arguments.of`."""
        try:
            return self._arguments.of(values, full)
        except GraphQLError as error:
            return error

    def call(self, parent: Any, arguments: Coerced, run: _Run) -> Any:
        """Return what the resolver returns. Raises its error, or that of the arguments."""
        if isinstance(arguments, GraphQLError):
            raise arguments.with_traceback(None)  # a cached error would collect the frames of every run
        return None if self._resolve is None else self._resolve(parent, run, **arguments)


class _Root:
    """A root field with its resolver, the one below it, if there is one, and the completion of its value."""

    __slots__ = ("_below", "_below_resolver", "_resolver", "field")

    def __init__(self, field: PlannedField, below: ResolvedField | None, *, hide: bool) -> None:
        self.field = field
        self._resolver = _Resolver(field, hide=hide)
        self._below = below
        self._below_resolver = None if below is None else _Resolver(below, hide=hide)

    def given(self, values: dict[str, Any] | None, full: Callable[[], VariableValues]) -> Given:
        """Return the arguments of the resolvers for the values of the variables."""
        below = self._below_resolver
        return Given(self._resolver.coerced(values, full), {} if below is None else below.coerced(values, full))

    def start(self, given: Given, run: _Run) -> Any:
        """Return the field's response data, or an awaitable for `finish`.

        Raises:
            GraphQLError: the field must not be null, and failed.
        """
        try:
            found = self._resolver.call(None, given.own, run)
            if is_awaitable(found):
                return found
        except Exception as error:
            return self.field.failed(error, None, run.errors)
        return self.field.complete(found, None, run.errors)

    async def run(self, given: Given, run: _Run) -> Any:
        """Return the field's response data.

        Raises:
            GraphQLError: the field must not be null, and failed.
        """
        found = self.start(given, run)
        return await self.finish(found, given, run) if is_awaitable(found) else found

    async def finish(self, found: Awaitable[Any], given: Given, run: _Run) -> Any:
        """Return the field's response data from the awaitable that `start` returned.

        Raises:
            GraphQLError: the field must not be null, and failed.
        """
        try:
            value = await found
        except Exception as error:
            return self.field.failed(error, None, run.errors)
        data = self.field.complete(value, None, run.errors)
        if self._below is None or data is None:
            return data
        try:
            data[self._below.key] = await self._finish_below(self._below, value, given.below, run)
        except GraphQLError as error:
            return self.field.failed(error, None, run.errors)
        return data

    async def _finish_below(self, below: ResolvedField, parent: Any, arguments: Coerced, run: _Run) -> Any:
        """Return the response data of the field below that has a resolver. Raises GraphQLError as `finish` does."""
        assert self._below_resolver is not None  # noqa: S101 - the field below has one
        path = (None, self.field.key)
        try:
            value = self._below_resolver.call(parent, arguments, run)
            if is_awaitable(value):
                value = await value
        except Exception as error:
            return below.failed(error, path, run.errors)
        return below.complete_resolved(value, path, run.errors)


Started = tuple[_Root, Given]


@dataclass(frozen=True, slots=True)
class Plan:
    """The plan of one operation. `resolvers` are the names of its root fields."""

    roots: tuple[_Root, ...]
    variables: Variables
    serial: bool
    resolvers: frozenset[str]

    @property
    def in_turn(self) -> bool:
        """Return True if the resolvers run one after the other, so that the caller can run them without a task."""
        return self.serial or len(self.roots) == 1

    def ready(self, variables: Mapping[str, Any]) -> Ready:
        """Return the plan with the values of its variables."""
        values, whole = self.variables.plain(variables), None
        if values is None:
            whole = self.variables.full(variables)
            if isinstance(whole, list):
                return Ready((), in_turn=self.in_turn, errors=tuple(whole))

        def full() -> VariableValues:
            found = self.variables.full(variables) if whole is None else whole
            assert not isinstance(found, list)  # noqa: S101 - values that need no coercion are valid
            return found

        roots = tuple((root, root.given(values, full)) for root in self.roots)
        return Ready(roots, in_turn=self.in_turn)

    async def run(self, context: Any, variables: Mapping[str, Any]) -> ExecutionResult:
        """Run the plan with these variables and return the result; `context` is the resolvers' `info.context`."""
        return await self.ready(variables).run(context)


class Ready(NamedTuple):
    """A plan with the arguments of each root field. It may run any number of times."""

    roots: tuple[Started, ...]
    in_turn: bool
    errors: tuple[GraphQLError, ...] = ()

    async def run(self, context: Any) -> ExecutionResult:
        """Run the plan and return the result; `context` is the resolvers' `info.context`."""
        if self.errors:
            return ExecutionResult(None, list(self.errors))
        run = _Run(context)
        data: dict[str, Any] = {}
        try:
            if self.in_turn:
                for root, given in self.roots:
                    data[root.field.key] = await root.run(given, run)
            else:
                await self._at_once(run, data)
        except GraphQLError as error:
            return ExecutionResult(None, [*run.errors, error])
        return ExecutionResult(data, list(run.errors) or None)

    async def _at_once(self, run: _Run, data: dict[str, Any]) -> None:
        waiting: list[tuple[_Root, Any, Given]] = []
        try:
            for root, given in self.roots:
                part = data[root.field.key] = root.start(given, run)
                if is_awaitable(part):
                    waiting.append((root, part, given))
        except Exception:
            for _, part, _ in waiting:
                part.close()
            raise
        if len(waiting) == 1:
            (root, part, given), *_ = waiting
            data[root.field.key] = await root.finish(part, given, run)
        elif waiting:
            found = await gather_with_cancel(*(root.finish(part, given, run) for root, part, given in waiting))
            data.update(zip((root.field.key for root, _, _ in waiting), found, strict=True))


class _Planner:
    """The planner for the operations of one document."""

    def __init__(self, schema: GraphQLSchema, document: DocumentNode, deadline: Deadline, *, hide: bool) -> None:
        self._schema = schema
        self._deadline = deadline
        self._hide = hide
        self._level = 0
        self._resolved: list[ResolvedField] = []
        self._fragments = {
            node.name.value: FragmentDetails(node)
            for node in document.definitions
            if isinstance(node, FragmentDefinitionNode)
        }

    def plan(self, operation: OperationDefinitionNode) -> Plan | None:
        root_type = self._schema.get_root_type(operation.operation)
        if root_type is None or operation.operation is OperationType.SUBSCRIPTION or operation.directives:
            return None
        self._operation = operation
        collected = collect_fields(self._schema, self._fragments, _NO_VARIABLES, root_type, operation)
        roots = [self._root(root_type, key, details) for key, details in collected.grouped_field_set.items()]
        planned = tuple(root for root in roots if root is not None)
        if len(planned) < len(roots):
            return None
        variables = Variables(self._schema, operation.variable_definitions or (), hide=self._hide)
        names = frozenset(root.field.name for root in planned)
        return Plan(planned, variables, operation.operation is OperationType.MUTATION, names)

    def _root(self, root_type: GraphQLObjectType, key: str, details: list[FieldDetails]) -> _Root | None:
        self._level, self._resolved = 0, []
        fields = self._fields(root_type, {key: details})
        if fields is None or len(self._resolved) > 1:
            return None
        below = self._resolved[0] if self._resolved else None
        if below is not None and not _has_one_object(fields[0].definition):
            return None
        return _Root(fields[0], below, hide=self._hide)

    def _fields(
        self, parent: GraphQLObjectType, grouped: Mapping[str, list[FieldDetails]]
    ) -> list[PlannedField] | None:
        fields = []
        for key, details in grouped.items():
            self._deadline.check()
            field = self._field(parent, key, [detail.node for detail in details])
            if field is None or not field.prepare(self._subfields):
                return None
            fields.append(field)
        return fields

    def _field(self, parent: GraphQLObjectType, key: str, nodes: list[FieldNode]) -> PlannedField | None:
        name = nodes[0].name.value
        definition: GraphQLField | None = self._schema.get_field(parent, name)
        if definition is None or name in ("__schema", "__type"):
            return None
        if name == "__typename":
            bare = GraphQLField(definition.type)
            return PlannedTypename(key, name, nodes, bare, parent)
        if self._level == 0:
            return PlannedField(key, name, nodes, definition, parent) if definition.resolve is not None else None
        if definition.resolve is None:
            return PlannedField(key, name, nodes, definition, parent)
        if self._level > 1:
            return None
        self._resolved.append(ResolvedField(key, name, nodes, definition, parent))
        return self._resolved[-1]

    def _subfields(self, parent: GraphQLObjectType, nodes: list[FieldNode]) -> list[PlannedField] | None:
        details = [FieldDetails(node, None) for node in nodes]
        collected = collect_subfields(self._schema, self._fragments, _NO_VARIABLES, self._operation, parent, details)
        self._level += 1
        fields = self._fields(parent, collected.grouped_field_set)
        self._level -= 1
        return fields


def _has_one_object(definition: GraphQLField) -> bool:
    """Return whether the value of a root field is an object, and its resolver a coroutine function."""
    return isinstance(get_nullable_type(definition.type), GraphQLObjectType) and iscoroutinefunction(definition.resolve)


def make_plans(
    schema: GraphQLSchema, document: DocumentNode, deadline: Deadline, *, hide: bool
) -> dict[str | None, Plan]:
    """Return the plans of a valid document's simple operations, by name.

    Args:
        schema: the schema of the document.
        document: the valid document.
        deadline: the limit on processor time.
        hide: True if errors about variables and arguments must not suggest names.

    Raises:
        Overtime: the deadline has passed.
    """
    if not _is_simple(document):
        return {}
    planner = _Planner(schema, document, deadline, hide=hide)
    nodes = [node for node in document.definitions if isinstance(node, OperationDefinitionNode)]
    try:
        plans = {node.name.value if node.name else None: planner.plan(node) for node in nodes}
    except RecursionError:
        return {}
    return {name: plan for name, plan in plans.items() if plan is not None}


def _is_simple(document: DocumentNode) -> bool:
    simple = True

    class Search(Visitor):
        def enter_directive(self, node: DirectiveNode, *_: object) -> None:
            nonlocal simple
            simple = simple and node.name.value in _CONDITIONS and not uses_variables(node)

    visit(document, Search())
    return simple
