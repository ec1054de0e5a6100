"""Takes each request through its steps: head, route, guards, handler, response, access line. One per configuration.

It serves both transports and knows no socket; `connection.py` offers requests, `worker.py` says which configuration is
in force.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import NamedTuple, Protocol

from proxy.bounded import BoundedCache
from proxy.errors import (
    BadRequest,
    Forbidden,
    GatewayError,
    HeadTooLarge,
    InternalError,
    MethodNotAllowed,
    NotFound,
    RequestTimeout,
    Unavailable,
)
from proxy.exchange import Client, Exchange, FastExchange, Handover, RequestContext, ResponseWriter, Service
from proxy.gateway import Gateway
from proxy.guards import admit, admit_user, admit_waiting
from proxy.http.body import ClientLeft, Content, RequestBody
from proxy.http.header_plan import RawFields
from proxy.http.request import Peer, RequestFields, RequestHead
from proxy.http.response import HSTS, OwnHeads, Response, error_response
from proxy.http.target import KnownPath, KnownPaths, Target, read_target
from proxy.identity.principal import Principal
from proxy.observe.access import AccessLine, AccessLog
from proxy.observe.audit_trail import AuditTrail
from proxy.observe.logs import access_log, get_logger, redact_query
from proxy.relay.relayed import own_cors_lines
from proxy.routing import Found, Missing
from proxy.sessions.store import MustWait, StoreError

_KNOWN_FIELDS = 4096
_KNOWN_FIELDS_BYTES = 8 * 1024**2
_MAX_BLOCK = 4096
_HTTP_1_0, _HTTP_1_1 = (1, 0), (1, 1)
_NOT_FAST = Handover(None)
_TRACED = Handover(None, traced=True)


class Incoming(NamedTuple):
    """A request as aiohttp's loop has it.

    `content` is None for a request without a body; `malformed` is the error of a body that is known to be malformed.
    """

    method: str
    target: str
    version: tuple[int, int]
    raw_headers: RawFields
    should_close: bool
    content: Content | None
    malformed: GatewayError | None


class Answered(NamedTuple):
    """What becomes of the connection behind a response. `linger`: the rest of the request's body is read first."""

    keep_alive: bool
    linger: bool


class ClientSide(Client, Protocol):
    """A client's connection, with its other end."""

    peer: Peer

    @property
    def connected(self) -> bool:
        """Whether the client is still there."""


def field_block(data: bytes, fields: int) -> bytes:
    """Return the field block of a request: the lines between its first line and the blank line that ends its head.

    Return nothing if they are not as many as its fields, as behind a blank line before the request (RFC 9112, 2.2).
    """
    start = data.find(b"\r\n") + 2
    block = data[start : data.find(b"\r\n\r\n", start - 2)]
    return block if block.count(b"\r\n") + 1 == fields else b""


