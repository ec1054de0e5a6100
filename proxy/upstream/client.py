"""Requests to one upstream for those who can wait: an answer to read or to stream, with its connection given back.

The relay's fast lane sends on the same connections without coming through here.
"""

from __future__ import annotations

import asyncio
import math
import re
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, AsyncExitStack, asynccontextmanager, contextmanager, nullcontext
from dataclasses import dataclass
from typing import TypeVar

from proxy.errors import BadGateway, GatewayError, GatewayTimeout, Unavailable
from proxy.observe.tracing import Tracing
from proxy.upstream.balance import Balancer, CircuitOpen, Endpoint
from proxy.upstream.connection import Connection
from proxy.upstream.health import HealthChecks, HealthSettings
from proxy.upstream.pool import Full
from proxy.upstream.response import Response
from proxy.upstream.retry import NO_RETRIES, SAFE, RetryBudget, RetryPolicy
from proxy.upstream.sink import Fault, FaultKind

Headers = list[tuple[str, str]]
_MAX_PROBE = 64 * 1024
_UNTRACED = nullcontext()
T = TypeVar("T")
_UNSAFE_FIELD = re.compile(r"[\r\n\x00]")


@dataclass(slots=True)
class _Call:
    """One request of a client's, however often it is sent."""

    method: str
    target: str
    headers: Headers
    body: bytes | AsyncIterator[bytes] | None
    seconds: float
    key: bytes | None
    spent: int
    tried: list[Endpoint]
    upgrade: bool = False
    probe: bool = False

    @property
    def whole(self) -> bool:
        """Whether it can be sent again from the start."""
        return self.body is None or isinstance(self.body, bytes)


_Begun = tuple[Response, Connection, "asyncio.Task[None] | None"]


