"""Hosts and origins: one rule for what is the same (RFC 6454, 4; RFC 9110, 7.2). Pure.

Two origins are the same if scheme, lower-case host and port, with its default filled in, are the same. A `Host` in any
case, with a trailing dot, an empty port or the default port is that host.
"""

from __future__ import annotations

import ipaddress
import re
from typing import NamedTuple

from proxy.errors import BadRequest

_HOST = re.compile(r"([A-Za-z0-9._-]+|\[[0-9A-Fa-f:.]+\])(?::([0-9]{0,5}))?")
_ORIGIN = re.compile(r"([A-Za-z][A-Za-z0-9+.-]*)://([^/?#\s]+)/?")
_DEFAULT_PORTS = {"http": 80, "https": 443}
_SCHEMES = {"http": "http", "https": "https", "ws": "http", "wss": "https"}


class Host(NamedTuple):
    """A host: its name in lower case without a trailing dot, and its port (None: the default of the scheme)."""

    name: str
    port: int | None


class Origin(NamedTuple):
    """An origin in its one form. `scheme` is `http` or `https`."""

    scheme: str
    host: str
    port: int

    def __str__(self) -> str:
        """Return the origin as browsers write it, without the scheme's default port."""
        port = "" if self.port == _DEFAULT_PORTS[self.scheme] else f":{self.port}"
        return f"{self.scheme}://{self.host}{port}"


def read_host(authority: str) -> Host:
    """Return the host of a `Host` field.

    Raises:
        BadRequest: the field is not a host with an optional port.
    """
    found = _HOST.fullmatch(authority)
    name = found[1].lower().removesuffix(".") if found else ""
    if found is None or not name:
        raise BadRequest("Bad Host header")
    port = int(found[2]) if found[2] else None
    if port is not None and port > 65535:
        raise BadRequest("Bad Host header")
    return Host(name, port)


def normal_scheme(text: str) -> str | None:
    """Return `http` or `https` for a scheme in any case, `ws` and `wss` included; None for any other."""
    return _SCHEMES.get(text.strip().lower())


def origin_of(scheme: str, host: Host) -> Origin:
    """Return the origin that a request with this scheme and host is sent to."""
    return Origin(scheme, host.name, _DEFAULT_PORTS[scheme] if host.port is None else host.port)


def read_origin(text: str) -> Origin | None:
    """Return an `Origin` field, or an URL without a path, in its one form; None if it is not of that kind."""
    found = _ORIGIN.fullmatch(text)
    scheme = normal_scheme(found[1]) if found else None
    if found is None or scheme is None:
        return None
    try:
        return origin_of(scheme, read_host(found[2]))
    except BadRequest:
        return None


def is_loopback(host: str) -> bool:
    """Return True if a host name or address is the loopback of this machine."""
    if host == "localhost" or host.endswith(".localhost"):
        return True
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
