"""What becomes of each header field of a relayed message, compiled per route: bytes in, bytes out. Pure.

One implementation for every way a request goes upstream: both transports, GraphQL's calls and WebSocket handshakes.
Fields are forwarded in their order, with their bytes unchanged.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

from proxy.http.credentials import sets_cookie, without_cookie
from proxy.http.headers import (
    CORS_PREFIX,
    CREDENTIALS,
    FORWARDED_PREFIX,
    GATEWAY_REQUEST,
    HOP_BY_HOP,
    PROXY_PREFIX,
    connection_options,
)
from proxy.http.location import Locations

RawFields = Sequence[tuple[bytes, bytes]]
_NO_NAMES: frozenset[bytes] = frozenset()
_NEVER_FORWARDED = HOP_BY_HOP | CREDENTIALS | GATEWAY_REQUEST
_REQUEST_PREFIXES = (PROXY_PREFIX, FORWARDED_PREFIX)
_RESPONSE_PREFIXES = (PROXY_PREFIX, CORS_PREFIX)
_COOKIE = b"cookie"
_TYPE_OPTIONS = b"x-content-type-options"
_NOSNIFF = b"x-content-type-options: nosniff\r\n"
CHUNKED = b"transfer-encoding: chunked\r\n"


class HeaderEdits(NamedTuple):
    """The `headers` block of a route for one direction: fields to set, and names to remove."""

    set: Mapping[str, str] = {}
    remove: tuple[str, ...] = ()

    @property
    def names(self) -> frozenset[bytes]:
        """The names of the fields that the edits replace or remove, in lower case."""
        return frozenset(name.lower().encode() for name in (*self.set, *self.remove))

    @property
    def lines(self) -> bytes:
        """The fields to set, as they stand in a head."""
        return b"".join(field_line(name.encode(), value.encode("latin-1")) for name, value in self.set.items())


def field_line(name: bytes, value: bytes) -> bytes:
    """Return a field as it stands in a head."""
    return b"%b: %b\r\n" % (name, value)


def text_lines(fields: Sequence[tuple[str, str]]) -> bytes:
    """Return fields as they stand in a head."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


def request_start(method: str, target: str) -> bytes:
    """Return the method and the target with which a request's head begins."""
    return f"{method} {target}".encode()


def request_head(
    start: bytes,
    authority: bytes,
    framing: bytes,
    lines: bytes,
    identity: bytes,
    request_id: bytes,
    traceparent: bytes,
) -> bytes:
    """Return the head of a request to an upstream. Every way upstream makes it here.

    Args:
        start: method and target; see `request_start`.
        authority: the upstream's host and port.
        framing: the line of the body's length or coding; empty for no body.
        lines: the forwarded fields, each with its line end.
        identity: the lines of the identity and forwarding fields.
        request_id: the request's id; empty for a request of the gateway's own.
        traceparent: its trace; empty likewise.
    """
    if not request_id:
        return b"%b HTTP/1.1\r\nhost: %b\r\n%b%b%b\r\n" % (start, authority, framing, lines, identity)
    return b"%b HTTP/1.1\r\nhost: %b\r\n%b%b%bx-request-id: %b\r\ntraceparent: %b\r\n\r\n" % (
        start, authority, framing, lines, identity, request_id, traceparent,
    )  # fmt: skip


