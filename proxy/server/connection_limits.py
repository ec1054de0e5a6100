"""Who may connect: limits on the number of connections, and what is said to those that can't be served.

It counts; it knows no request.
"""

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
from proxy.http.request_id import new_request_id
from proxy.http.response import JSON_FIELDS, SERVER
from proxy.observe.logs import get_logger

_GENERIC = re.compile(r"[A-Za-z0-9 ]*")


class ConnectionLimits:
    """Counts what clients do to connections: how many are open, in all and per address, and what was refused.

    Addresses are counted also while they have no limit: a reload may bring one, and connections outlive reloads.
    """

    def __init__(self, limits: ServerLimits, trusted: tuple[Network, ...]) -> None:
        self.open = 0
        self.malformed = 0
        self.refused = 0
        self.limits = limits
        self.trusted = trusted
        self._by_address: Counter[str] = Counter()

    def is_trusted(self, address: str) -> bool:
        """Whether an address is a trusted proxy's."""
        return in_networks(address, self.trusted)

    def admit(self, address: str, *, trusted: bool) -> bool:
        """Count a new connection, or refuse it. Trusted proxies carry many clients: no limit per address for them."""
        limit = self.limits.max_connections_per_ip
        if self.open >= self.limits.max_connections:
            return self._refuse("max_connections", address)
        if limit and not trusted and self._by_address[address] >= limit:
            return self._refuse("max_connections_per_ip", address)
        self.open += 1
        self._by_address[address] += 1
        return True

    def _refuse(self, limit: str, address: str) -> bool:
        self.refused += 1
        if self.refused & (self.refused - 1) == 0:
            get_logger().warning("connections.refused", limit=limit, ip=address, count=self.refused)
        return False

    def release(self, address: str) -> None:
        """A counted connection is gone."""
        self.open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def note_malformed(self, error: GatewayError, exc: BaseException | None, address: str) -> None:
        """Count a head that can't be served; one short line, without anything that the client sent."""
        self.malformed += 1
        found = _GENERIC.match(str(getattr(exc, "message", exc or "")))
        reason = found[0].strip() if found else ""
        get_logger().info(
            "request.malformed", status=error.status, reason=reason or error.detail, ip=address, count=self.malformed
        )


def bare_response(transport: asyncio.Transport, error: GatewayError, *, close: bool = True) -> None:
    """Send an error on a connection that has no request, and close it, unless aiohttp's loop is about to."""
    request_id = new_request_id().decode()
    content = json.dumps({"error": error.text, "request_id": request_id}).encode()
    reason = HTTPStatus(error.status).phrase
    fields = [*JSON_FIELDS, SERVER, ("x-request-id", request_id), *error.headers]
    lines = "".join(f"{name}: {value}\r\n" for name, value in fields).encode()
    head = b"HTTP/1.1 %d %b\r\n%b%bcontent-length: %d\r\nconnection: close\r\n\r\n"
    transport.write(head % (error.status, reason.encode(), lines, date_line(), len(content)) + content)
    if close:
        transport.close()
