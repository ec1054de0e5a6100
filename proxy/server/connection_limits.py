"""Limits on the number of connections, and error responses for connections without a valid request."""

from __future__ import annotations

import asyncio
import json
import re
from collections import Counter
from http import HTTPStatus

from proxy.config.compile import Network
from proxy.config.model import ServerLimits
from proxy.errors import GatewayError
from proxy.http.client_address import in_networks
from proxy.http.date import date_line
from proxy.http.request import Peer
from proxy.http.request_id import new_request_id
from proxy.http.response import JSON_FIELDS, SERVER
from proxy.observe.logs import get_logger

_GENERIC = re.compile(r"[A-Za-z0-9 ]*")


class ConnectionLimits:
    """Counters of connections: open ones, in total and per address, rejected ones, and malformed requests.

    Addresses are counted even without a limit, because a reload may set one and connections outlive reloads.
    """

    def __init__(self, limits: ServerLimits, trusted: tuple[Network, ...]) -> None:
        self.open = 0
        self.malformed = 0
        self.refused = 0
        self.limits = limits
        self.trusted = trusted
        self._by_address: Counter[str] = Counter()

    def is_trusted(self, address: str) -> bool:
        """Return True if an address belongs to a trusted proxy."""
        return in_networks(address, self.trusted)

    def peer(self, transport: asyncio.BaseTransport) -> Peer:
        """Return who is at the other end of a connection."""
        name = transport.get_extra_info("peername")
        address = name[0] if name else ""
        scheme = "http" if transport.get_extra_info("sslcontext") is None else "https"
        return Peer(address, scheme, trusted=self.is_trusted(address))

    def admit(self, address: str, *, trusted: bool) -> bool:
        """Count a new connection; return False if it is rejected. The limit per address excludes trusted proxies."""
        limit = self.limits.max_connections_per_ip
        if self.open >= self.limits.max_connections:
            return self._reject("max_connections", address)
        if limit and not trusted and self._by_address[address] >= limit:
            return self._reject("max_connections_per_ip", address)
        self.open += 1
        self._by_address[address] += 1
        return True

    def _reject(self, limit: str, address: str) -> bool:
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:
            get_logger().warning("connections.rejected", limit=limit, ip=address, count=self.refused)
        return False

    def release(self, address: str) -> None:
        """Remove a closed connection from the counters."""
        self.open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def note_malformed(self, error: GatewayError, exc: BaseException | None, address: str) -> None:
        """Count and log a malformed request head. The log line contains no data of the client.

        Args:
            error: the error that the client receives.
            exc: the parser's error, if there is one.
            address: the client's address.
        """
        self.malformed += 1
        found = _GENERIC.match(str(getattr(exc, "message", exc or "")))
        reason = found[0].strip() if found else ""
        get_logger().info(
            "request.malformed", status=error.status, reason=reason or error.detail, ip=address, count=self.malformed
        )


def bare_response(transport: asyncio.Transport, error: GatewayError, *, close: bool = True) -> None:
    """Send an error response on a connection without a request; `close` is False if the caller closes it."""
    request_id = new_request_id().decode()
    content = json.dumps({"error": error.text, "request_id": request_id}).encode()
    reason = HTTPStatus(error.status).phrase
    fields = [*JSON_FIELDS, SERVER, ("x-request-id", request_id), *error.headers]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
    head = b"HTTP/1.1 %d %b\r\n%b%bcontent-length: %d\r\nconnection: close\r\n\r\n"
    transport.write(head % (error.status, reason.encode(), lines, date_line(), len(content)) + content)
    if close:
        transport.close()
