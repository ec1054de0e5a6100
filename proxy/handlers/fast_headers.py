"""The header work of the fast lane: which bytes of a request's head go upstream, and of an answer's to the client.

It applies the rules of `upstream/headers.py`, compiled for one route, to raw fields. A head that needs more than a
lookup per field is not for the lane.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from proxy.config.model import HeaderEdit
from proxy.upstream.headers import CREDENTIALS, HOP_BY_HOP, OUR_PREFIX, OURS, response_headers
from proxy.upstream.heads import Head

RawHeaders = Sequence[tuple[bytes, bytes]]
_DROP, _AUTHORIZATION, _TOKEN, _COOKIE, _ORIGIN, _CONNECTION, _REQUEST_ID, _HOST, _TRACE, _ORDINARY = range(10)
_SPECIAL = {
    b"authorization": _AUTHORIZATION,
    b"x-session-token": _TOKEN,
    b"cookie": _COOKIE,
    b"origin": _ORIGIN,
    b"connection": _CONNECTION,
    b"x-request-id": _REQUEST_ID,
    b"host": _HOST,
    b"traceparent": _TRACE,
    b"expect": _ORDINARY,
    b"upgrade": _ORDINARY,
    b"transfer-encoding": _ORDINARY,
}
MAX_KEPT_TEXT = 255
"""What a client sends and the lane remembers is no longer than this; the ordinary path takes the rest."""
_DROPPED = (b"proxy-", OUR_PREFIX.encode())
_MAX_HEADS = 256
_PERSISTENCE = frozenset({b"", b"keep-alive", b"close"})


def lines(fields: Iterable[tuple[str, str]]) -> bytes:
    """Fields as they stand in a head."""
    return "".join(f"{name}: {value}\r\n" for name, value in fields).encode("latin-1")


@dataclass(frozen=True, slots=True)
class Fields:
    """Fields in both forms that they are needed in."""

    pairs: tuple[tuple[str, str], ...]
    lines: bytes

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, str]]) -> Fields:
        """Both forms of these fields."""
        return cls(tuple(pairs), lines(pairs))


@dataclass(slots=True)
class Read:
    """What a request's head says: the fields that go upstream as they are, and those that the lane looks at."""

    kept: list[bytes]
    authorization: bytes = b""
    token: bytes = b""
    origin: bytes = b""
    request_id: bytes = b""
    traces: int = 0
    traceparent: bytes = b""


class RequestPlan:
    """What becomes of each field of a request, by its name in lower case."""

    __slots__ = ("_codes", "_cookie", "added")

    def __init__(self, edit: HeaderEdit, session_cookie: str) -> None:
        self._codes = {name.encode(): _DROP for name in HOP_BY_HOP | CREDENTIALS | OURS} | _SPECIAL
        self._codes |= {name.lower().encode(): _DROP for name in (*edit.remove, *edit.set) if _is_free(name)}
        self._cookie = session_cookie.encode()
        self.added = lines(edit.set.items())

    def read(self, fields: RawHeaders) -> Read | None:  # noqa: C901 - one flat loop, run for every request
        """Sort the fields; None where one of them is for the ordinary path."""
        read, hosts, codes = Read([]), 0, self._codes
        for name, value in fields:
            lowered = name.lower()
            code = codes.get(lowered)
            if code is None:
                if b"_" in name:
                    return None
                if not lowered.startswith(_DROPPED):
                    read.kept.append(b"%b: %b\r\n" % (name, value))
            elif code == _AUTHORIZATION:
                read.authorization = read.authorization or value
            elif code == _TOKEN:
                read.token = read.token or value
            elif code == _HOST:
                hosts += 1
            elif code == _TRACE:
                read.traces += 1
                read.traceparent = value
            elif code == _REQUEST_ID:
                read.request_id = read.request_id or value
            elif code == _ORIGIN:
                if not 0 < len(value) <= MAX_KEPT_TEXT:
                    return None
                read.origin = value
                read.kept.append(b"origin: %b\r\n" % value)
            elif code == _COOKIE:
                if self._cookie in value:
                    return None
                read.kept.append(b"cookie: %b\r\n" % value)
            elif code == _ORDINARY or (code == _CONNECTION and value.lower() not in _PERSISTENCE):
                return None
        return read if hosts == 1 else None


def _is_free(name: str) -> bool:
    return name.lower().encode() not in _SPECIAL


class ResponsePlan:
    """What becomes of each field of an answer."""

    __slots__ = ("_added", "_dropped", "_known", "_starts")

    def __init__(self, edit: HeaderEdit) -> None:
        removed = {name.lower() for name in (*edit.remove, *edit.set)}
        names = (HOP_BY_HOP | removed | {"x-request-id"}) - {"connection"}
        self._dropped = frozenset(name.encode() for name in names)
        self._added = lines(edit.set.items())
        self._starts: dict[tuple[int, bytes], bytes] = {}
        self._known: dict[Head, bytes] = {}

    def head(self, head: Head, ending: bytes) -> bytes:
        """The client's answer head, with `ending` as its last lines."""
        made = self._known.get(head)
        if made is None:
            made = self._made(head)
            if head.known:
                if len(self._known) >= _MAX_HEADS:
                    self._known.clear()
                self._known[head] = made
        return made + ending

    def _made(self, head: Head) -> bytes:
        parts = [self._start(head.status, head.reason)]
        dropped = self._dropped
        for name, value in head.headers:
            if name in dropped:
                continue
            if name == b"connection":
                if value.lower() not in _PERSISTENCE:
                    return self._with_named(head)
                continue
            if name.startswith((b"access-control-", b"proxy-")):
                continue
            if name == b"content-length" and (head.chunked or head.status == 204):
                continue
            parts.append(b"%b: %b\r\n" % (name, value))
        parts.append(self._added)
        return b"".join(parts)

    def _with_named(self, head: Head) -> bytes:
        """As `_made`, where `Connection` names further fields."""
        texts = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
        kept = [(n.encode("latin-1"), v.encode("latin-1")) for n, v in response_headers(texts)]
        return self._made(Head(head.status, head.reason, kept, head.length, head.chunked))

    def _start(self, status: int, reason: bytes) -> bytes:
        known = self._starts.get((status, reason))
        if known is None:
            known = b"HTTP/1.1 %d %b\r\n" % (status, reason)
            if len(self._starts) < 1000:
                self._starts[status, reason] = known
        return known
