"""What answers a request: the guards in order, one error type, one access line. One object for each configuration.

It knows no socket; `lifecycle.py` listens, and says which configuration is in force.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable
from typing import cast

from aiohttp import web
from aiohttp.http_writer import HttpVersion10, HttpVersion11

from proxy.access import Principal
from proxy.config.model import Server
from proxy.connections import Connection, lane_supported
from proxy.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    HeadTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    Unauthorized,
    Unavailable,
)
from proxy.exchange import HSTS, REQUEST_ID, Exchange, client_address, forwarded_proto, in_networks, json_response
from proxy.gateway import Gateway, Service
from proxy.observe.access import AccessLine, AccessLog
from proxy.observe.audit import AuditedLog
from proxy.observe.logs import access_log, get_logger, redact_query
from proxy.observe.metrics import MeasuredLog
from proxy.observe.tracing import Tracing
from proxy.routing import Found, Missing, PathError, normalise_path
from proxy.sessions.store import StoreError

_SAFE = ("GET", "HEAD")
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_VERSIONS = (HttpVersion10, HttpVersion11)
_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")


def own_url(block: Server) -> str:
    """How browsers and workers reach this gateway."""
    scheme = "https" if block.tls is not None else "http"
    return (block.public_url or f"{scheme}://localhost:{block.port}").rstrip("/")


class GatewayServer:
    """Serves one gateway. `in_flight` requests are on the ordinary path; `on_idle` is called when the last one ends."""

    def __init__(self, gateway: Gateway) -> None:
        config = gateway.compiled.loaded.gateway
        self.gateway = gateway
        self.in_flight = 0
        self.on_idle: Callable[[], None] | None = None
        self._limits = config.server.limits
        self._drain = gateway.drain
        self._trusted = gateway.compiled.trusted_proxies
        self._cookie = config.sessions.cookie
        self._access_log: AccessLog = access_log(enabled=config.logging.access)
        if gateway.audit is not None:
            handlers = {e.pattern.text: e.route.block.handler or "" for e in gateway.compiled.routes.entries}
            self._access_log = AuditedLog(self._access_log, gateway.audit, handlers)
        if config.metrics.enabled:
            self._access_log = MeasuredLog(self._access_log, gateway.process.measures.metrics)
        self._security = gateway.security
        self._own_origin = own_url(config.server)
        self._log = get_logger()
        self.lane = gateway.fast_lane(self._access_log) if lane_supported() and gateway.tracing is None else None

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Answer one request."""
        tracing = self.gateway.tracing
        return await self._handle(request) if tracing is None else await self._handle_traced(request, tracing)

    async def _handle_traced(self, request: web.BaseRequest, tracing: Tracing) -> web.StreamResponse:
        given = {name: request.headers[name] for name in ("traceparent", "tracestate") if name in request.headers}
        with tracing.request(request.method, given) as span:
            exchange = self._begin(request)
            response = await self._answer(request, exchange)
            route = exchange.route.pattern if exchange.route else None
            tracing.end_request(span, route, response.status, exchange.request_id)
            return response

    async def _handle(self, request: web.BaseRequest) -> web.StreamResponse:
        return await self._answer(request, self._begin(request))

    async def _answer(self, request: web.BaseRequest, exchange: Exchange) -> web.StreamResponse:
        self.in_flight += 1
        status = 499
        try:
            try:
                response = await self._serve(exchange)
            except GatewayError as error:
                response = self._refuse(exchange, error)
            except StoreError as error:
                self._log.error("sessions.unavailable", request_id=exchange.request_id, reason=str(error))
                response = self._refuse(exchange, Unavailable(detail=f"session store: {error}"))
            except asyncio.CancelledError:
                raise
            except Exception:
                self._log.exception("request.failed", request_id=exchange.request_id)
                response = self._refuse(exchange, InternalError())
            status = response.status
            if self._drain.started or request._message.upgrade:
                response.force_close()
            if exchange.expects_continue:
                cast(Connection, request.protocol).do_not_linger()
                response.force_close()
            if not response.prepared:
                self._complete(exchange, response)
            return response
        finally:
            self.in_flight -= 1
            self._write_access(exchange, status)
            if self.on_idle is not None and not self.in_flight:
                self.on_idle()

    def _begin(self, request: web.BaseRequest) -> Exchange:
        given = request.headers.get("x-request-id", "")
        connection = cast(Connection, request.protocol)
        address, believed = connection.peer, connection.trusted
        proto = forwarded_proto(request.headers) if believed else ""
        left = connection.take_left()
        exchange = Exchange(
            request=request,
            request_id=given if REQUEST_ID.fullmatch(given) else uuid.uuid4().hex,
            client_ip=client_address(address, request.headers, self._trusted),
            scheme=proto or connection.scheme,
            body_timeout=self._limits.body_timeout,
            min_rate=self._limits.min_rate,
            expects_continue=request.headers.get("expect", "").lower() == "100-continue",
        )
        if left is not None:
            exchange.go_on_from(left)
        return exchange

    async def _serve(self, exchange: Exchange) -> web.StreamResponse:
        self._read_target(exchange)
        method = exchange.request.method
        table = self.gateway.compiled.routes
        if method == "OPTIONS":
            return self._options(exchange)
        found = table.find(exchange.host, method, exchange.path)
        if isinstance(found, Missing):
            self._origin_of_default(exchange)
            raise NotFound if found.because == "no-path" else MethodNotAllowed(found.allow)
        exchange.route, exchange.params = found.route, found.params
        service = self.gateway.service(found.route)
        await self._guard(exchange, service)
        if exchange.left is not None and exchange.left.error is not None:
            raise exchange.left.error
        return await service.handler(exchange)

    def _read_target(self, exchange: Exchange) -> None:
        request = exchange.request
        self._check_message(request)
        if sum(len(name) + len(value) for name, value in request.raw_headers) > self._limits.max_header_size:
            raise HeadTooLarge
        hosts = request.headers.getall("host", [])
        if len(hosts) > 1 or (hosts and hosts[0] and not _HOST.fullmatch(hosts[0])):
            raise BadRequest("Bad Host header")
        if not hosts and request.version >= (1, 1):
            raise BadRequest("Host header missing")
        authority = hosts[0] if hosts else ""
        exchange.host = authority.rpartition(":")[0].lower() if re.search(r":\d+$", authority) else authority.lower()
        target = request._message.path
        if request.method in ("TRACE", "CONNECT"):
            raise MethodNotAllowed(("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"))
        if _ABSOLUTE.match(target):
            inner, slash, rest = target.partition("://")[2].partition("/")
            if inner.lower() != authority.lower():
                raise BadRequest("The target's authority differs from Host")
            target = slash + rest or "/"
        if target == "*" and request.method == "OPTIONS":
            target = "/"
        raw, _, exchange.query = target.partition("?")
        if "#" in target or not exchange.query.isascii():
            raise BadRequest("bad URL encoding")
        try:
            exchange.path = normalise_path(raw)
        except PathError as error:
            raise BadRequest(str(error)) from None

    def _check_message(self, request: web.BaseRequest) -> None:
        """Refuse versions and transfer codings that we don't speak: upstream would be told that we do."""
        if request._message.version not in _VERSIONS:
            request._version = HttpVersion11  # of the answer
            raise BadRequest("HTTP version not supported")
        if request.headers.get("transfer-encoding", "chunked").lower() != "chunked":
            raise BadRequest("Transfer coding not supported")

    def _options(self, exchange: Exchange) -> web.Response:
        headers = exchange.request.headers
        wanted, origin = headers.get("access-control-request-method"), headers.get("origin")
        found = self.gateway.compiled.routes.find(exchange.host, wanted or "OPTIONS", exchange.path)
        cors = self.gateway.compiled.cors
        if isinstance(found, Found):
            exchange.route, cors = found.route, found.route.cors
        elif found.because == "no-path":
            raise NotFound
        if origin is None or wanted is None:
            allow = found.allow if isinstance(found, Missing) else ("OPTIONS", *found.route.methods)
            return web.Response(status=204, headers={"allow": ", ".join(sorted(set(allow)))})
        private = headers.get("access-control-request-private-network") == "true"
        answer = cors.preflight_headers(origin, private_network=private)
        if answer is None:
            raise Forbidden("Origin not allowed", detail=f"preflight from {origin!r}")
        return web.Response(status=204, headers=list(answer))

    def _origin_of_default(self, exchange: Exchange) -> None:
        exchange.origin_headers = self.gateway.compiled.cors.response_headers(exchange.request.headers.get("origin"))

    async def _guard(self, exchange: Exchange, service: Service) -> None:
        """The guards, in the order of the house: origin, limits, session. The handler asks the access rules."""
        spec, request = service.spec, exchange.request
        origin = request.headers.get("origin")
        exchange.origin_headers = spec.cors.response_headers(origin)
        if self._cookie.enabled and request.method not in _SAFE and origin is not None:
            self._check_origin(exchange, service, origin)
        if spec.allow_from and not in_networks(exchange.client_ip, spec.allow_from):
            raise Forbidden(detail=f"{exchange.client_ip} is not in allow_from of {spec.pattern}")
        limiter = service.limiter if exchange.left is None else None
        if limiter is not None and not limiter.needs_session:
            limiter.take(exchange.client_ip, b"", None, spec.pattern)
        if service.session != "none":
            exchange.principal = await self._authenticate(exchange)
            if exchange.principal is None and service.session == "session":
                raise Unauthorized
        if limiter is not None and limiter.needs_session:
            who = exchange.principal
            limiter.take(exchange.client_ip, who.key if who else b"", who.user_id if who else None, spec.pattern)

    async def _authenticate(self, exchange: Exchange) -> Principal | None:
        tracing = self.gateway.tracing
        if tracing is None:
            return await self.gateway.auth.authenticate(exchange)
        with tracing.step("session"):
            return await self.gateway.auth.authenticate(exchange)

    def _check_origin(self, exchange: Exchange, service: Service, origin: str) -> None:
        """With session cookies on, no foreign page may change anything with one, nor plant one."""
        carries = self._cookie.name in exchange.request.cookies or service.spec.block.handler == "auth.login"
        own = origin == self._own_origin or origin == f"{exchange.scheme}://{exchange.request.headers.get('host', '')}"
        if carries and not own and not service.spec.cors.allows(origin):
            raise Forbidden("Origin not allowed", detail=f"state-changing request from {origin!r}")

    def _refuse(self, exchange: Exchange, error: GatewayError) -> web.Response:
        if error.detail:
            exchange.detail = error.detail
        exchange.denied = exchange.denied or isinstance(error, Forbidden)
        if isinstance(error, RequestTimeout):
            cast(Connection, exchange.request.protocol).do_not_linger()
        if not exchange.origin_headers:
            self._origin_of_default(exchange)
        body = {"error": error.text, "request_id": exchange.request_id}
        return json_response(body, error.status, list(error.headers))

    def _complete(self, exchange: Exchange, response: web.StreamResponse) -> None:
        headers = response.headers
        headers["x-request-id"] = exchange.request_id
        for name, value in exchange.origin_headers:
            headers.add(name, value)
        for name, value in self._security:
            if name not in headers:
                headers[name] = value
        if exchange.route is not None and exchange.route.block.server_timing:
            headers["server-timing"] = exchange.server_timing()
        if exchange.scheme == "https" and self._security:
            headers[HSTS[0]] = HSTS[1]
        headers["server"] = "noetl-edge"

    def flush_log(self) -> None:
        """Write the access lines that are still collected."""
        self._access_log.flush()

    def _write_access(self, exchange: Exchange, status: int) -> None:
        query = redact_query(exchange.query)
        who = exchange.principal
        line = AccessLine(
            exchange.request.method,
            exchange.path + (f"?{query}" if query else ""),
            exchange.route.pattern if exchange.route else None,
            status,
            (time.perf_counter() - exchange.started) * 1000,
            exchange.stopwatch.seconds * 1000,
            who.user_id if who else None,
            exchange.client_ip,
            exchange.request_id,
            exchange.detail,
            exchange.denied,
        )
        self._access_log.write(line)
