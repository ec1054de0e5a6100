"""The client's address and scheme: the peer's, or what trusted proxies in front report (RFC 7239, 5). Pure.

What a trusted proxy reports and is no address makes the client `unknown`: never the proxy itself.
"""

from __future__ import annotations

import ipaddress
import re
from collections.abc import Sequence

from proxy.http.origin import normal_scheme

Network = ipaddress.IPv4Network | ipaddress.IPv6Network
UNKNOWN = "unknown"
"""The client's address where a trusted proxy reports something that is no address. It is in no network."""
_IPV4_WITH_PORT = re.compile(r"([0-9.]+):[0-9]{1,5}")
_BRACKETED = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::[0-9]{1,5})?")


def read_address(text: str) -> str | None:
    """Return the address of an `X-Forwarded-For` member, which may carry a port or brackets; None if it is no address.

    A zone (`fe80::1%eth0`) is refused: it may be any text.
    """
    found = _IPV4_WITH_PORT.fullmatch(text) or _BRACKETED.fullmatch(text)
    address = found[1] if found else text
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return None
    return None if "%" in address else str(parsed)


def client_address(
    peer: str, forwarded_for: Sequence[str], connecting_ip: Sequence[str], trusted: Sequence[Network]
) -> str:
    """Return the client's address, as reported by `X-Forwarded-For`, else `CF-Connecting-IP`, of a trusted peer.

    `X-Forwarded-For` is read from the right and trusted addresses are skipped; empty members are skipped too.
    """
    if not in_networks(peer, trusted):
        return peer
    members = [member for value in forwarded_for for member in map(str.strip, value.split(",")) if member]
    if not members:
        members = [value.strip() for value in connecting_ip]
        if len(members) > 1:
            return UNKNOWN
    address = peer
    for member in reversed(members):
        found = read_address(member)
        if found is None:
            return UNKNOWN
        address = found
        if not in_networks(address, trusted):
            break
    return address


def forwarded_scheme(forwarded_proto: Sequence[str]) -> str | None:
    """Return the scheme that trusted proxies report in `X-Forwarded-Proto`; None if they report none, or differ."""
    members = [member for value in forwarded_proto for member in value.split(",") if member.strip()]
    schemes = {normal_scheme(member) for member in members}
    return schemes.pop() if len(schemes) == 1 else None


def in_networks(address: str, networks: Sequence[Network]) -> bool:
    """Return whether an address is in one of the networks. An IPv4-mapped IPv6 address counts as its IPv4 address."""
    if not networks:
        return False
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return any((mapped or parsed) in network for network in networks)
