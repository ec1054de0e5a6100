"""One request on its way through the gateway, and what is known of it so far."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import time
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web
from multidict import MultiMapping

from proxy.access import Principal, parse_json
from proxy.config.compile import Network, RouteSpec
from proxy.errors import BadRequest, GatewayError, PayloadTooLarge, RequestTimeout, UnsupportedMediaType
from proxy.observe.traceparent import is_traceparent, new_traceparent
from proxy.upstream.balance import Endpoint
from proxy.upstream.client import Stopwatch

Headers = list[tuple[str, str]]
REQUEST_ID = re.compile(r"[A-Za-z0-9._-]{1,128}")
NO_STORE = ("cache-control", "no-store")
SECURITY = (
    ("x-content-type-options", "nosniff"),
    ("referrer-policy", "no-referrer"),
    ("content-security-policy", "frame-ancestors 'none'"),
)
HSTS = ("strict-transport-security", "max-age=31536000")
"""What `headers.security` adds to our own answers, and what it adds besides behind TLS."""


@dataclass(frozen=True, slots=True)
class Left:
    """What the lane leaves to the ordinary path: an error, or a request to send again.

    `tried`: where it was sent, `spent`: how often that counts as a retry; `started` and `upstream_seconds`: its times.
    """

    error: GatewayError | None
    spent: int = 0
    tried: Endpoint | None = None
    started: float = 0.0
    upstream_seconds: float = 0.0
    request_id: bytes = b""


@dataclass(slots=True)
class Exchange:
    """A request and its circumstances. `origin_headers` are what the origin policy adds to the answer; `left` is what
    the fast lane has left of the request, if it had begun with it."""

    request: web.BaseRequest
    request_id: str
    client_ip: str
    scheme: str
    body_timeout: float
    min_rate: int = 0
    started: float = field(default_factory=time.perf_counter)
    path: str = ""
    query: str = ""
    host: str = ""
    route: RouteSpec | None = None
    params: Mapping[str, str] = field(default_factory=dict)
    principal: Principal | None = None
    origin_headers: tuple[tuple[str, str], ...] = ()
    stopwatch: Stopwatch = field(default_factory=Stopwatch)
    detail: str = ""
    left: Left | None = None
    denied: bool = False
    expects_continue: bool = False
    _traceparent: str = ""

    @property
    def traceparent(self) -> str:
        """The client's `traceparent` if it is there once and well formed, else a new one."""
        if not self._traceparent:
            given = self.request.headers.getall("traceparent", [])
            fine = len(given) == 1 and is_traceparent(given[0])
            self._traceparent = given[0] if fine else new_traceparent()
        return self._traceparent

    @property
    def who(self) -> Principal:
        """The signed-in user; only for handlers behind the session guard."""
        assert self.principal is not None  # noqa: S101 - the session guard is in the handler's chain
        return self.principal

    def go_on_from(self, left: Left) -> None:
        """The fast lane had begun with the request: its times and its id are the request's."""
        self.left = left
        self.started = left.started or self.started
        self.stopwatch.seconds = left.upstream_seconds
        self.request_id = left.request_id.decode() or self.request_id

    def server_timing(self) -> str:
        """Where the time went so far, in milliseconds (W3C Server Timing, 2)."""
        upstream = self.stopwatch.seconds * 1000
        own = (time.perf_counter() - self.started) * 1000 - upstream
        return f"upstream;dur={upstream:.2f}, gateway;dur={max(0.0, own):.2f}"

    async def body(self, limit: int) -> bytes:
        """The request's body. Raises PayloadTooLarge or RequestTimeout."""
        length = self.request.content_length
        if length is not None and length > limit:
            raise PayloadTooLarge(detail=f"{length} bytes announced, {limit} allowed")
        data = bytearray()
        async for chunk in self.chunks(limit):
            data += chunk
        return bytes(data)

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """The request's body as it arrives. Raises PayloadTooLarge or RequestTimeout.

        A client that waits for it is told to go on (RFC 9110, 10.1.1): only now, so that one that was refused is not.
        """
        if self.expects_continue:
            self.expects_continue = False
            if self.request.transport is not None and not self.request.content.total_bytes:
                self.request.transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
        total, waited = 0, 0.0
        content, now = self.request.content, time.monotonic
        while True:
            start = now()
            try:
                async with asyncio.timeout(self.body_timeout):
                    chunk = await content.readany()
            except TimeoutError:
                raise RequestTimeout(detail=f"no part of the body for {self.body_timeout:g} s") from None
            if not chunk:
                return
            total += len(chunk)
            waited += now() - start
            if total > limit:
                raise PayloadTooLarge(detail=f"more than {limit} bytes")
            if self.min_rate and waited > self.body_timeout + total / self.min_rate:
                raise RequestTimeout(detail=f"{total} bytes of the body in {waited:.1f} s")
            yield chunk

    async def json(self, limit: int) -> Any:
        """The request's JSON body. Raises UnsupportedMediaType, BadRequest and what `body` raises."""
        require_json(self.request)
        return parse_json(await self.body(limit))

    async def json_object(self, limit: int) -> dict[str, Any]:
        """The request's body, which must be a JSON object; an empty body is an empty object."""
        if not self.request.body_exists:
            return {}
        document = await self.json(limit)
        if not isinstance(document, dict):
            raise BadRequest("The body must be a JSON object")
        return document


