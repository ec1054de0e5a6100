"""The head of a request as a value, wherever the request came from. Pure.

Making one applies every rule of syntax, or raises the one error that says what is wrong. What a field block means
(`RequestFields`) holds no decision, so it may be cached by the block's bytes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from proxy.errors import BadRequest, GatewayError
from proxy.http.client_address import Network, client_address, forwarded_scheme
from proxy.http.credentials import OWN_TOKENS, Credentials, TokenForm, read_credentials
from proxy.http.header_plan import RawFields, RequestPlan
from proxy.http.headers import connection_options
from proxy.http.origin import Host, read_host
from proxy.http.request_id import is_request_id
from proxy.http.traceparent import given_traceparent

SAFE_METHODS = frozenset({"GET", "HEAD", "OPTIONS"})
"""Methods that change nothing (RFC 9110, 9.2.1), as far as the gateway serves them."""
_NO_HOST = Host("", None)


@dataclass(frozen=True, slots=True)
class Peer:
    """The other end of a client connection: its address, the connection's own scheme, and whether it is trusted to
    report the address and scheme of its clients."""

    address: str
    scheme: str
    trusted: bool


class RequestFields:
    """What the header fields of a request mean.

    `raw` are the fields as sent; `size` their bytes; `error` what is wrong with them, if anything; `authority` the
    `Host` as sent, and `host` what it means; `cross_site`: a browser says that a page of another site made the request;
    `content_length` is 0 without a body; `request_id` and `traceparent` are
    the client's if they are well formed, else empty; `options` the members of `Connection`; `whole`: nothing about the
    message's framing or connection needs a look beyond its length; `close`: the client wants the connection to end.
    `derived` caches what compiled parts of the configuration make of these fields, by part.
    """

    __slots__ = (
        "_client", "authority", "close", "content_length", "credentials", "cross_site", "derived", "error", "host",
        "options", "origin", "raw", "request_id", "size", "traceparent", "user_agent", "whole",
    )  # fmt: skip

    def __init__(self, raw: RawFields, cookie_name: str | None, tokens: TokenForm = OWN_TOKENS) -> None:
        """Read the fields. `cookie_name` is None where session cookies are not enabled; `tokens` is the form of
        session tokens."""
        self.raw = raw
        self.size = sum(len(name) + len(value) for name, value in raw)
        self.error: GatewayError | None = None
        hosts, codings, lengths = (self.values(n) for n in (b"host", b"transfer-encoding", b"content-length"))
        self.authority = hosts[0] if hosts else ""
        self.host = _NO_HOST
        try:
            self.host = read_host(self.authority) if self.authority else _NO_HOST
        except BadRequest as error:
            self.error = error
        if len(hosts) > 1:
            self.error = BadRequest("Bad Host header")
        if [value.lower() for value in codings] not in ([], ["chunked"]):
            self.error = BadRequest("Transfer coding not supported")
        self.content_length = int(lengths[0]) if lengths and lengths[0].isdecimal() else 0
        self.credentials: Credentials = read_credentials(
            self.values(b"authorization"),
            self.values(b"x-session-token"),
            self.values(b"cookie"),
            cookie_name,
            tokens,
        )
        self.request_id = next((v for v in self.raw_values(b"x-request-id") if is_request_id(v)), b"")
        self.traceparent = given_traceparent(self.raw_values(b"traceparent"))
        origins = self.values(b"origin")
        self.origin = ", ".join(origins) if origins else None
        self.cross_site = b"cross-site" in self.raw_values(b"sec-fetch-site")
        self.user_agent = self.value(b"user-agent") or ""
        self.options = connection_options(self.raw_values(b"connection"))
        self.close = b"close" in self.options
        special = (b"upgrade", b"expect", b"transfer-encoding")
        self.whole = bool(hosts) and not any(name.lower() in special for name, _ in raw)
        self.derived: dict[object, Any] = {}
        self._client: tuple[Peer, str, str] | None = None

    def raw_values(self, name: bytes) -> list[bytes]:
        """Return the values of all fields of a name, given in lower case."""
        return [value for found, value in self.raw if found.lower() == name]

    def values(self, name: bytes) -> list[str]:
        """Return the values of all fields of a name, given in lower case, as Latin-1 text."""
        return [value.decode("latin-1") for value in self.raw_values(name)]

    def value(self, name: bytes) -> str | None:
        """Return the first value of a name, given in lower case, as Latin-1 text; None if the field is not there."""
        return next((value.decode("latin-1") for found, value in self.raw if found.lower() == name), None)

    def client(self, peer: Peer, trusted: Sequence[Network]) -> tuple[str, str]:
        """Return the client's address and scheme, for a request of this peer."""
        if not peer.trusted:
            return peer.address, peer.scheme
        known = self._client
        if known is None or known[0] != peer:
            address = client_address(
                peer.address, self.values(b"x-forwarded-for"), self.values(b"cf-connecting-ip"), trusted
            )
            scheme = forwarded_scheme(self.values(b"x-forwarded-proto")) or peer.scheme
            known = self._client = (peer, address, scheme)
        return known[1], known[2]

    def forwarded(self, plan: RequestPlan) -> bytes:
        """Return the lines of the fields that a route's plan forwards."""
        lines = self.derived.get(plan)
        if lines is None:
            lines = self.derived[plan] = plan.lines(self.raw)
        return lines

    @property
    def upgrades_to_websocket(self) -> bool:
        """Whether the fields ask for a WebSocket (RFC 6455, 4.1). Other upgrades are ignored (RFC 9110, 7.8)."""
        return b"upgrade" in self.options and "websocket" in {
            token.strip().lower() for value in self.values(b"upgrade") for token in value.split(",")
        }

    @property
    def expects_continue(self) -> bool:
        """Whether the client waits for 100 before it sends the body (RFC 9110, 10.1.1)."""
        return (self.value(b"expect") or "").lower() == "100-continue"


class RequestHead:
    """A request without its body. `path` is normalised; `query` has its question mark, or is empty.

    `address` and `scheme` are the client's, as far as who reports them is trusted.
    """

    __slots__ = ("address", "fields", "method", "path", "query", "scheme")

    def __init__(self, method: str, path: str, query: str, fields: RequestFields, address: str, scheme: str) -> None:
        self.method = method
        self.path = path
        self.query = query
        self.fields = fields
        self.address = address
        self.scheme = scheme
