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
from collections.abc import Callable
from typing import Protocol, TypeVar

from aiohttp.hdrs import HOST
from aiohttp.http_parser import RawRequestMessage
from aiohttp.http_writer import HttpVersion11

from proxy.access import Kind, Principal, classify
from proxy.config.compile import Network, RouteSpec
from proxy.exchange import client_address, forwarded_proto
from proxy.handlers.fast_exchange import Client, FastRoute, LaneExchange, Means, PlainRequest
from proxy.handlers.fast_headers import MAX_KEPT_TEXT, Fields, lines
from proxy.handlers.fast_relay import WITH_BODY, Brought, PlainRelay, Target
from proxy.handlers.fields import forwarding_fields, user_fields
from proxy.handlers.streams import Drain
from proxy.observe.access import AccessLog
from proxy.observe.metrics import Metrics
from proxy.observe.traceparent import is_traceparent
from proxy.routing import Found, RouteTable, is_plain
from proxy.sessions.store import StoreError, key_of
from proxy.upstream.retry import SAFE

_HOST = re.compile(r"(?:[A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::[0-9]{1,5})?")
_REQUEST_ID = re.compile(rb"[A-Za-z0-9._-]{1,128}")
_MAX_KNOWN = 4096
_MAX_PLAIN = 1024
_MAX_PLAIN_BYTES = 1024 * 1024
_MAX_DATA = 4096
K = TypeVar("K")
V = TypeVar("V")


class LaneRoute(Protocol):
    """A route whose own code takes requests into the lane."""

    def plain(self, lane: FastLane, message: RawRequestMessage, body: bytes) -> PlainRequest | None:
        """A request of this route, if it is plain; None leaves it to the ordinary path."""


