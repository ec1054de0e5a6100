"""Requests to one upstream over HTTP/1.1 with connection reuse, deadlines and a bounded queue.

This version uses aiohttp's client. Nothing outside `upstream/` knows that, so that it can be replaced.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import aiohttp
from yarl import URL

from proxy.errors import BadGateway, GatewayTimeout, Unavailable

Headers = list[tuple[str, str]]
_MAX_HEAD = 65536


@dataclass(frozen=True, slots=True)
class UpstreamSettings:
    """Times in seconds; see the `upstreams` block."""

    url: str
    connect_timeout: float
    response_timeout: float
    idle_timeout: float
    max_connections: int
    max_pending: int


class BodyBroken(Exception):
    """The upstream ended, or stalled, in the middle of a body whose head has been passed on."""


class Response:
    """An upstream's answer: status, raw headers, and a body to stream or to read."""

    __slots__ = ("_idle_timeout", "_response", "headers", "reason", "status")

    def __init__(self, response: aiohttp.ClientResponse, idle_timeout: float) -> None:
        self._response = response
        self._idle_timeout = idle_timeout
        self.status = response.status
        self.reason = response.reason or ""
        self.headers = [(n.decode("latin-1"), v.decode("latin-1")) for n, v in response.raw_headers]

    async def chunks(self) -> AsyncIterator[bytes]:
        """The body as it arrives. Raises BodyBroken."""
        content = self._response.content
        try:
            while True:
                async with asyncio.timeout(self._idle_timeout):
                    chunk = await content.readany()
                if not chunk:
                    return
                yield chunk
        except (aiohttp.ClientError, OSError) as error:
            raise BodyBroken(f"{type(error).__name__}: {error}") from None

    async def read(self, limit: int) -> bytes:
        """The whole body. Raises BadGateway if it is larger than `limit` bytes or ends early."""
        data = bytearray()
        try:
            async for chunk in self.chunks():
                data += chunk
                if len(data) > limit:
                    raise BadGateway("NoETL server answered too much", detail=f"body over {limit} bytes")
        except BodyBroken as error:
            raise BadGateway(detail=str(error)) from None
        return bytes(data)


class UpstreamClient:
    """The connections to one upstream."""

    def __init__(self, name: str, settings: UpstreamSettings) -> None:
        self.name = name
        self.settings = settings
        self.authority = URL(settings.url).authority
        self._base = settings.url.rstrip("/")
        self._open = 0
        self._session: aiohttp.ClientSession | None = None

    def _client(self) -> aiohttp.ClientSession:
        if self._session is None:
            connector = aiohttp.TCPConnector(limit=self.settings.max_connections, ttl_dns_cache=30)
            self._session = aiohttp.ClientSession(
                connector=connector,
                cookie_jar=aiohttp.DummyCookieJar(),
                auto_decompress=False,
                timeout=aiohttp.ClientTimeout(total=None, sock_connect=self.settings.connect_timeout),
                skip_auto_headers=("user-agent", "accept", "accept-encoding", "content-type"),
                max_line_size=_MAX_HEAD,
                max_field_size=_MAX_HEAD,
            )
        return self._session

    @asynccontextmanager
    async def request(
        self,
        method: str,
        target: str,
        headers: Headers,
        body: bytes | AsyncIterator[bytes] | None = None,
        *,
        timeout: float | None = None,
    ) -> AsyncIterator[Response]:
        """Send a request and hold the connection while its answer is used. `target` is path and query, ready to send.

        Raises BadGateway, GatewayTimeout, or Unavailable where too many requests wait for a connection.
        """
        if self._open >= self.settings.max_connections + self.settings.max_pending:
            raise Unavailable(retry_after=1, detail=f"upstream {self.name}: {self._open} requests in flight")
        self._open += 1
        try:
            response = await self._send(method, target, headers, body, timeout or self.settings.response_timeout)
            done = False
            try:
                yield Response(response, self.settings.idle_timeout)
                done = True
            finally:
                response.release() if done else response.close()
        finally:
            self._open -= 1

    async def _send(
        self, method: str, target: str, headers: Headers, body: bytes | AsyncIterator[bytes] | None, timeout: float
    ) -> aiohttp.ClientResponse:
        url = URL(self._base + target, encoded=True)
        try:
            async with asyncio.timeout(timeout):
                return await self._client().request(method, url, headers=headers, data=body, allow_redirects=False)
        except aiohttp.ConnectionTimeoutError as error:
            raise BadGateway(detail=f"upstream {self.name}: {error}") from None
        except TimeoutError:
            raise GatewayTimeout(detail=f"upstream {self.name}: no answer within {timeout:g} s") from None
        except (aiohttp.ClientError, OSError, ValueError) as error:
            raise BadGateway(detail=f"upstream {self.name}: {type(error).__name__}: {error}") from None

    async def reachable(self, path: str, timeout: float) -> bool:
        """Whether the upstream answers this path with a success within `timeout` seconds."""
        try:
            async with self.request("GET", path, [], timeout=timeout) as response:
                return response.status < 500
        except (BadGateway, GatewayTimeout, Unavailable):
            return False

    async def close(self) -> None:
        """Close the connections."""
        if self._session is not None:
            await self._session.close()


class Stopwatch:
    """Adds up the seconds spent waiting for the upstream, for the access log."""

    __slots__ = ("seconds",)

    def __init__(self) -> None:
        self.seconds = 0.0

    @asynccontextmanager
    async def timing(self) -> AsyncIterator[None]:
        """Count the time of a block."""
        start = time.perf_counter()
        try:
            yield
        finally:
            self.seconds += time.perf_counter() - start
