"""Request targets: the one normalised path, and the query byte for byte (RFC 3986, 6.2.2; RFC 9112, 3.2). Pure.

It refuses paths that two servers could read in two ways rather than guess.
"""

from __future__ import annotations

import re
from typing import Any, NamedTuple

from proxy.bounded import BoundedCache
from proxy.errors import BadRequest, MethodNotAllowed
from proxy.http.origin import origin_of, read_host

_HEX = frozenset("0123456789abcdefABCDEF")
_UNRESERVED = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-._~")
_SEGMENT = r"[A-Za-z0-9_~!$&'()*+,;=:@-][A-Za-z0-9._~!$&'()*+,;=:@-]*"
_NORMAL = re.compile(rf"(?:/{_SEGMENT})+/?|/")
_QUERY = re.compile(r"[!\"$-~]*")
_ABSOLUTE = re.compile(r"https?://", re.IGNORECASE)
_REFUSED_METHODS = frozenset({"TRACE", "CONNECT"})
ALL_METHODS = ("GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS")


_PLAIN = re.compile(rb"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[A-Za-z0-9_~!$&'()*+,;=:@./-]*)")
_PLAIN_QUERY = re.compile(rb"\?[!\"$-~]*")
_VERSION = b" HTTP/1.1"
_KNOWN_PATHS = 4096
_MAX_KNOWN = 512


class KnownPath:
    """The method and the normalised path of a request.

    `derived` caches what compiled parts of the configuration make of them, by part. It holds no decision.
    """

    __slots__ = ("derived", "method", "path")

    def __init__(self, method: str, path: str) -> None:
        self.method = method
        self.path = path
        self.derived: dict[object, Any] = {}


class KnownPaths:
    """The paths that clients request again and again, by the bytes of a request line before its query."""

    __slots__ = ("_known",)

    def __init__(self) -> None:
        self._known: BoundedCache[bytes, KnownPath] = BoundedCache(_KNOWN_PATHS)

    def read_line(self, line: bytes) -> tuple[KnownPath, str] | None:
        """Return path and query of a request line of HTTP/1.1 whose path needs no normalising; else None.

        Strict: None for some lines that are fine. The query has its question mark, or is empty.
        """
        if not line.endswith(_VERSION):
            return None
        mark = line.find(b"?")
        query = ""
        if mark >= 0:
            found = _PLAIN_QUERY.fullmatch(line, mark, len(line) - 9)
            if found is None:
                return None
            query = found[0].decode("ascii")
        start = line[:mark] if mark >= 0 else line[:-9]
        known = self._known[start]
        if known is None:
            plain = _PLAIN.fullmatch(start)
            if plain is None or b"//" in start or b"/." in start:
                return None
            known = self._keep(start, plain[1].decode("ascii"), plain[2].decode("ascii"))
        return known, query

    def of(self, method: str, path: str) -> KnownPath:
        """Return a method with a normalised path."""
        start = f"{method} {path}".encode("ascii")
        return self._known[start] or self._keep(start, method, path)

    def _keep(self, start: bytes, method: str, path: str) -> KnownPath:
        known = KnownPath(method, path)
        if len(start) <= _MAX_KNOWN:
            self._known.put(start, known)
        return known


class PathError(ValueError):
    """A request path that can't be forwarded. The text says why, in general terms."""


class Target(NamedTuple):
    """A normalised path, and the query with its question mark (also a lone one); empty if there is none."""

    path: str
    query: str


def is_normal(path: str) -> bool:
    """Return whether a path is already in its normalised form. Quick; False for some paths that are."""
    return _NORMAL.fullmatch(path) is not None


def normalise_path(raw: str) -> str:
    """Return the form of a request path that is matched, judged and sent (RFC 3986, 6.2.2).

    Escapes of unreserved characters are decoded, other escapes are upper case, `.` and empty segments are removed.

    Raises:
        PathError: `..` or `..;x`, a backslash, `#`, a control character, an encoded slash, a malformed escape, or
            anything that is not ASCII, however it is spelled.
    """
    if _NORMAL.fullmatch(raw):
        return raw
    if not raw.startswith("/"):
        raise PathError("the path must start with /")
    decoded = _decode_unreserved(raw)
    segments = decoded.split("/")
    kept = [segment for segment in segments[1:-1] if segment not in ("", ".")]
    last = "" if segments[-1] == "." else segments[-1]
    for segment in (*kept, last):
        name, semicolon, _ = segment.replace("%3B", ";").partition(";")
        if name == ".." or (name == "." and semicolon):
            raise PathError("the path must not contain ..")
    return "/" + "/".join((*kept, last))


def _decode_unreserved(raw: str) -> str:
    out: list[str] = []
    position, end = 0, len(raw)
    while position < end:
        char = raw[position]
        if char == "%":
            out.append(_decode_escape(raw, position))
            position += 3
            continue
        if char in "\\#" or not " " < char < "\x7f":
            raise PathError("the path has a character that must not be there")
        out.append(char)
        position += 1
    return "".join(out)


def _decode_escape(raw: str, position: int) -> str:
    digits = raw[position + 1 : position + 3]
    if len(digits) != 2 or not _HEX.issuperset(digits):
        raise PathError("bad URL encoding")
    code = int(digits, 16)
    char = chr(code)
    if char in _UNRESERVED:
        return char
    if code < 0x20 or code == 0x7F or char in "/\\":
        raise PathError("the path has an encoded character that must not be there")
    return f"%{digits.upper()}"


def _same_host(scheme: str, one: str, other: str) -> bool:
    try:
        return origin_of(scheme, read_host(one)) == origin_of(scheme, read_host(other))
    except BadRequest:
        return False


def read_target(method: str, target: str, authority: str) -> Target:
    """Return the path and the query of a request's target, in origin, absolute or asterisk form (RFC 9112, 3.2).

    Raises:
        MethodNotAllowed: TRACE and CONNECT.
        BadRequest: a malformed target, or one whose authority differs from `Host` (`authority`).
    """
    if method in _REFUSED_METHODS:
        raise MethodNotAllowed(ALL_METHODS)
    if _ABSOLUTE.match(target):
        scheme, _, hierarchy = target.partition("://")
        inner, slash, rest = hierarchy.partition("/")
        if not _same_host(scheme.lower(), inner, authority):
            raise BadRequest("The target's authority differs from Host")
        target = slash + rest or "/"
    if target == "*" and method == "OPTIONS":
        target = "/"
    raw, question, query = target.partition("?")
    if "#" in target or not _QUERY.fullmatch(query):
        raise BadRequest("bad URL encoding")
    try:
        return Target(normalise_path(raw), question + query)
    except PathError as error:
        raise BadRequest(str(error)) from None