class RequestPlan:
    """Which of a client's fields go upstream on one route.

    Not forwarded: hop-by-hop fields, credentials, the session cookie, the fields that only the gateway sets, names
    with underscores that a server could take for one of those, and what the route's edits remove or set.
    """

    __slots__ = ("_cookie", "_edited", "set_lines")

    def __init__(self, edits: HeaderEdits, session_cookie: str) -> None:
        self._edited = edits.names
        self._cookie = session_cookie.encode()
        self.set_lines = edits.lines

    def lines(self, fields: RawFields) -> bytes:
        """Return the fields to forward, with those that the route sets at the end."""
        options = connection_options([value for name, value in fields if name.lower() == b"connection"])
        kept = []
        for name, value in fields:
            lowered = name.lower()
            like = lowered.replace(b"_", b"-")
            if like in _NEVER_FORWARDED or like.startswith(_REQUEST_PREFIXES) or like in self._edited:
                continue
            if (
                lowered in options
                or like in options
                or (like is not lowered and like != lowered and like.startswith(b"x-"))
            ):
                continue
            if lowered == _COOKIE:
                others = without_cookie(value, self._cookie)
                if value and not others:
                    continue
                value = others
            kept.append(field_line(name, value))
        return b"".join(kept) + self.set_lines


@dataclass(frozen=True, slots=True)
class PlannedHead:
    """The status line and the fields of a response for the client. `dated`: it has a `Date` field."""

    lines: bytes
    dated: bool


class ResponsePlan:
    """What becomes of each field of an upstream's response on one route.

    Args:
        edits: the route's response edits.
        vary: names of the request fields that the response depends on, in lower case; `vary` names each of them once.
        no_store: the route needs a session; without the upstream's own `cache-control` nothing is cached.
        nosniff: browsers must not guess the type of a body (Fetch standard, 3.6).
        session_cookie: an upstream's `Set-Cookie` of this name is dropped.
        locations: translates `Location` and `Content-Location` to the gateway's own paths.
    """

    __slots__ = ("_cookie", "_edited", "_locations", "_no_store", "_nosniff", "_set_lines", "_vary")

    def __init__(
        self,
        edits: HeaderEdits,
        *,
        vary: Sequence[str],
        no_store: bool,
        nosniff: bool,
        session_cookie: str,
        locations: Locations,
    ) -> None:
        self._edited = edits.names
        self._set_lines = edits.lines
        self._vary = () if b"vary" in self._edited else tuple(name.encode() for name in vary)
        self._nosniff = nosniff and _TYPE_OPTIONS not in self._edited
        self._no_store = no_store and b"cache-control" not in self._edited
        self._cookie = session_cookie.encode()
        self._locations = locations

    def head(
        self, status: int, reason: bytes, fields: RawFields, *, chunked: bool, upgrade: bool = False
    ) -> PlannedHead:
        """Return the head for the client, but for what differs from request to request.

        `fields` have lower-case names. Framing is the caller's, but for the upstream's `content-length`, which is kept
        unless the body came in chunks or cannot be there.
        """
        options = connection_options([value for name, value in fields if name == b"connection"])
        names = {name for name, _ in fields}
        parts = [b"HTTP/1.1 %d %b\r\n" % (status, reason)]
        varied: frozenset[bytes] = frozenset()
        for name, value in fields:
            if name in HOP_BY_HOP or name in options or name.startswith(_RESPONSE_PREFIXES):
                continue
            if (
                name in self._edited
                or name == b"x-request-id"
                or (name == b"content-length" and (chunked or status == 204))
                or (name == _TYPE_OPTIONS and self._nosniff)
            ):
                continue
            if name == b"set-cookie" and sets_cookie(value, self._cookie):
                continue
            if name in (b"location", b"content-location"):
                value = self._locations.translate(value)
            elif name == b"vary":
                varied |= connection_options([value])
            parts.append(field_line(name, value))
        missing = [] if b"*" in varied else [name for name in self._vary if name not in varied]
        if missing:
            parts.append(field_line(b"vary", b", ".join(missing)))
        if self._nosniff:
            parts.append(_NOSNIFF)
        if self._no_store and b"cache-control" not in names:
            parts.append(b"cache-control: no-store\r\n")
        if upgrade:
            parts.append(b"connection: upgrade\r\nupgrade: websocket\r\n")
        parts.append(self._set_lines)
        return PlannedHead(b"".join(parts), dated=b"date" in names or b"date" in self._edited)