class Dispatcher:
    """Serves one gateway. `in_flight` requests are under way; `on_idle` is called when the last one ends.

    `begun` counts the requests that began on the fast path, `handed_over` those of them that left it.
    """

    def __init__(self, gateway: Gateway, *, fast: bool = True, log: AccessLog | None = None) -> None:
        """Serve a gateway. Without `fast` all requests use the streaming path; `log` replaces the access log."""
        config = gateway.compiled.loaded.gateway
        self.gateway = gateway
        self.in_flight = self.begun = self.handed_over = 0
        self.on_idle: Callable[[], None] | None = None
        self.known_fields: BoundedCache[bytes, RequestFields] = BoundedCache(_KNOWN_FIELDS, _KNOWN_FIELDS_BYTES)
        self.known_paths = KnownPaths()
        self._limits = config.server.limits
        self._drain = gateway.drain
        self._tracing = gateway.tracing
        self._trusted = gateway.compiled.trusted_proxies
        self._cookie = config.sessions.cookie.name if config.sessions.cookie.enabled else None
        self._default_cors = gateway.compiled.cors
        self._sessions = gateway.principals
        self._tokens = gateway.principals.tokens
        self._fast = fast
        self._routes = gateway.routes
        self._heads = OwnHeads(gateway.security, HSTS if gateway.security else ())
        self._access_log: AccessLog = log or access_log(enabled=config.logging.access)
        self._audit = AuditTrail(gateway.audit, gateway.process.denials) if gateway.audit is not None else None
        self._observe = gateway.process.measures.metrics.observe if config.metrics.enabled else None
        self._log = get_logger()
        gateway.internal.record = self._write_access

    # The fast path

    def begin_parsed(
        self, client: ClientSide, method: str, target: str, raw: RawFields, body: bytes, data: bytes | None
    ) -> None:
        """Begin a parsed request that has arrived whole, or hand it over.

        `data` are the very bytes that it came as, if its field block may be kept: then the next request with the same
        block need not be parsed.
        """
        fields = RequestFields(raw, self._cookie, self._tokens)
        try:
            path, query = self._read_head(method, target, fields)
        except GatewayError:
            client.hand_over(_NOT_FAST)
            return
        block = field_block(data, len(raw)) if data is not None and fields.whole else b""
        if 0 < len(block) <= _MAX_BLOCK:
            self.known_fields.put(block, fields, 4 * len(block))
        self.begin(client, self.known_paths.of(method, path), query, fields, body)

    def begin(self, client: ClientSide, known: KnownPath, query: str, fields: RequestFields, body: bytes) -> None:
        """Begin a request that has arrived whole, or hand it over. It may be answered before this returns."""
        started = time.perf_counter()
        found: Found[Service] | Missing | None = known.derived.get(self._routes)
        if found is None:
            found = self._routes.find(fields.host.name, known.method, known.path)
            if not self._routes.by_host:
                known.derived[self._routes] = found
        if isinstance(found, Missing) or not self._fast:
            client.hand_over(_NOT_FAST)
            return
        service = found.route
        if service.fast is None or len(body) > service.max_body or not fields.whole:
            client.hand_over(_NOT_FAST)
            return
        if self._tracing is not None and self._tracing.samples():
            client.hand_over(_TRACED)
            return
        self.in_flight += 1
        self.begun += 1
        exchange = service.fast(known, query, fields, body, client, self, found, started)
        exchange.address, exchange.scheme = fields.client(client.peer, self._trusted)
        try:
            exchange.principal = admit(service.guards, exchange, self._sessions)
        except MustWait:
            self.hand_over(client, Handover(exchange, awaits_session=True))
            return
        except Exception as error:
            self.fail(exchange, error)
            return
        try:
            handover = exchange.begin()
        except MustWait:
            handover = Handover(exchange)
        except Exception as error:
            self.fail(exchange, error)
            return
        if handover is not None:
            self.hand_over(client, handover)

    def hand_over(self, client: Client, handover: Handover) -> None:
        """Let the streaming path go on with a request of the fast path."""
        self.handed_over += 1
        client.hand_over(handover)

    def respond(self, exchange: FastExchange, response: Response) -> None:
        """Send a response of the gateway's own, and complete the request."""
        close = exchange.close or self._drain.started
        exchange.status = response.status
        data = self._own_response(exchange, response, close=close)
        self.complete(exchange)  # before the client can know of it
        exchange.client.send(data)
        exchange.client.finished(close=close)

    def fail(self, exchange: FastExchange, error: Exception) -> None:
        """Send the response to a request that ended in an error, and complete it."""
        self.respond(exchange, self._refusal(exchange, error))

    def complete(self, exchange: Exchange) -> None:
        """Write the access line of a request, and count it."""
        self.in_flight -= 1
        self._write_access(exchange)
        if self.on_idle is not None and not self.in_flight:
            self.on_idle()

    # The streaming path

    async def answer(self, client: ClientSide, incoming: Incoming, handover: Handover | None) -> Answered:
        """Answer one request of aiohttp's loop; go on with what the fast path handed over."""
        tracing = self._tracing
        traced = tracing is not None and (handover.traced if handover is not None else tracing.samples())
        context = self._context(client, incoming, handover)
        if tracing is None or not traced:
            return await self._answer(client, incoming, context)
        given = {
            n: v for n in ("traceparent", "tracestate") if (v := context.head.fields.value(n.encode())) is not None
        }
        with tracing.request(incoming.method, given) as span:
            answered = await self._answer(client, incoming, context)
            route = context.service.spec.pattern if context.service else None
            tracing.end_request(span, route, context.status, context.request_id.decode())
            return answered

    def _context(self, client: ClientSide, incoming: Incoming, handover: Handover | None) -> RequestContext:
        exchange: Exchange | None = handover.exchange if handover is not None else None
        if exchange is None:
            fields = RequestFields(incoming.raw_headers, self._cookie, self._tokens)
            address, scheme = fields.client(client.peer, self._trusted)
            head = RequestHead(incoming.method, "", "", fields, address, scheme)
            exchange = Exchange(head, None, {}, time.perf_counter())
        fields = exchange.head.fields
        chunked = fields.value(b"transfer-encoding") is not None
        body = RequestBody(
            incoming.content,
            fields,
            None if chunked else fields.content_length,
            self._limits.body_timeout,
            self._limits.min_rate,
            client.send,
        )
        writer = ResponseWriter(client, http_1_0=incoming.version == _HTTP_1_0, close=incoming.should_close)
        return RequestContext(exchange, body, writer, handover)

    async def _answer(self, client: ClientSide, incoming: Incoming, context: RequestContext) -> Answered:
        if context.handover is None or context.handover.exchange is None:
            self.in_flight += 1  # else the request is counted since it began
        linger, completed = True, False
        writer, body = context.writer, context.body
        try:
            try:
                response = await self._serve(context, incoming)
            except ClientLeft:
                response = None
            except asyncio.CancelledError:
                raise
            except Exception as error:
                linger = not isinstance(error, RequestTimeout)
                response = None if writer.started else self._refusal(context, error)
                if writer.started:
                    self._log.exception("request.failed", request_id=context.request_id.decode())
                    writer.broken = True
            if response is not None:
                writer.close = writer.close or self._drain.started or body.rest_is_unwanted
                context.status = response.status
                data = self._own_response(context, response, close=writer.close)
                completed = self._complete(context, client)
                writer.send_whole(data)
            return Answered(not writer.close, linger and not body.awaits_continue)
        finally:
            if not completed:
                self._complete(context, client)
            if writer.broken:
                client.cut()

    def _complete(self, context: RequestContext, client: ClientSide) -> bool:
        """Complete a request on the streaming path; it is 499 if its client has left, unless that ended a tunnel."""
        if not client.connected and context.status != 101:
            context.status, context.detail = 499, context.detail or "the client left"
        self.complete(context)
        return True

    async def _serve(self, context: RequestContext, incoming: Incoming) -> Response | None:
        if context.service is not None:
            if context.handover is not None and context.handover.awaits_session:
                context.principal = await self._user(context, context.service, admit_user)
            return await context.service.handler(context)
        head = context.head
        if incoming.version not in (_HTTP_1_0, _HTTP_1_1):
            raise BadRequest("HTTP version not supported")
        target = self._read_head(head.method, incoming.target, head.fields)
        if not head.fields.authority and head.fields.value(b"host") is None and incoming.version == _HTTP_1_1:
            raise BadRequest("Host header missing")
        context.use_target(target)
        if incoming.malformed is not None:
            raise incoming.malformed
        if head.method == "OPTIONS":
            return self._options(context)
        found = self._routes.find(head.fields.host.name, head.method, target.path)
        if isinstance(found, Missing):
            raise NotFound if found.because == "no-path" else MethodNotAllowed(found.allow)
        context.service, context.params = found.route, found.params
        context.principal = await self._user(context, found.route, admit_waiting)
        return await found.route.handler(context)

    async def _user(
        self, context: RequestContext, service: Service, guards: Callable[..., Awaitable[Principal | None]]
    ) -> Principal | None:
        """Apply guards that may wait for the session; return the signed-in user."""
        if self._tracing is None:
            return await guards(service.guards, context.head, self._sessions)
        with self._tracing.step("session"):
            return await guards(service.guards, context.head, self._sessions)

    def _read_head(self, method: str, target: str, fields: RequestFields) -> Target:
        """Return the target of a request. Raises GatewayError for what its head does wrong."""
        if fields.size > self._limits.max_header_size:
            raise HeadTooLarge
        if fields.error is not None:
            raise fields.error
        return read_target(method, target, fields.authority)

    def _options(self, context: RequestContext) -> Response:
        fields = context.head.fields
        wanted, origin = fields.value(b"access-control-request-method"), fields.origin
        found = self._routes.find(fields.host.name, wanted or "OPTIONS", context.head.path)
        cors = self._default_cors
        if not isinstance(found, Missing):
            context.service, cors = found.route, found.route.guards.cors
        elif found.because == "no-path":
            raise NotFound
        if origin is None or wanted is None:
            allow = found.allow if isinstance(found, Missing) else ("OPTIONS", *found.route.spec.methods)
            return Response(204, (("allow", ", ".join(sorted(set(allow)))),))
        private = fields.value(b"access-control-request-private-network") == "true"
        answer = cors.preflight_headers(origin, private_network=private)
        if answer is None:
            raise Forbidden("Origin not allowed", detail=f"preflight from {origin!r}")
        return Response(204, answer)

    # Responses of our own, and the access line

    def _refusal(self, exchange: Exchange, error: Exception) -> Response:
        """Return the response to a request that ended in an error; what clients must not see is logged."""
        if isinstance(error, StoreError):
            self._log.error("sessions.unavailable", request_id=exchange.request_id.decode(), reason=str(error))
            error = Unavailable(detail=f"session store: {error}")
        elif not isinstance(error, GatewayError):
            self._log.error("request.failed", request_id=exchange.request_id.decode(), exc_info=error)
            error = InternalError()
        exchange.note(error)
        service = exchange.service
        return error_response(error, exchange.request_id, as_noetl=service is not None and service.bridged)

    def _own_response(self, exchange: Exchange, response: Response, *, close: bool) -> bytes:
        lines = b""
        if exchange.method != "OPTIONS":  # a preflight's response has these fields already
            cors = exchange.service.guards.cors if exchange.service is not None else self._default_cors
            lines = own_cors_lines(cors, exchange)
        ending = exchange.ending(lines, dated=False, close=close)
        return self._heads.bytes(response, exchange.method, exchange.scheme, ending)

    def flush_log(self) -> None:
        """Write the access lines, and the counts of the audit log, that are still collected."""
        self._access_log.flush()
        if self._audit is not None:
            self._audit.write_counts()

    def _write_access(self, exchange: Exchange) -> None:
        principal, service = exchange.principal, exchange.service
        if self._drain.over and exchange.status == 499:
            exchange.detail = "the gateway stopped"
        values = (
            exchange.method,
            exchange.path + redact_query(exchange.query) if exchange.query else exchange.path,
            service.spec.pattern if service is not None else None,
            exchange.status,
            (time.perf_counter() - exchange.started) * 1000,
            exchange.upstream_seconds * 1000,
            principal.user_id if principal is not None else exchange.refused_user_id,
            exchange.address,
            exchange.request_id.decode(),
            exchange.detail,
            exchange.denied,
        )
        line: AccessLine = tuple.__new__(AccessLine, values)  # half the cost of AccessLine(...)
        if self._observe is not None:
            self._observe(line)
        self._access_log.write(line)
        if self._audit is not None and (exchange.denied or (service is not None and service.audited)):
            handler = service.spec.block.handler if service is not None else None
            self._audit.write(line, handler, exchange.fields.user_agent)
