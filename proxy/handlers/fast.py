"""The fast lane: a relayed GET or HEAD of a signed-in user, from the parser's message straight to the upstream.

It decides with the very objects of the ordinary path and serves only what they plainly allow. Whatever is not plain
(a body, a bad path, no session, a refusal, an unusual header, no kept connection) it leaves to the ordinary path,
which decides again and tells why. Headers stay bytes, and a small answer goes out in one write.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass
from typing import Protocol, TypeVar

from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11

from proxy.access import Principal
from proxy.config.compile import Network, RouteSpec
from proxy.errors import GatewayError
from proxy.exchange import client_address
from proxy.handlers.fast_headers import Read, RequestPlan, ResponsePlan, lines
from proxy.handlers.fields import forwarding_fields, user_fields
from proxy.observe.access import AccessLine, AccessLog
from proxy.observe.logs import redact_query
from proxy.policy.acl import Action
from proxy.routing import Found, RouteTable, is_plain
from proxy.sessions.store import StoreError
from proxy.upstream.client import UpstreamClient, error_of
from proxy.upstream.connection import Connection, Fault, FaultKind, Head

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_MAX_KNOWN = 4096
K = TypeVar("K")
V = TypeVar("V")


class Client(Protocol):
    """The client's connection, as far as the lane uses it."""

    peer: str
    trusted: bool

    def send(self, data: bytes) -> None:
        """Write to the client."""

    def lane_done(self, *, close: bool) -> None:
        """The answer is complete."""

    def lane_failed(self, error: GatewayError | None, spent: int) -> None:
        """Nothing was answered: the ordinary path answers, with this error, or asks again after `spent` times."""

    def cut(self) -> None:
        """Close at once, so that nobody takes a part for the whole."""

    def blocked(self) -> bool:
        """Whether the client takes no more just now."""


@dataclass(frozen=True, slots=True)
class FastRoute:
    """A relayed route that the lane may serve, compiled. `prefix` stands before the path's rest upstream."""

    spec: RouteSpec
    upstream: UpstreamClient
    prefix: str | None
    rest: str
    actions: dict[str, Action]
    timeout: float
    request: RequestPlan
    answer: ResponsePlan


