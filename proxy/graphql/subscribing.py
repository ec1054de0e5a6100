"""Run a subscription with graphql-core: its source stream, and the response to each of the stream's states."""

from __future__ import annotations

import inspect
from typing import Any, NamedTuple

from graphql import ExecutionResult, Executor, GraphQLSchema, create_source_event_stream, execute

from proxy.errors import InternalError
from proxy.graphql.documents import Operation
from proxy.graphql.http import GraphqlRequest
from proxy.graphql.resolvers import Context, subscribed
from proxy.live.watchers import Subscriber
from proxy.noetl.executions import ExecutionState


class Subscribing(NamedTuple):
    """A subscription: its schema, its operation, and its request; `hide`: errors must not suggest names."""

    schema: GraphQLSchema
    operation: Operation
    wanted: GraphqlRequest
    hide: bool

    async def open(self, context: Context) -> Subscriber | ExecutionResult:
        """Return the states of the execution, to be closed at the end; or the errors that prevent it."""
        executor = Executor.build(
            self.schema,
            self.operation.document,
            None,
            context,
            self._variables(),
            self.wanted.operation_name,
            hide_suggestions=self.hide,
        )
        if isinstance(executor, list):
            return ExecutionResult(None, executor)
        found = create_source_event_stream(executor)
        source = await found if inspect.isawaitable(found) else found
        if not isinstance(source, Subscriber | ExecutionResult):
            raise InternalError(detail="the source of a subscription is no subscriber")
        return source

    async def result(self, context: Context, state: ExecutionState) -> ExecutionResult:
        """Return the response to a state."""
        outcome = execute(
            self.schema,
            self.operation.document,
            subscribed(state),
            context,
            self._variables(),
            self.wanted.operation_name,
            hide_suggestions=self.hide,
        )
        result = await outcome if inspect.isawaitable(outcome) else outcome
        if not isinstance(result, ExecutionResult):
            raise InternalError(detail="incremental delivery is not served")
        return result

    def _variables(self) -> dict[str, Any]:
        return dict(self.wanted.variables or {})