class FastLane:
    """Takes what it can of what the connections parse. `who` gives the principal of a session's key."""

    def __init__(
        self,
        table: RouteTable[RouteSpec],
        routes: Callable[[RouteSpec], FastRoute | LaneRoute | None],
        who: Callable[[bytes], Principal | None],
        trusted: tuple[Network, ...],
        log: AccessLog,
        drain: Drain,
        metrics: Metrics,
    ) -> None:
        self.means = Means(log, drain, metrics)
        self._table = table
        self._routes = {id(entry.route): routes(entry.route) for entry in table.entries}
        self._who = who
        self._trusted = trusted
        self._hosts: dict[str, str] = {}
        self._fixed: dict[tuple[str, str, str], LaneRoute] = {}
        self._identities: dict[tuple[bytes, str, str, str], tuple[Principal, Fields]] = {}
        self._origins: dict[tuple[int, bytes], bytes] = {}
        self._known: dict[bytes, tuple[PlainRequest, RawRequestMessage]] = {}
        self._known_bytes = 0
        self._seen_once: dict[int, None] = {}
        self._ids = itertools.count(secrets.randbits(62) + 1)
        self._id_prefix = secrets.token_hex(8).encode()

    def take(
        self, client: Client, message: RawRequestMessage, body: bytes, data: bytes | None = None
    ) -> LaneExchange | None:
        """A request with its whole body, ready to start; None leaves it to the ordinary path.

        `data` are the very bytes that it came as, if nothing came before or after them: they are remembered.
        """
        plain = self.plain(message, body)
        exchange = plain.take(client) if plain is not None else None
        if plain is not None and exchange is not None and data is not None:
            self._remember(data, plain, message)
        return exchange

    def again(self, client: Client, data: bytes) -> tuple[RawRequestMessage, LaneExchange] | None:
        """A request whose very bytes were read before, ready to start. It is judged anew, but need not be parsed."""
        known = self._known.get(data)
        exchange = known[0].take(client) if known is not None else None
        return None if known is None or exchange is None else (known[1], exchange)

    def _remember(self, data: bytes, plain: PlainRequest, message: RawRequestMessage) -> None:
        """Keep what bytes were read as, if they came before: clients that poll send the same ones again and again."""
        if len(data) > _MAX_DATA or data in self._known:
            return
        mark = hash(data)
        if mark not in self._seen_once:
            _remembered(self._seen_once, mark, None)
            return
        if len(self._known) >= _MAX_PLAIN or self._known_bytes + len(data) > _MAX_PLAIN_BYTES:
            self._known.clear()
            self._known_bytes = 0
        self._known[data] = plain, message
        self._known_bytes += len(data)

    def plain(self, message: RawRequestMessage, body: bytes) -> PlainRequest | None:
        """A request with its whole body, if it is plain; None leaves it to the ordinary path."""
        if message.version != HttpVersion11 or message.upgrade:
            return None
        authority, method = message.headers.get(HOST, ""), message.method
        fixed = self._fixed.get((authority, method, message.path))
        if fixed is not None:
            return fixed.plain(self, message, body)
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
            return self._relay(route, message, body, Target(path, sent, question + query))
        if not question:
            _remembered(self._fixed, (authority, method, path), route)
        return route.plain(self, message, body)

    def _relay(self, route: FastRoute, message: RawRequestMessage, body: bytes, target: Target) -> PlainRequest | None:
        if not _by_path(route, message.method, target.sent, body):
            return None
        read = route.request.read(message.raw_headers)
        key = self.key(read.authorization.decode("latin-1"), read.token.decode("latin-1")) if read is not None else None
        if read is None or key is None:
            return None
        brought = Brought(
            given_request_id(read.request_id),
            given_trace(read.traceparent.decode("latin-1") if read.traces == 1 else ""),
            self.origin(route.spec, read.origin),
        )
        return PlainRelay(self, route, message, body, target, b"".join(read.kept), brought, key)

    def key(self, authorization: str, token: str) -> bytes | None:
        """Of which session a request's fields carry the token; None if it can't be one."""
        if authorization[:7].lower() == "bearer " and authorization[7:].strip():
            token = authorization[7:]
        return key_of(token.strip())

    def who(self, key: bytes) -> Principal | None:
        """Whose session is kept under a key, if it is live."""
        try:
            return self._who(key)
        except StoreError:
            return None

    def _host(self, authority: str) -> str:
        """A valid Host without its port, in lower case; empty if it is not valid."""
        if len(authority) > MAX_KEPT_TEXT or not _HOST.fullmatch(authority):
            return ""
        host = authority.rpartition(":")[0] if re.search(r":\d+$", authority) else authority
        return _remembered(self._hosts, authority, host.lower())

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
        return _remembered(self._identities, key, (principal, Fields.of(fields)))[1]

    def origin(self, spec: RouteSpec, origin: bytes) -> bytes:
        """What the origin policy adds to an answer."""
        key = (id(spec), origin)
        known = self._origins.get(key)
        if known is not None:
            return known
        fields = spec.cors.response_headers(origin.decode("latin-1") if origin else None)
        return _remembered(self._origins, key, lines(fields))

    def request_id(self) -> bytes:
        """A new id of a request."""
        return b"%b%016x" % (self._id_prefix, next(self._ids))

    def traceparent(self) -> bytes:
        """A new trace, that nobody records."""
        number = next(self._ids)
        return b"00-%b%016x-%016x-00" % (self._id_prefix, number, number)


def given_request_id(value: bytes) -> bytes:
    """The client's id of a request if it is one; else nothing."""
    return value if _REQUEST_ID.fullmatch(value) else b""


def given_trace(value: str) -> bytes:
    """The client's trace if it is well formed; else nothing."""
    return value.encode("latin-1") if value and is_traceparent(value) else b""


def _by_path(route: FastRoute, method: str, sent: str, body: bytes) -> bool:
    """Whether a request is one for the lane, and judged by nothing but its path."""
    if method not in route.actions or "/executions/" in sent.lower():
        return False
    if body and (method not in WITH_BODY or len(body) > route.spec.max_body_size):
        return False
    return method in SAFE or not route.noetl or classify(method, sent, route.spec.action).kind is Kind.PATH


def _remembered(known: dict[K, V], key: K, value: V) -> V:
    """Remember a value; a table that is full starts anew."""
    if len(known) >= _MAX_KNOWN:
        known.clear()
    known[key] = value
    return value
