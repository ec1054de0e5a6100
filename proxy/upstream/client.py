"""Requests to one upstream from coroutines: a response to read or to stream, with its connection given back.

The fast path sends on the same connections, and hands over to this module what it can't finish.
"""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from proxy.errors import BadGateway, GatewayError, GatewayTimeout, Unavailable
from proxy.http.header_plan import CHUNKED, request_head
from proxy.observe.tracing import Tracing
from proxy.upstream.balance import Balancer, CircuitOpen, Endpoint
from proxy.upstream.connection import UpstreamConnection
from proxy.upstream.health import HealthChecks, HealthSettings
from proxy.upstream.pool import Full
from proxy.upstream.receiver import Fault, FaultKind
from proxy.upstream.response import UpstreamResponse
from proxy.upstream.retry import NO_RETRIES, RetryBudget, RetryPolicy, RetryState

_MAX_PROBE = 64 * 1024
T = TypeVar("T")
Body = bytes | AsyncIterator[bytes] | None


@dataclass(slots=True)
class OutgoingRequest:
    """A request to an upstream, ready to send.

    Args:
        method: of the request.
        target: path and query.
        lines: the forwarded fields, each with its line end.
        identity: the lines of the identity and forwarding fields.
        request_id: its id.
        traceparent: its trace.
        body: its body; None for no body at all.
        length: the length of a streamed body; None if it is not known, then the body goes out in chunks.
        session: the key of the user's session, for `hash_on: session`.
        upgrade: the response may be 101, and its connection the caller's.
    """

    method: str
    target: str
    lines: bytes
    identity: bytes = b""
    request_id: bytes = b""
    traceparent: bytes = b""
    body: Body = None
    length: int | None = None
    session: bytes = b""
    upgrade: bool = False
    probe: bool = False

    @property
    def whole(self) -> bool:
        """Whether it can be sent again from the start."""
        return self.body is None or isinstance(self.body, bytes)

    @property
    def chunked(self) -> bool:
        """Whether its body goes out in chunks."""
        return not self.whole and self.length is None

    def head(self, authority: bytes) -> bytes:
        """Return its head for an upstream with this `Host`."""
        framing = b""
        if isinstance(self.body, bytes):
            framing = b"content-length: %d\r\n" % len(self.body)
        elif self.body is not None:
            framing = CHUNKED if self.length is None else b"content-length: %d\r\n" % self.length
        return request_head(
            self.method,
            self.target,
            authority,
            framing,
            self.lines,
            self.identity,
            self.request_id,
            self.traceparent,
        )


_Begun = tuple[UpstreamResponse, UpstreamConnection, "asyncio.Task[None] | None"]


