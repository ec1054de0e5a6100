"""GraphQL operations on streams: many on one WebSocket or event stream, or one on a stream of its own.

A stream belongs to a session, and ends with it. What it may do is decided by the configuration in force: each operation
begins with it, and a reload makes every running subscription check its access again before it sends more.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import NamedTuple, Protocol

from graphql import ExecutionResult, GraphQLError, OperationType

from proxy.endpoints.ending import EndingStream
from proxy.endpoints.graphql import GraphqlHandler, encode, timed_out
from proxy.errors import GatewayError, InternalError, NotFound, TooManyRequests, Unauthorized, Unavailable
from proxy.exchange import Exchange, RequestContext
from proxy.graphql.documents import Operation
from proxy.graphql.http import GraphqlAnswer, GraphqlRequest, rejected
from proxy.graphql.resolvers import authorize_watched
from proxy.guards import RouteGuards, admit_again, count_operation
from proxy.http.body import ClientLeft
from proxy.http.credentials import credentials_of
from proxy.http.request import RequestHead
from proxy.identity.principal import Principals
from proxy.live.watchers import Subscriber
from proxy.noetl.executions import ExecutionState
from proxy.observe.logs import get_logger
from proxy.observe.metrics import Metrics
from proxy.relay.event_streams import Drain
from proxy.sessions.store import StoreError

COMPLETED = "completed"
TOO_MANY = "The session has too many operations on streams (graphql.limits.subscriptions)"


class InForce(NamedTuple):
    """What serves GraphQL in the configuration in force."""

    handler: GraphqlHandler
    guards: RouteGuards
    principals: Principals


class Sink(Protocol):
    """Sends what operations return to the client, and waits until it reads on. Raises ClientLeft."""

    async def next(self, identity: str, result: bytes) -> None:
        """Send a result."""

    async def error(self, identity: str, answer: GraphqlAnswer) -> None:
        """Send the errors that end an operation."""

    async def complete(self, identity: str) -> None:
        """Send that an operation is complete."""


class Operations:
    """The streams of this process, across reloads. `find` returns what serves GraphQL for a request now.

    `generation` counts the configurations; `subscriptions` are those that are running.
    """

    def __init__(self, metrics: Metrics) -> None:
        self.metrics = metrics
        self.find: Callable[[RequestHead], InForce | None] = lambda head: None
        self.generation = 0
        self.subscriptions = 0
        self._streams: set[OperationStream] = set()
        self._of_session: Counter[bytes] = Counter()

    def use(self, find: Callable[[RequestHead], InForce | None]) -> None:
        """Use another configuration: subscriptions check their access again."""
        self.find = find
        self.generation += 1
        for stream in list(self._streams):
            stream.wake()

    @contextmanager
    def opened(self, stream: OperationStream, drain: Drain, kind: str) -> Iterator[None]:
        """Keep a stream among those that end with their session and with the process; `kind` is that of its metrics."""
        self._streams.add(stream)
        self.metrics.live_streams[kind] += 1
        drain.watch(stream)
        if drain.started:
            stream.leave()
        try:
            yield
        finally:
            drain.unwatch(stream)
            self.metrics.live_streams[kind] -= 1
            self._streams.discard(stream)

    def enter(self, session: bytes, limit: int) -> bool:
        """Count an operation of a session, and return True; False if the session has as many as it may."""
        if self._of_session[session] >= limit:
            return False
        self._of_session[session] += 1
        return True

    def leave(self, session: bytes) -> None:
        """Count an operation that has ended."""
        self._of_session[session] -= 1
        if self._of_session[session] <= 0:
            del self._of_session[session]


class OperationStream(EndingStream):
    """The operations on one stream.

    Args:
        operations: those of the process.
        context: the request that opened the stream; its principal is the user, once that is known.
        sink: sends to the client.
        is_counted: each operation counts for the rate limit of the route: no request of its own came with it.
        is_only: the stream is that of one operation, so that the access line of its request is the operation's.
    """

    def __init__(
        self,
        operations: Operations,
        context: RequestContext,
        sink: Sink,
        *,
        is_counted: bool = False,
        is_only: bool = False,
    ) -> None:
        super().__init__()
        self._operations = operations
        self._context = context
        self._sink = sink
        self._is_counted = is_counted
        self.is_only = is_only
        self._tasks: dict[str, asyncio.Task[None]] = {}
        self._sources: dict[str, Subscriber] = {}
        self.session = b""
        self.ended: Callable[[str], None] = lambda identity: None
        """Called with the id of each operation that has ended."""

    @property
    def running(self) -> list[str]:
        """Return the ids of the operations that are running."""
        return list(self._tasks)

    def start(self, identity: str, wanted: GraphqlRequest) -> bool:
        """Start an operation; return False if the session has too many. Its id is not that of a running one."""
        in_force = self._operations.find(self._context.head)
        limit = in_force.handler.settings.limits.subscriptions if in_force is not None else 1
        if not self._operations.enter(self.session, limit):
            return False
        task = asyncio.get_running_loop().create_task(self._run(identity, wanted))
        self._tasks[identity] = task
        task.add_done_callback(lambda done: self._done(identity, done))
        return True

    def _done(self, identity: str, task: asyncio.Task[None]) -> None:
        self._operations.leave(self.session)
        if self._tasks.get(identity) is task:
            del self._tasks[identity]
            self.ended(identity)
        if not task.cancelled() and task.exception() is not None:
            get_logger().error("graphql.stream_failed", exc_info=task.exception())
            self.end("an operation failed")

    def stop(self, identity: str) -> bool:
        """Stop an operation; return whether it was running."""
        task = self._tasks.pop(identity, None)
        if task is not None:
            task.cancel()
        return task is not None

    async def stop_all(self) -> None:
        """Stop all operations, and wait until they have."""
        tasks = list(self._tasks.values())
        for identity in self.running:
            self.stop(identity)
        await asyncio.gather(*tasks, return_exceptions=True)

    def wake(self) -> None:
        """Let the subscriptions check their access again."""
        for source in list(self._sources.values()):
            source.wake()

    # Operations

    async def _run(self, identity: str, wanted: GraphqlRequest) -> None:
        exchange = self._exchange()
        try:
            answer = await self._operate(exchange, identity, wanted)
            if answer is None:
                await self._sink.complete(identity)
            else:
                if not self.is_only:
                    exchange.status = answer.status
                await self._sink.error(identity, answer)
        except ClientLeft:
            return
        finally:
            in_force = self._operations.find(self._context.head)
            if in_force is not None and not self.is_only:
                in_force.handler.internal.record(exchange)

    def _exchange(self) -> Exchange:
        """Return the request that an operation counts as: it has an access line of its own."""
        context = self._context
        if self.is_only:
            return context
        exchange = Exchange(context.head, context.service, context.params, time.perf_counter())
        exchange.request_id, exchange.traceparent = context.request_id, context.traceparent
        exchange.principal = context.principal
        return exchange

    async def _operate(self, exchange: Exchange, identity: str, wanted: GraphqlRequest) -> GraphqlAnswer | None:
        """Run an operation to its end; return the answer with its errors if it fails, and None if it is complete."""
        try:
            generation = self._operations.generation
            in_force = await self._admit(exchange)
            if self._is_counted:
                count_operation(in_force.guards, exchange.head, exchange.who)
            handler = in_force.handler
            admitted = handler.admit(exchange.who, wanted, get=self.is_only and exchange.head.method != "POST")
            if isinstance(admitted, GraphqlAnswer):
                return admitted
            if admitted.kind is OperationType.SUBSCRIPTION:
                running = _Running(exchange, handler, wanted, admitted.operation, generation)
                return await self._subscribe(identity, running)
            await self._send(identity, exchange, await handler.execute(exchange, wanted, admitted.operation))
            return None
        except GatewayError as error:
            exchange.note(error)
            return failure(error)
        except StoreError as error:
            exchange.note(Unavailable(detail=f"session store: {error}"))
            return failure(Unavailable())
        except ClientLeft:
            raise
        except Exception as error:
            get_logger().error("graphql.error", request_id=exchange.request_id.decode(), exc_info=error)
            return failure(InternalError())

    async def _admit(self, exchange: Exchange) -> InForce:
        """Return what serves GraphQL now, and let the user be who the session says now.

        Raises:
            NotFound: GraphQL is not served there any more.
            Unauthorized: the session has ended.
            Forbidden: the route no longer admits the user.
        """
        head = exchange.head
        in_force = self._operations.find(head)
        if in_force is None:
            raise NotFound
        credentials = credentials_of(self.session)
        principal = await in_force.principals.fetch(credentials, head.address, head.fields.user_agent)
        if principal is None:
            raise Unauthorized
        exchange.principal = principal
        admit_again(in_force.guards, head, principal)
        return in_force

    async def _subscribe(self, identity: str, running: _Running) -> GraphqlAnswer | None:
        source = await running.open()
        if isinstance(source, GraphqlAnswer):
            return source
        self._sources[identity] = source
        self._operations.subscriptions += 1
        try:
            async for state in source:
                while running.generation != self._operations.generation:
                    running.generation = self._operations.generation
                    await running.judge_again((await self._admit(running.exchange)).handler)
                if state is not None:
                    await self._send(identity, running.exchange, await running.result(state))
        finally:
            self._operations.subscriptions -= 1
            if self._sources.get(identity) is source:
                del self._sources[identity]
            source.close()
        return None

    async def _send(self, identity: str, exchange: Exchange, answer: GraphqlAnswer) -> None:
        exchange.status = 200
        await self._sink.next(identity, encode(answer.body))


def too_many() -> GraphqlAnswer:
    """Return the answer to an operation of a session that has too many."""
    return rejected((GraphQLError(TOO_MANY),), TooManyRequests.code, TooManyRequests.status)


def failure(error: GatewayError) -> GraphqlAnswer:
    """Return the answer that ends an operation with an error."""
    return rejected((GraphQLError(error.text),), error.code, error.status)


class _Running:
    """A subscription that is running, under the configuration with the number `generation`."""

    def __init__(
        self, exchange: Exchange, handler: GraphqlHandler, wanted: GraphqlRequest, operation: Operation, generation: int
    ) -> None:
        self.exchange = exchange
        self.generation = generation
        self._handler = handler
        self._subscribing = handler.subscribing(wanted, operation)
        self._resolving = handler.resolving(exchange)

    async def open(self) -> Subscriber | GraphqlAnswer:
        """Return the states of the execution, to be closed at the end; or the answer with the errors."""
        seconds = self._handler.settings.timeout
        try:
            async with asyncio.timeout(seconds):
                source = await self._subscribing.open(self._resolving)
        except TimeoutError:
            source = timed_out(seconds)
        if not isinstance(source, ExecutionResult):
            return source
        answer = self._handler.answered(self.exchange, self._resolving, source)
        return GraphqlAnswer({"errors": answer.body["errors"]}, answer.status, answer.json_status)

    async def judge_again(self, handler: GraphqlHandler) -> None:
        """Continue with another configuration. Raises Forbidden if its rules do not allow it."""
        self._handler, resolving = handler, self._resolving
        resolving.who, resolving.api, resolving.authorizer = self.exchange.who, handler.api, handler.authorizer
        resolving.on_behalf = self.exchange.on_behalf()
        await authorize_watched(resolving)

    async def result(self, state: ExecutionState) -> GraphqlAnswer:
        """Return the response to a state."""
        seconds = self._handler.settings.timeout
        try:
            async with asyncio.timeout(seconds):
                result = await self._subscribing.result(self._resolving, state)
        except TimeoutError:
            result = timed_out(seconds)
        answer = self._handler.answered(self.exchange, self._resolving, result)
        self._resolving.extensions = {}
        return answer
