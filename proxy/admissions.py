"""Who may connect: limits on the number of connections, and what is said to those that can't be served.

It counts; it knows no request.
"""

from __future__ import annotations

import asyncio
import json
import re
import uuid
from collections import Counter

from aiohttp.http_exceptions import LineTooLong

from proxy.config.compile import Network
from proxy.config.model import ServerLimits
from proxy.errors import BadRequest, GatewayError, HeadTooLarge, UriTooLong
from proxy.exchange import in_networks
from proxy.observe.logs import get_logger

_GENERIC = re.compile(r"[A-Za-z0-9 ]*")
_REASONS = {400: "Bad Request", 408: "Request Timeout", 414: "URI Too Long", 431: "Request Header Fields Too Large"}


class Admissions:
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

    def leave(self, address: str) -> None:
        """A counted connection is gone."""
        self.open -= 1
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]

    def note_malformed(self, error: GatewayError, exc: BaseException | None, address: str) -> None:
        """Count a head that can't be served; one short line, without anything that the client sent."""
        self.malformed += 1
        found = _GENERIC.match(_text(exc))
        reason = found[0].strip() if found else ""
        get_logger().info(
            "request.malformed", status=error.status, reason=reason or error.detail, ip=address, count=self.malformed
        )


def _text(exc: BaseException | None) -> str:
    return str(getattr(exc, "message", exc or ""))


def error_of(exc: BaseException | None) -> GatewayError:
    """What aiohttp's parser found, as one of our errors. It keeps the target, and nothing else, in a bytearray."""
    if isinstance(exc, LineTooLong):
        return UriTooLong() if isinstance(exc.args[0], bytearray) else HeadTooLarge()
    return HeadTooLarge() if "too many headers" in _text(exc).lower() else BadRequest("Malformed request")


def say(transport: asyncio.Transport, error: GatewayError) -> None:
    """Answer on the bare connection, where no request exists, and close it."""
    request_id = uuid.uuid4().hex
    body = json.dumps({"error": error.text, "request_id": request_id}).encode()
    reason = _REASONS.get(error.status, "Service Unavailable")
    extra = "".join(f"{name}: {value}\r\n" for name, value in error.headers)
    head = (
        f"HTTP/1.1 {error.status} {reason}\r\nserver: noetl-edge\r\ncontent-type: application/json\r\n"
        f"cache-control: no-store\r\nx-request-id: {request_id}\r\n{extra}"
        f"content-length: {len(body)}\r\nconnection: close\r\n\r\n"
    )
    transport.write(head.encode() + body)
    transport.close()