class UpstreamClient:
    """The way to one upstream: chooses an endpoint, sends, and sends again what may be sent again.

    Args:
        name: of the upstream.
        balancer: chooses among its urls.
        retries: which failed requests are sent again.
        health: how its urls are checked; None is off.
    """

    def __init__(
        self,
        name: str,
        balancer: Balancer,
        retries: RetryPolicy = NO_RETRIES,
        health: HealthSettings | None = None,
    ) -> None:
        self.name = name
        self.made_of: object = None
        self.tracing: Tracing | None = None
        self.balancer = balancer
        self.endpoints = balancer.endpoints
        self.pool = balancer.endpoints[0].pool
        self.retries = retries
        self.budget = RetryBudget()
        self._health = HealthChecks(name, health, self.endpoints, self._probe) if health else None
        self._probe_path, self._probe_seconds = (health.path, health.timeout) if health else ("/", 2.0)

    def start(self) -> None:
        """Begin the health checks, if there are any."""
        if self._health is not None:
            self._health.start()

    def retry_state(self, method: str, *, whole: bool) -> RetryState:
        """Return the state of a request that is sent for the first time."""
        return RetryState(self.retries, self._afford, len(self.endpoints), method, whole)

    @asynccontextmanager
    async def request(
        self, wanted: OutgoingRequest, *, timeout: float | None = None, retry: RetryState | None = None
    ) -> AsyncIterator[UpstreamResponse]:
        """Send a request and hold the connection while its response is used.

        `timeout` (seconds) bounds the wait for the response's head. `retry` is the state of a request that was sent
        before, on the fast path.

        Raises:
            BadGateway: the upstream can't be reached, reset the connection, or sent what is not HTTP.
            GatewayTimeout: no response in time.
            Unavailable: too many requests wait for a connection, or every circuit is open.
        """
        seconds = timeout or self.pool.settings.response_timeout
        state = retry or self.retry_state(wanted.method, whole=wanted.whole)
        sending: asyncio.Task[None] | None = None
        async with AsyncExitStack() as stack:
            if self.tracing is not None:
                span = self.tracing.upstream(self.name, wanted.method)
                wanted.traceparent = stack.enter_context(span) or wanted.traceparent
            response, connection, sending = await self._begin(wanted, state, seconds)
            try:
                yield response
            finally:
                connection.abandon(response)
                if sending is not None:
                    sending.cancel()
                    await asyncio.wait([sending])

    async def _begin(self, wanted: OutgoingRequest, state: RetryState, seconds: float) -> _Begun:
        """Send until there is a response to forward, or nothing may be sent again."""
        key = self.balancer.key(wanted.target, wanted.lines, wanted.session) if self.balancer.key is not None else None
        while True:
            endpoint = self._choose(key, state.tried)
            try:
                begun = await self._attempt(endpoint, wanted, seconds)
            except Full as error:
                raise Unavailable(retry_after=1, detail=f"upstream {self.name}: {error}") from None
            except Fault as fault:
                if not state.again_after_fault(fault.kind, endpoint):
                    raise error_of(fault, self.name, seconds) from None
                continue
            response, connection, sending = begun
            if not state.again_after_status(response.status, endpoint):
                return begun
            connection.abandon(response)
            if sending is not None:
                sending.cancel()

    def _choose(self, key: bytes | None, tried: list[Endpoint]) -> Endpoint:
        try:
            return self.balancer.choose(key, tried)
        except CircuitOpen as error:
            seconds = max(1, math.ceil(error.retry_after))
            raise Unavailable(retry_after=seconds, detail=f"upstream {self.name}: {error}") from None

    def _afford(self) -> bool:
        return self.budget.take(sum(endpoint.pool.requests - endpoint.pool.probes for endpoint in self.endpoints))

    async def _attempt(self, endpoint: Endpoint, wanted: OutgoingRequest, seconds: float) -> _Begun:
        pool, body = endpoint.pool, wanted.body
        if not wanted.whole and pool.uploads >= pool.most_uploads:
            raise Full(f"{pool.uploads} request bodies are on their way")
        connection = await pool.acquire(wanted.method)
        while not connection.usable:
            connection = await pool.acquire(wanted.method)
        head = wanted.head(connection.authority)
        response = UpstreamResponse(connection)
        sending: asyncio.Task[None] | None = None
        deadline = pool.now() + seconds
        if body is None or isinstance(body, bytes):
            connection.begin(
                response,
                head + (body or b""),
                head_only=wanted.method == "HEAD",
                deadline=deadline,
                upgrade=wanted.upgrade,
                probe=wanted.probe,
            )
        else:
            connection.begin(response, head, head_only=wanted.method == "HEAD", deadline=deadline, sent=False)
            pool.uploads += 1
            sending = asyncio.create_task(_send(connection, response, body, seconds, chunked=wanted.chunked))
            sending.add_done_callback(pool.upload_ended)
        try:
            await response.head()
        except BaseException:
            connection.abandon(response)
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])
            raise
        return response, connection, sending

    async def _probe(self, endpoint: Endpoint) -> str:
        """Return why a health check of an endpoint failed; empty if it did not."""
        wanted = OutgoingRequest("GET", self._probe_path, b"", probe=True)
        try:
            async with asyncio.timeout(self._probe_seconds):
                response, connection, _ = await self._attempt(endpoint, wanted, self._probe_seconds)
                try:
                    await response.read(_MAX_PROBE)
                finally:
                    connection.abandon(response)
        except (Fault, Full, BadGateway) as error:
            return str(error)
        except TimeoutError:
            return f"no response within {self._probe_seconds:g} s"
        return "" if response.status < 400 else f"status {response.status}"

    async def reachable(self, path: str, timeout: float) -> bool:
        """Return whether the upstream responds to this path with a status below 500 within `timeout` seconds."""
        try:
            async with (
                asyncio.timeout(timeout),
                self.request(OutgoingRequest("GET", path, b""), timeout=timeout) as got,
            ):
                return got.status < 500
        except (BadGateway, GatewayTimeout, Unavailable, TimeoutError):
            return False

    async def close(self) -> None:
        """Close the connections."""
        if self._health is not None:
            await self._health.stop()
        for endpoint in self.endpoints:
            await endpoint.pool.close()

    async def retire(self) -> None:
        """Serve what is under way, and nothing more."""
        if self._health is not None:
            await self._health.stop()
        for endpoint in self.endpoints:
            endpoint.pool.retire()


async def _send(
    connection: UpstreamConnection,
    response: UpstreamResponse,
    body: AsyncIterator[bytes],
    seconds: float,
    *,
    chunked: bool,
) -> None:
    """Pass the request's body on, as fast as the upstream takes it. An answer that is complete ends it."""
    try:
        async for data in body:
            if connection.receiver is not response:
                return
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            await connection.drain()
            if not connection.head_done:
                connection.extend(seconds)
        if connection.receiver is response:
            if chunked:
                connection.write(b"0\r\n\r\n")
            connection.finish_sending()
    except GatewayError as error:
        response.refuse(error)
        connection.abandon(response)


def error_of(fault: Fault, name: str, seconds: float) -> GatewayError:
    """What the client is told of an upstream's fault; the log is told the rest."""
    if fault.kind is FaultKind.HEAD_TIMEOUT:
        return GatewayTimeout(detail=f"upstream {name}: no answer within {seconds:g} s")
    return BadGateway(detail=f"upstream {name}: {fault.kind}: {fault}")


class Stopwatch:
    """Adds up the seconds spent waiting for the upstream, for the access log."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    @asynccontextmanager
    async def until_answered(self, asking: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter a context, and count how long that took, also where it failed."""
        async with AsyncExitStack() as stack:
            async with self.timing():
                answer = await stack.enter_async_context(asking)
            yield answer

    @asynccontextmanager
    async def timing(self) -> AsyncIterator[None]:
        """Count the time of a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
