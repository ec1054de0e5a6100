"""A relayed request as its bytes say it: what of it is the same whenever these bytes come again, worked out once."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, NamedTuple

from aiohttp.hdrs import HOST
from aiohttp.http_parser import RawRequestMessage

from proxy.access import Principal
from proxy.handlers.fast_exchange import Client, FastExchange, FastRoute
from proxy.observe.logs import redact_query
from proxy.upstream.connection import NEVER
from proxy.upstream.pool import STALE_AFTER
from proxy.upstream.retry import SAFE

if TYPE_CHECKING:
    from proxy.handlers.fast import FastLane

WITH_BODY = frozenset({"POST", "PUT", "PATCH"})


class Target(NamedTuple):
    """What a request is for: its path, the path to send, and the query with its question mark."""

    path: str
    sent: str
    query: str


class Brought(NamedTuple):
    """What a request brings along for its answer and its trace: its id and trace, if they are good ones, and what the
    origin policy adds."""

    request_id: bytes
    trace: bytes
    origin: bytes


class _LastHead(NamedTuple):
    """For whom the head was made last."""

    principal: Principal
    address: str
    scheme: str
    upstream: str
    head: bytes


class PlainRelay:
    """A relayed request that is plain. The user's session and rights are looked at each time it is taken."""

    __slots__ = (
        "_after",
        "_authority",
        "_body",
        "_brought",
        "_fields",
        "_key",
        "_lane",
        "_last_head",
        "_longest_idle",
        "_message",
        "_path",
        "_permitted",
        "_start",
        "logged",
        "method",
        "route",
        "should_close",
    )  # fmt: skip

    def __init__(
        self,
        lane: FastLane,
        route: FastRoute,
        message: RawRequestMessage,
        body: bytes,
        target: Target,
        fields: bytes,
        brought: Brought,
        key: bytes,
    ) -> None:
        self._lane, self._key, self._brought, self._body, self._message = lane, key, brought, body, message
        self._fields, self._path = fields, target.path
        self.route = route
        self.method = method = message.method
        self.should_close = message.should_close
        self.logged = _loggable(message.path)
        self._authority = message.headers.get(HOST, "")
        self._start = f"{method} {target.sent}{target.query} HTTP/1.1\r\nhost: "
        self._after = route.request.added
        if method in WITH_BODY:
            self._after += b"content-length: %d\r\n" % len(body)
        self._longest_idle = NEVER if method in SAFE else STALE_AFTER
        self._permitted: Principal | None = None
        self._last_head: _LastHead | None = None

    def take(self, client: Client) -> FastExchange | None:
        """The request, ready to start, if the user plainly may send it and a connection is at hand."""
        started = time.perf_counter()
        lane, route, brought = self._lane, self.route, self._brought
        principal = lane.who(self._key)
        if principal is None or (principal is not self._permitted and not self._permits(principal)):
            return None
        address, scheme = lane.circumstances(client, self._message)
        limiter, pattern = route.limiter, route.spec.pattern
        if limiter is not None and not limiter.allows(address, principal.key, principal.user_id, pattern):
            return None
        connection = route.upstream.balancer.take_idle(principal.key, self._longest_idle)
        if connection is None:
            return None
        if limiter is not None:
            limiter.take(address, principal.key, principal.user_id, pattern)
        request_id = brought.request_id or lane.request_id()
        head = self._head(principal, address, scheme, connection.authority)
        request = b"%bx-request-id: %b\r\ntraceparent: %b\r\n\r\n%b" % (
            head, request_id, brought.trace or lane.traceparent(), self._body,
        )  # fmt: skip
        return FastExchange(
            lane.means, client, self, principal, connection, request, request_id, brought.origin, address, started
        )

    def _permits(self, principal: Principal) -> bool:
        """Whether roles and rules plainly allow the request. A principal that is the same object has the same."""
        needed = self.route.spec.require_roles
        if needed and not needed & principal.subject.roles:
            return False
        if not principal.permits.allows(self.route.actions[self.method], self.method, self._path):
            return False
        self._permitted = principal
        return True

    def _head(self, principal: Principal, address: str, scheme: str, upstream: str) -> bytes:
        """The head to send, but for its last fields."""
        last = self._last_head
        if (
            last is not None
            and last.principal is principal
            and last.address == address
            and last.scheme == scheme
            and last.upstream == upstream
        ):
            return last.head
        identity = self._lane.identity(principal, address, scheme, self._authority).lines
        start = f"{self._start}{upstream}\r\n".encode("ascii")
        head = b"".join((start, self._fields, identity, self._after))
        self._last_head = _LastHead(principal, address, scheme, upstream, head)
        return head


def _loggable(target: str) -> str:
    """A request's target without the secrets in its query."""
    path, question, query = target.partition("?")
    return path + question + redact_query(query) if query else path
