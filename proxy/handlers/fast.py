"""The fast lane: a relayed request of a signed-in user, from the parser's message straight to the upstream.

It decides with the very objects of the ordinary path and serves only what they plainly allow. Whatever is not plain
(a body that is large or still coming, a bad path, no session, a refusal, an unusual header, no kept connection, a
request that is judged by a playbook) it leaves to the ordinary path, which decides again and tells why. Headers stay
bytes, and a small answer goes out in one write. GraphQL's part of the lane is in `fast_graphql.py`.
"""

from __future__ import annotations

import itertools
import re
import secrets
import time
from collections.abc import Callable
from typing import NamedTuple, Protocol, TypeVar

from aiohttp.hdrs import HOST
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11

from proxy.access import Kind, Principal, classify
from proxy.config.compile import Network, RouteSpec
from proxy.exchange import client_address, forwarded_proto
from proxy.handlers.fast_exchange import Client, FastExchange, FastRoute, LaneExchange, Means
from proxy.handlers.fast_headers import MAX_KEPT_TEXT, Fields, Read, lines
from proxy.handlers.fields import forwarding_fields, user_fields
from proxy.handlers.streams import Drain
from proxy.observe.access import AccessLog
from proxy.observe.metrics import Metrics
from proxy.observe.traceparent import is_traceparent
from proxy.routing import Found, RouteTable, is_plain
from proxy.sessions.store import StoreError
from proxy.upstream.connection import NEVER
from proxy.upstream.pool import STALE_AFTER
from proxy.upstream.retry import SAFE

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_MAX_KNOWN = 4096
_WITH_BODY = frozenset({"POST", "PUT", "PATCH"})
K = TypeVar("K")
V = TypeVar("V")


class Target(NamedTuple):
    """What a request is for: its path, the path to send, the query with its question mark; and when it came."""

    path: str
    sent: str
    query: str
    started: float


class LaneRoute(Protocol):
    """A route whose own code takes requests into the lane."""

    def take(self, lane: FastLane, client: Client, message: RawRequestMessage, body: bytes) -> LaneExchange | None:
        """A request of this route, ready to start; None leaves it to the ordinary path."""


