"""Request targets: the one normalised path, and the query byte for byte (RFC 3986, 6.2.2; RFC 9112, 3.2). Pure.

It refuses paths that two servers could read in two ways rather than guess.
"""

from __future__ import annotations

import re
from typing import NamedTuple

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


_PLAIN_REQUEST_LINE = re.compile(
    r"(GET|HEAD|POST|PUT|PATCH|DELETE) (/[A-Za-z0-9_~!$&'()*+,;=:@./-]*)(\?[!\"$-~]*)? HTTP/1\.1"
)


def plain_request_line(line: str) -> tuple[str, str, str] | None:
    """Return method, path and query of a request line of HTTP/1.1 whose path needs no normalising; else None.

    Strict: None for some lines that are fine. The query has its question mark, or is empty.
    """
    found = _PLAIN_REQUEST_LINE.fullmatch(line)
    if found is None:
        return None
    method, path, query = found.groups("")
    return None if "//" in path or "/." in path else (method, path, query)


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
        name, semicolon, _ = segment.partition(";")
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
