"""Requests to one upstream from coroutines: a response to read or to stream, and the release of its connection.

The fast path uses the same connections, and hands over to this module the requests that it can't finish.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import time
from collections.abc import AsyncIterator, Hashable
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from typing import TypeVar

from proxy.errors import BadGateway, GatewayError, GatewayTimeout, Unavailable
from proxy.http.header_plan import CHUNKED, request_head, request_start
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
        method: the method.
        target: the path and query.
        lines: the forwarded headers, each with its line end.
        identity: the lines of the identity and forwarding headers.
        request_id: the id of the request.
        traceparent: the trace of the request.
        body: the body; None: no body.
        length: the length of a streamed body, in bytes; None: unknown, and the body is sent in chunks.
        session: the key of the user's session, for `hash_on: session`.
        user: for whose share of the connections the request counts; None: it is the gateway's own.
        upgrade: True if the response may be 101; the caller then owns the connection.
        probe: True for a health check.
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
    user: Hashable = None
    upgrade: bool = False
    probe: bool = False

    @property
    def whole(self) -> bool:
        """Return True if the request can be sent again from its beginning."""
        return self.body is None or isinstance(self.body, bytes)

    @property
    def chunked(self) -> bool:
        """Return True if the body is sent in chunks."""
        return not self.whole and self.length is None

    def head(self, authority: bytes) -> bytes:
        """Return the request head with this `Host`."""
        framing = b""
        if isinstance(self.body, bytes):
            framing = b"content-length: %d\r\n" % len(self.body)
        elif self.body is not None:
            framing = CHUNKED if self.length is None else b"content-length: %d\r\n" % self.length
        return request_head(
            request_start(self.method, self.target),
            authority,
            framing,
            self.lines,
            self.identity,
            self.request_id,
            self.traceparent,
        )


_Begun = tuple[UpstreamResponse, UpstreamConnection, "asyncio.Task[None] | None"]


class UpstreamClient:
    """The client of one upstream: chooses an endpoint, sends requests and retries failed ones.

    Args:
        name: the name of the upstream.
        balancer: the balancer of its urls.
        retries: the rules for retries.
        health: the settings of the health checks; None: no health checks.
        title: what errors call it.
    """

    def __init__(
        self,
        name: str,
        balancer: Balancer,
        retries: RetryPolicy = NO_RETRIES,
        health: HealthSettings | None = None,
        title: str = "NoETL server",
    ) -> None:
        self.name = name
        self.title = title
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
        """Start the health checks, if they are configured."""
        if self._health is not None:
            self._health.start()

    def retry_state(self, method: str, *, whole: bool) -> RetryState:
        """Return the retry state of a request before its first attempt."""
        return RetryState(self.retries, self._afford, len(self.endpoints), method, whole)

    @asynccontextmanager
    async def request(
        self, wanted: OutgoingRequest, *, timeout: float | None = None, retry: RetryState | None = None
    ) -> AsyncIterator[UpstreamResponse]:
        """Send a request. Yield its response and hold the connection until the block ends.

        Args:
            wanted: the request.
            timeout: the maximum time until the response head, in seconds; None: that of the configuration.
            retry: the retry state of a request that the fast path sent before; None: it is sent for the first time.

        Raises:
            BadGateway: the upstream is unreachable, closed the connection, or sent an invalid response.
            GatewayTimeout: there was no response in time.
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
        """Send the request, with retries, until there is a response to forward or no further retry is allowed."""
        key = self._key_of(wanted)
        while True:
            endpoint = self._choose(key, state.tried)
            try:
                begun = await self._attempt(endpoint, wanted, seconds)
            except Full as error:
                raise Unavailable(retry_after=1, detail=f"upstream {self.name}: {error}") from None
            except Fault as fault:
                if not state.again_after_fault(fault.kind, endpoint):
                    raise error_of(fault, self, seconds) from None
                continue
            response, connection, sending = begun
            if not state.again_after_status(response.status, endpoint):
                return begun
            connection.abandon(response)
            if sending is not None:
                sending.cancel()

    def _key_of(self, wanted: OutgoingRequest) -> bytes | None:
        find = self.balancer.key
        return None if find is None else find(wanted.target, wanted.lines, wanted.session, wanted.body)

    def _choose(self, key: bytes | None, tried: list[Endpoint]) -> Endpoint:
        try:
            return self.balancer.choose(key, tried)
        except CircuitOpen as error:
            seconds = max(1, math.ceil(error.retry_after))
            raise Unavailable(retry_after=seconds, detail=f"upstream {self.name}: {error}") from None

    def _afford(self) -> bool:
        return self.budget.acquire(sum(endpoint.pool.requests - endpoint.pool.probes for endpoint in self.endpoints))

    async def _attempt(self, endpoint: Endpoint, wanted: OutgoingRequest, seconds: float) -> _Begun:
        pool, body = endpoint.pool, wanted.body
        if not wanted.whole and pool.uploads >= pool.most_uploads:
            raise Full(f"{pool.uploads} request bodies are being sent")
        connection = await pool.acquire(wanted.method, wanted.user)
        while not connection.usable:
            connection = await pool.acquire(wanted.method, wanted.user)
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
        """Return the reason why a health check of an endpoint failed; an empty text if it succeeded."""
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

    async def failure(self, path: str, timeout: float) -> str:
        """Return why the upstream does not respond to this path with a status below 500; an empty text if it does.

        Args:
            path: the path.
            timeout: the maximum time, in seconds.
        """
        return (await self.failure_and_body(path, timeout, 0))[0]

    async def failure_and_body(self, path: str, timeout: float, most: int) -> tuple[str, bytes]:
        """Return the same, and the body of a response with status 200 that has at most `most` bytes; else no bytes."""
        try:
            async with (
                asyncio.timeout(timeout),
                self.request(OutgoingRequest("GET", path, b""), timeout=timeout) as got,
            ):
                if got.status >= 500:
                    return f"status {got.status}", b""
                data = b""
                if most and got.status == 200:
                    with contextlib.suppress(BadGateway):
                        data = await got.read(most)
                return "", data
        except BadGateway as error:
            return error.cause, b""
        except (GatewayTimeout, TimeoutError):
            return f"no response within {timeout:g} s", b""
        except Unavailable:
            return "no connection is free, or its circuit is open", b""

    async def close(self) -> None:
        """Stop the health checks and close the connections."""
        if self._health is not None:
            await self._health.stop()
        for endpoint in self.endpoints:
            await endpoint.pool.close()

    async def retire(self) -> None:
        """Finish current requests, and close each connection as it becomes idle."""
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
    """Forward the body of the request with flow control, until it ends or the response is complete."""
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


def error_of(fault: Fault, client: UpstreamClient, seconds: float) -> GatewayError:
    """Return the client's error for a fault of an upstream; only its `detail`, for the log, describes the fault."""
    if fault.kind is FaultKind.HEAD_TIMEOUT:
        detail = f"upstream {client.name}: no response within {seconds:g} s"
        return GatewayTimeout(f"{client.title} did not answer in time", detail=detail)
    detail = f"upstream {client.name}: {fault.kind}: {fault}"
    return BadGateway(f"{client.title} unreachable", detail=detail, cause=fault.cause)


class Stopwatch:
    """The total time spent waiting for the upstream, in seconds, for the access log."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    @asynccontextmanager
    async def until_answered(self, request: AbstractAsyncContextManager[T]) -> AsyncIterator[T]:
        """Enter a context manager, and add the time until it has been entered or failed."""
        async with AsyncExitStack() as stack:
            async with self.timing():
                response = await stack.enter_async_context(request)
            yield response

    @asynccontextmanager
    async def timing(self) -> AsyncIterator[None]:
        """Add the duration of a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
