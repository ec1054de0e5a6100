"""`Location` of an upstream's response: its own address and paths become the gateway's (RFC 9110, 10.2.2). Pure."""

from __future__ import annotations

import re
from collections.abc import Iterable
from typing import NamedTuple

from proxy.http.origin import Origin, read_origin

_REFERENCE = re.compile(r"(?:([A-Za-z][A-Za-z0-9+.-]*:)?//([^/?#]*))?([^?#]*)(.*)", re.DOTALL)


class Mount(NamedTuple):
    """A part of the upstream's paths, and where the gateway has it; both end in a slash."""

    upstream: str
    gateway: str


class Locations:
    """Translates the references of one upstream.

    Args:
        own: the origins of the upstream's urls; a reference to one of them loses its scheme and authority.
        mounts: where the gateway has the upstream's paths; the longest that fits counts, then the first.
    """

    __slots__ = ("_mounts", "_own")

    def __init__(self, own: Iterable[Origin] = (), mounts: Iterable[Mount] = ()) -> None:
        self._own = frozenset(own)
        self._mounts = sorted(mounts, key=lambda mount: -len(mount.upstream))

    def translate(self, value: bytes) -> bytes:
        """Return a reference as the gateway's client can use it; unchanged if it is not the upstream's own."""
        if not self._own:
            return value
        text = value.decode("latin-1")
        found = _REFERENCE.fullmatch(text)
        if found is None:
            return value
        scheme, authority, path, rest = found[1] or "http:", found[2], found[3], found[4]
        host = authority.rpartition("@")[2] if authority is not None else None
        if authority is not None and read_origin(f"{scheme}//{host}") not in self._own:
            return value
        if authority is not None and not path.startswith("/"):
            path = f"/{path}"
        mount = next(
            (m for m in self._mounts if f"{path}/".startswith(m.upstream) or path.startswith(m.upstream)), None
        )
        if mount is not None:
            path = mount.gateway + path[len(mount.upstream) :]
        elif authority is None:
            return value
        while path.startswith("//"):
            path = path[1:]
        return (path + rest).encode("latin-1")