class FastExchange:
    """A request under way in the lane, and the sink of its answer."""

    __slots__ = (
        "_body", "_chunked", "_client", "_close", "_connection", "_ending", "_head", "_lane", "_retried", "_started",
        "_written", "address", "method", "path", "principal", "request_id", "route", "status", "upstream_seconds",
    )  # fmt: skip

    def __init__(self, lane: FastLane, client: Client, route: FastRoute, principal: Principal) -> None:
        self._lane = lane
        self._client = client
        self.route = route
        self.principal = principal
        self._retried = route.upstream.retries.statuses
        self._started = time.perf_counter()
        self._connection: Connection | None = None
        self._head: Head | None = None
        self._body: list[bytes] = []
        self._chunked = False
        self._written = False
        self.upstream_seconds = 0.0
        self.status = 499

    def begin(
        self,
        connection: Connection,
        message: RawRequestMessage,
        head: bytes,
        *,
        deadline: float,
        request_id: bytes,
        origin: bytes,
        address: str,
    ) -> None:
        """Send the request upstream."""
        self.method = message.method
        self.path = message.path
        self.address = address
        self.request_id = request_id
        self._close = message.should_close
        self._ending = b"%bx-request-id: %b\r\n%b\r\n" % (
            origin,
            request_id,
            b"connection: close\r\n" if self._close else b"",
        )
        self._connection = connection
        connection.begin(self, head, head_only=self.method == "HEAD", deadline=deadline)

    def client_left(self) -> None:
        """The client is gone: the upstream is released at once."""
        if self._connection is not None and self._connection.sink is self:
            self._connection.abandon()
            self.status = 499
            self._tell("the client left")

    def client_blocked(self, blocked: bool) -> None:
        """The client takes no more for now, or takes more again."""
        if self._connection is not None and self._connection.sink is self:
            if blocked:
                self._connection.pause()
            else:
                self._connection.resume()

    # Sink

    def on_head(self, head: Head) -> None:
        if head.status in self._retried and self.route.upstream.may_retry(self.method, status=head.status):
            assert self._connection is not None  # noqa: S101 - it has answered
            self._connection.abandon()
            self._client.lane_failed(None, 1)
            return
        self.upstream_seconds = time.perf_counter() - self._started
        self._head = head
        self.status = head.status

    def on_body(self, data: bytes) -> None:
        self._body.append(data)

    def on_batch(self) -> None:
        head = self._head
        assert head is not None and self._connection is not None  # noqa: S101, PT018 - a batch follows the head
        if not self._written:
            self._written = True
            self._chunked = head.length is None and self.method != "HEAD"
            framing = b"transfer-encoding: chunked\r\n" if self._chunked else b""
            self._client.send(self.route.answer.head(head, framing + self._ending))
        self._pass_on()
        if self._client.blocked():
            self._connection.pause()

    def _pass_on(self) -> None:
        if self._body:
            data = b"".join(self._body)
            self._body.clear()
            self._client.send(b"%x\r\n%b\r\n" % (len(data), data) if self._chunked else data)

    def on_end(self) -> None:
        head = self._head
        assert head is not None  # noqa: S101 - the end follows the head
        if self._written:
            self._pass_on()
            if self._chunked:
                self._client.send(b"0\r\n\r\n")
        else:
            body = b"".join(self._body)
            ending = self._ending
            if head.length is None and self.method != "HEAD":
                ending = b"content-length: %d\r\n%b" % (len(body), ending)
            self._client.send(self.route.answer.head(head, ending) + body)
        self._tell("")
        self._client.lane_done(close=self._close)

    def on_fault(self, fault: Fault) -> None:
        if self._written:
            self._tell(f"upstream broke off: {fault}")
            self._client.cut()
        elif fault.kind is FaultKind.STALE:
            self._client.lane_failed(None, 0)
        elif self.route.upstream.may_retry(self.method, kind=fault.kind):
            self._client.lane_failed(None, 1)
        else:
            self._client.lane_failed(error_of(fault, self.route.upstream.name, self.route.timeout), 0)

    def _tell(self, detail: str) -> None:
        path, question, query = self.path.partition("?")
        line = AccessLine(
            self.method,
            path + question + redact_query(query) if query else path,
            self.route.spec.pattern,
            self.status,
            (time.perf_counter() - self._started) * 1000,
            self.upstream_seconds * 1000,
            self.principal.user_id,
            self.address,
            self.request_id.decode(),
            detail,
        )
        self._lane.log.write(line)


