"""Requests that pages of other origins make through a browser on this machine."""

from __future__ import annotations

import ipaddress

from .messages import Request


def is_loopback(address: str) -> bool:
    """Return whether a text is an address of this machine."""
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    mapped = getattr(parsed, "ipv4_mapped", None)
    return bool((mapped or parsed).is_loopback)


def name_of(host: str) -> str:
    """Return the name or address of a Host header in lower case, without the port."""
    name = host.rpartition(":")[0] if host.rpartition(":")[2].isdigit() and not host.endswith("]") else host
    return name.strip("[]").lower()


def is_local_name(host: str) -> bool:
    """Return whether a Host header names this machine."""
    name = name_of(host)
    return name == "localhost" or name.endswith(".localhost") or is_loopback(name)


def is_foreign(request: Request) -> bool:
    """Return whether a request may come from a page of another origin.

    A page of another machine names itself in `Origin`; with DNS rebinding, its own domain stands in `Host`. Addresses
    and names without a dot, such as those of containers, can't be such a domain.
    """
    origin = request.headers.get("origin")
    if origin is not None and not is_local_name(origin.partition("://")[2]):
        return True
    name = name_of(request.host)
    return "." in name and not is_local_name(request.host) and not _is_address(name)


def _is_address(name: str) -> bool:
    try:
        ipaddress.ip_address(name)
    except ValueError:
        return False
    return True