class FastLane:
    """Takes what it can of what the connections parse. `who` gives the principal of a session token."""

    def __init__(
        self,
        table: RouteTable[RouteSpec],
        routes: Callable[[RouteSpec], FastRoute | LaneRoute | None],
        who: Callable[[str], Principal | None],
        trusted: tuple[Network, ...],
        log: AccessLog,
        drain: Drain,
        metrics: Metrics,
    ) -> None:
        self._metrics = metrics
        self.means = Means(log, drain, metrics)
        self._table = table
        self._routes = {id(entry.route): routes(entry.route) for entry in table.entries}
        self._who = who
        self._trusted = trusted
        self._hosts: dict[str, str] = {}
        self._fixed: dict[tuple[str, str, str], LaneRoute] = {}
        self._identities: dict[tuple[bytes, str, str, str], tuple[Principal, Fields]] = {}
        self._origins: dict[tuple[int, bytes], bytes] = {}
        self._ids = itertools.count(secrets.randbits(62) + 1)
        self._id_prefix = secrets.token_hex(8).encode()

    def take(self, client: Client, message: RawRequestMessage, body: bytes) -> LaneExchange | None:
        """A request with its whole body, ready to start; None leaves it to the ordinary path."""
        started = time.perf_counter()
        if message.version != HttpVersion11 or message.upgrade:
            return None
        authority, method = message.headers.get(HOST, ""), message.method
        fixed = self._fixed.get((authority, method, message.path))
        if fixed is not None:
            return self._taken(fixed, client, message, body)
        path, question, query = message.path.partition("?")
        if not is_plain(path) or "#" in query or not query.isascii() or bool(question) != bool(query):
            return None
        host = self._hosts.get(authority) or self._host(authority)
        found = self._table.find(host, method, path) if host else None
        route = self._routes[id(found.route)] if isinstance(found, Found) else None
        if route is None or not isinstance(found, Found):
            return None
        if isinstance(route, FastRoute):
            sent = path if route.prefix is None else route.prefix + found.params[route.rest]
            return self._relay(route, client, message, body, Target(path, sent, question + query, started))
        if not question:
            _kept(self._fixed, (authority, method, path), route)
        return self._taken(route, client, message, body)

    def _relay(
        self, route: FastRoute, client: Client, message: RawRequestMessage, body: bytes, target: Target
    ) -> FastExchange | None:
        method = message.method
        if not _by_path(route, method, target.sent, body):
            return None
        read = route.request.read(message.raw_headers)
        principal = self._allowed(read, route, method, target.path) if read is not None else None
        if read is None or principal is None:
            return None
        limiter, pattern = route.limiter, route.spec.pattern
        if limiter is not None:
            address, _ = self.circumstances(client, message)
            if not limiter.allows(address, principal.key, principal.user_id, pattern):
                return None
        connection = route.upstream.balancer.take_idle(principal.key, NEVER if method in SAFE else STALE_AFTER)
        if connection is None:
            return None
        address, scheme = self.circumstances(client, message)
        if limiter is not None:
            limiter.take(address, principal.key, principal.user_id, pattern)
        request_id = self.request_id(read.request_id)
        trace = self.traceparent(read.traceparent.decode("latin-1") if read.traces == 1 else "")
        head = b"".join(
            (
                f"{method} {target.sent}{target.query} HTTP/1.1\r\nhost: {connection.authority}\r\n".encode("ascii"),
                *read.kept,
                self.identity(principal, address, scheme, message.headers.get(HOST, "")).lines,
                route.request.added,
                b"content-length: %d\r\n" % len(body) if method in _WITH_BODY else b"",
                b"x-request-id: %b\r\ntraceparent: %b\r\n\r\n%b" % (request_id, trace, body),
            )
        )
        exchange = FastExchange(self.means, client, route, principal, target.started)
        exchange.prepare(
            connection,
            message,
            head,
            deadline=route.upstream.pool.now() + route.timeout,
            request_id=request_id,
            origin=self.origin(route.spec, read.origin),
            address=address,
        )
        return exchange

    def _taken(self, route: LaneRoute, client: Client, message: RawRequestMessage, body: bytes) -> LaneExchange | None:
        taken = route.take(self, client, message, body)
        if taken is not None:
            self._metrics.session_checks["valid"] += 1
        return taken

    def _allowed(self, read: Read, route: FastRoute, method: str, path: str) -> Principal | None:
        """The signed-in user, if the rules plainly allow the request."""
        principal = self.who(read.authorization.decode("latin-1"), read.token.decode("latin-1"))
        if principal is None:
            return None
        needed = route.spec.require_roles
        if needed and not needed & principal.subject.roles:
            return None
        return principal if principal.permits.allows(route.actions[method], method, path) else None

    def who(self, authorization: str, token: str) -> Principal | None:
        """Whose session a request's fields carry."""
        if authorization[:7].lower() == "bearer " and authorization[7:].strip():
            token = authorization[7:]
        token = token.strip()
        if len(token) != 32:
            return None
        try:
            return self._who(token)
        except StoreError:
            return None

    def _host(self, authority: str) -> str:
        """A valid Host without its port, in lower case; empty if it is not valid."""
        if len(authority) > MAX_KEPT_TEXT or not _HOST.fullmatch(authority):
            return ""
        host = authority.rpartition(":")[0] if re.search(r":\d+$", authority) else authority
        return _kept(self._hosts, authority, host.lower())

    def circumstances(self, client: Client, message: RawRequestMessage) -> tuple[str, str]:
        """Address of the client, and scheme, as far as who says so is trusted."""
        if not client.trusted:
            return client.peer, client.scheme
        address = client_address(client.peer, message.headers, self._trusted)
        return address, forwarded_proto(message.headers) or client.scheme

    def identity(self, principal: Principal, address: str, scheme: str, authority: str) -> Fields:
        """The fields that say who is asking, from where and by what way."""
        key = (principal.key, address, scheme, authority)
        known = self._identities.get(key)
        if known is not None and known[0] is principal:
            return known[1]
        fields = [*user_fields(principal), *forwarding_fields(address, scheme, authority)]
        return _kept(self._identities, key, (principal, Fields.of(fields)))[1]

    def origin(self, spec: RouteSpec, origin: bytes) -> bytes:
        """What the origin policy adds to an answer."""
        key = (id(spec), origin)
        known = self._origins.get(key)
        if known is not None:
            return known
        fields = spec.cors.response_headers(origin.decode("latin-1") if origin else None)
        return _kept(self._origins, key, lines(fields))

    def request_id(self, given: bytes) -> bytes:
        """The client's id of the request if it is one, else a new one."""
        return given if _REQUEST_ID.fullmatch(given) else b"%b%016x" % (self._id_prefix, next(self._ids))

    def traceparent(self, given: str) -> bytes:
        """The client's trace if it is well formed, else a new one, that nobody records."""
        if given and is_traceparent(given):
            return given.encode("latin-1")
        number = next(self._ids)
        return b"00-%b%016x-%016x-00" % (self._id_prefix, number, number)


def _by_path(route: FastRoute, method: str, sent: str, body: bytes) -> bool:
    """Whether a request is one for the lane, and judged by nothing but its path."""
    if method not in route.actions or "/executions/" in sent.lower():
        return False
    if body and (method not in _WITH_BODY or len(body) > route.spec.max_body_size):
        return False
    return method in SAFE or not route.noetl or classify(method, sent, route.spec.action).kind is Kind.PATH


def _kept(known: dict[K, V], key: K, value: V) -> V:
    """Remember a value; a table that is full starts anew."""
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[key] = value
    return value