class UpstreamClient:
    """The way to one upstream: chooses an endpoint, sends, and sends again what may be sent again."""

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

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        timeout: float | None = None,
        session: bytes = b"",
        spent: int = 0,
        tried: Endpoint | None = None,
        upgrade: bool = False,
    ) -> AsyncIterator[Response]:
        """Send a request and hold the connection while its answer is used. `target` is path and query, ready to send.

        `headers` hold no framing but, where a streamed body's length is known, `content-length`; without it the body
        goes out in chunks. `session` is what `hash_on: session` looks at; `spent` counts the times that this request
        was sent before, the last time to `tried`.

        With `upgrade` the answer may be 101, and its connection the caller's.

        Raises BadGateway, GatewayTimeout, or Unavailable where too many wait for a connection or every circuit is open.
        """
        key = self.balancer.key(target, headers, session) if self.balancer.key is not None else None
        seconds = timeout or self.pool.settings.response_timeout
        call = _Call(method, target, headers, body, seconds, key, spent, [tried] if tried is not None else [], upgrade)
        sending: asyncio.Task[None] | None = None
        try:
            with _UNTRACED if self.tracing is None else self._traced(self.tracing, call):
                response, connection, sending = await self._begin(call)
                try:
                    yield response
                finally:
                    connection.abandon(response)
        finally:
            if sending is not None:
                sending.cancel()
                await asyncio.wait([sending])

    @contextmanager
    def _traced(self, tracing: Tracing, call: _Call) -> Iterator[None]:
        with tracing.upstream(self.name, call.method, call.headers) as headers:
            call.headers = headers
            yield

    async def _begin(self, call: _Call) -> _Begun:
        """Send until there is an answer to pass on, or nothing may be sent again."""
        stale = 0
        while True:
            endpoint = self._choose(call)
            try:
                begun = await self._attempt(endpoint, call)
            except Full as error:
                raise Unavailable(retry_after=1, detail=f"upstream {self.name}: {error}") from None
            except Fault as fault:
                if fault.kind is FaultKind.STALE and not stale and call.whole and call.method in SAFE:
                    stale = 1
                elif not self._may_repeat(endpoint, call, fault):
                    raise error_of(fault, self.name, call.seconds) from None
                continue
            response, connection, sending = begun
            if not self._is_failure(call, response.status):
                return begun
            connection.abandon(response)
            if sending is not None:
                sending.cancel()
            call.spent += 1
            call.tried.append(endpoint)

    def _choose(self, call: _Call) -> Endpoint:
        try:
            return self.balancer.choose(call.key, call.tried)
        except CircuitOpen as error:
            seconds = max(1, math.ceil(error.retry_after))
            raise Unavailable(retry_after=seconds, detail=f"upstream {self.name}: {error}") from None

    def _may_repeat(self, endpoint: Endpoint, call: _Call, fault: Fault) -> bool:
        """Whether a request that failed is sent again. What never reached an upstream costs none of the budget."""
        call.tried.append(endpoint)
        if not self.retries.after_fault(call.method, fault.kind):
            return False
        if fault.kind is FaultKind.CONNECT:
            return len(call.tried) < max(len(self.endpoints), 1 + self.retries.attempts)
        if not call.whole or call.spent >= self.retries.attempts or not self._afford():
            return False
        call.spent += 1
        return True

    def _is_failure(self, call: _Call, status: int) -> bool:
        return (
            self.retries.after_status(call.method, status)
            and call.whole
            and call.spent < self.retries.attempts
            and self._afford()
        )

    def may_retry(self, method: str, *, kind: FaultKind | None = None, status: int = 0) -> bool:
        """Whether a request of the fast lane, without a body and sent once, is sent again; it is charged for."""
        wanted = self.retries.after_status(method, status) if kind is None else self.retries.after_fault(method, kind)
        return wanted and self._afford()

    def _afford(self) -> bool:
        return self.budget.take(sum(endpoint.pool.requests - endpoint.pool.probes for endpoint in self.endpoints))

    async def _attempt(self, endpoint: Endpoint, call: _Call) -> _Begun:
        pool, body = endpoint.pool, call.body
        if not call.whole and pool.uploads >= pool.most_uploads:
            raise Full(f"{pool.uploads} request bodies are on their way")
        head = request_head(call.method, call.target, call.headers, pool.authority, body)
        connection = await pool.acquire(repeatable=call.method in SAFE)
        while not connection.usable:
            connection = await pool.acquire(repeatable=call.method in SAFE)
        response = Response(connection)
        sending: asyncio.Task[None] | None = None
        deadline = pool.now() + call.seconds
        if body is None or isinstance(body, bytes):
            connection.begin(
                response,
                head + (body or b""),
                head_only=call.method == "HEAD",
                deadline=deadline,
                upgrade=call.upgrade,
                probe=call.probe,
            )
        else:
            connection.begin(response, head, head_only=call.method == "HEAD", deadline=deadline, sent=False)
            chunked = b"\r\ntransfer-encoding: chunked\r\n" in head
            pool.uploads += 1
            sending = asyncio.create_task(_send(connection, response, body, call.seconds, chunked=chunked))
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
        """Why a health check of an endpoint failed; empty if it did not."""
        call = _Call("GET", self._probe_path, [], None, self._probe_seconds, None, 0, [], probe=True)
        try:
            async with asyncio.timeout(self._probe_seconds):
                response, connection, _ = await self._attempt(endpoint, call)
                try:
                    await response.read(_MAX_PROBE)
                finally:
                    connection.abandon(response)
        except (Fault, Full, BadGateway) as error:
            return str(error)
        except TimeoutError:
            return f"no answer within {self._probe_seconds:g} s"
        return "" if response.status < 400 else f"status {response.status}"

    async def reachable(self, path: str, timeout: float) -> bool:
        """Whether the upstream answers this path with a success within `timeout` seconds."""
        try:
            async with asyncio.timeout(timeout), self.request("GET", path, [], timeout=timeout) as response:
                return response.status < 500
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
    connection: Connection, response: Response, body: AsyncIterator[bytes], seconds: float, *, chunked: bool
) -> None:
    """Pass the request's body on, as fast as the upstream takes it. An answer that is complete ends it."""
    try:
        async for data in body:
            if connection.sink is not response:
                return
            connection.write(b"%x\r\n%b\r\n" % (len(data), data) if chunked else data)
            await connection.drain()
            if not connection.head_done:
                connection.extend(seconds)
        if connection.sink is response:
            if chunked:
                connection.write(b"0\r\n\r\n")
            connection.finish_sending()
    except GatewayError as error:
        response.refuse(error)
        connection.abandon(response)


def request_head(
    method: str, target: str, headers: Headers, authority: str, body: bytes | AsyncIterator[bytes] | None
) -> bytes:
    """A request's head, framed for its body. Raises BadGateway for a field that would not be one line."""
    framing = f"host: {authority}\r\n"
    if isinstance(body, bytes):
        framing += f"content-length: {len(body)}\r\n"
    lines = []
    streamed = body is not None and not isinstance(body, bytes)
    known = False
    for name, value in headers:
        lowered = name.lower()
        if lowered == "host":
            continue
        if lowered == "content-length":
            known = True
            if isinstance(body, bytes):
                continue
        if _UNSAFE_FIELD.search(value) or _UNSAFE_FIELD.search(name):
            raise BadGateway(detail=f"header {name!r} has a value that is not one line")
        lines.append(f"{name}: {value}\r\n")
    if streamed and not known:
        framing += "transfer-encoding: chunked\r\n"
    return f"{method} {target} HTTP/1.1\r\n{framing}{''.join(lines)}\r\n".encode("latin-1")


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