async def read_ahead(chunks: AsyncIterator[bytes], enough: int) -> tuple[bytes, bool]:
    """The first `enough` bytes of a body, or somewhat more; and whether that was all."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) >= enough:
            return bytes(data), False
    return bytes(data), True


async def rejoined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """A body whose beginning was read ahead."""
    yield first
    async for chunk in rest:
        yield chunk


def require_json(request: web.BaseRequest) -> None:
    """Raise UnsupportedMediaType unless the body is declared as plain, uncompressed JSON in UTF-8."""
    kind = request.headers.get("content-type", "").split(";")[0].strip().lower()
    charset = (request.charset or "utf-8").lower().replace("_", "-")
    if kind != "application/json" or charset not in ("utf-8", "utf8", "us-ascii"):
        raise UnsupportedMediaType(detail=f"content-type {kind!r}")
    if any(coding.lower() != "identity" for coding in request.headers.getall("content-encoding", ())):
        raise UnsupportedMediaType("Send the body without content-encoding")


def json_response(document: Any, status: int = 200, headers: Headers | None = None) -> web.Response:
    """A JSON answer that no cache keeps."""
    body = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    response = web.Response(body=body, status=status, content_type="application/json")
    response.headers.extend([NO_STORE, *(headers or [])])
    return response


def forwarded_proto(headers: MultiMapping[str]) -> str:
    """The client's scheme as a trusted proxy tells it; empty if it tells none, or two."""
    given = [value.lower() for value in headers.getall("x-forwarded-proto", ())]
    return given[0] if given in (["http"], ["https"]) else ""


def client_address(peer: str, headers: MultiMapping[str], trusted: tuple[Network, ...]) -> str:
    """The address of the client: the peer, or what trusted proxies say of theirs, from the right."""
    if not in_networks(peer, trusted):
        return peer
    told = headers.getall("x-forwarded-for", ())
    single = headers.getall("cf-connecting-ip", ())
    if single and not told:
        address = single[0].strip()
        return address if len(single) == 1 and _is_address(address) else peer
    for part in reversed(",".join(told).split(",")):
        address = part.strip()
        if not _is_address(address):
            return peer
        peer = address
        if not in_networks(address, trusted):
            break
    return peer


def _is_address(text: str) -> bool:
    """Whether a text is an address, and nothing more: a zone may be any text."""
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return "%" not in text


def in_networks(address: str, networks: tuple[Network, ...]) -> bool:
    """Whether an address is in one of the networks."""
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)