class FastLane:
    """Takes what it can of what the connections parse. `who` gives the principal of a session token."""

    def __init__(
        self,
        table: RouteTable[RouteSpec],
        routes: Callable[[RouteSpec], FastRoute | None],
        who: Callable[[str], Principal | None],
        trusted: tuple[Network, ...],
        log: AccessLog,
    ) -> None:
        self.log = log
        self._table = table
        self._routes = {id(entry.route): routes(entry.route) for entry in table.entries}
        self._who = who
        self._trusted = trusted
        self._hosts: dict[str, str] = {}
        self._users: dict[bytes, tuple[Principal, bytes]] = {}
        self._ways: dict[tuple[str, str, str], bytes] = {}
        self._origins: dict[tuple[int, bytes], bytes] = {}
        self._ids = itertools.count(secrets.randbits(63))
        self._id_prefix = secrets.token_hex(8).encode()

    def take(self, client: Client, message: RawRequestMessage) -> FastExchange | None:
        """Begin to serve a request without a body; None leaves it to the ordinary path."""
        method = message.method
        if (method != "GET" and method != "HEAD") or message.version != HttpVersion11 or message.upgrade:
            return None
        path, question, query = message.path.partition("?")
        if not is_plain(path) or "#" in query or not query.isascii():
            return None
        authority = message.headers.get("host", "")
        host = self._hosts.get(authority) or self._host(authority)
        found = self._table.find(host, method, path) if host else None
        route = self._routes[id(found.route)] if isinstance(found, Found) else None
        if route is None or not isinstance(found, Found):
            return None
        sent = path if route.prefix is None else route.prefix + found.params[route.rest]
        if "/executions/" in sent.lower():
            return None
        read = route.request.read(message.raw_headers)
        principal = self._allowed(read, route, method, path) if read is not None else None
        connection = route.upstream.balancer.take_idle(principal.key) if principal is not None else None
        if read is None or principal is None or connection is None:
            return None
        address, scheme = client.peer, "http"
        if client.trusted:
            address, scheme = self._forwarded(client, message)
        request_id = read.request_id if _REQUEST_ID.fullmatch(read.request_id) else self._new_id()
        head = b"".join(
            (
                f"{method} {sent}{question}{query} HTTP/1.1\r\nhost: {connection.authority}\r\n".encode("ascii"),
                *read.kept,
                self._user(principal),
                self._ways.get((address, scheme, authority)) or self._way(address, scheme, authority),
                route.request.added,
                b"x-request-id: %b\r\n\r\n" % request_id,
            )
        )
        exchange = FastExchange(self, client, route, principal)
        exchange.begin(
            connection,
            message,
            head,
            deadline=route.upstream.pool.now() + route.timeout,
            request_id=request_id,
            origin=self._origins.get((id(route), read.origin)) or self._origin(route, read.origin),
            address=address,
        )
        return exchange

    def _allowed(self, read: Read, route: FastRoute, method: str, path: str) -> Principal | None:
        """The signed-in user, if the rules plainly allow the request."""
        if read.authorization[:7].lower() == b"bearer " and read.authorization[7:].strip():
            token = read.authorization[7:].strip()
        else:
            token = read.token.strip()
        if len(token) != 32:
            return None
        try:
            principal = self._who(token.decode("ascii"))
        except (StoreError, UnicodeDecodeError):
            return None
        if principal is None:
            return None
        needed = route.spec.require_roles
        if needed and not needed & principal.subject.roles:
            return None
        return principal if principal.permits.allows(route.actions[method], method, path) else None

    def _host(self, authority: str) -> str:
        """A valid Host without its port, in lower case; empty if it is not valid."""
        if not _HOST.fullmatch(authority):
            return ""
        host = authority.rpartition(":")[0] if re.search(r":\d+$", authority) else authority
        return _kept(self._hosts, authority, host.lower())

    def _forwarded(self, client: Client, message: RawRequestMessage) -> tuple[str, str]:
        proto = message.headers.get("x-forwarded-proto", "").lower()
        address = client_address(client.peer, message.headers, self._trusted)
        return address, proto if proto in ("http", "https") else "http"

    def _user(self, principal: Principal) -> bytes:
        known = self._users.get(principal.key)
        if known is not None and known[0] is principal:
            return known[1]
        return _kept(self._users, principal.key, (principal, lines(user_fields(principal))))[1]

    def _way(self, address: str, scheme: str, authority: str) -> bytes:
        return _kept(self._ways, (address, scheme, authority), lines(forwarding_fields(address, scheme, authority)))

    def _origin(self, route: FastRoute, origin: bytes) -> bytes:
        fields = route.spec.cors.response_headers(origin.decode("latin-1") if origin else None)
        return _kept(self._origins, (id(route), origin), lines(fields))

    def _new_id(self) -> bytes:
        return b"%b%016x" % (self._id_prefix, next(self._ids))


def _kept(known: dict[K, V], key: K, value: V) -> V:
    """Remember a value; a table that is full starts anew."""
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[key] = value
    return value
