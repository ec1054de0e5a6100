"""Texts in rules, filters and checks; one that no request or response can have is refused."""

from __future__ import annotations

import re
from typing import Annotated

from pydantic import AfterValidator

from .mistakes import suggest

METHODS = (
    "GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "CONNECT", "TRACE", "ACL", "BIND", "CHECKOUT", "COPY",
    "LINK", "LOCK", "M-SEARCH", "MERGE", "MKACTIVITY", "MKCALENDAR", "MKCOL", "MOVE", "NOTIFY", "PROPFIND", "PROPPATCH",
    "PURGE", "REBIND", "REPORT", "SEARCH", "SOURCE", "SUBSCRIBE", "UNBIND", "UNLINK", "UNLOCK", "UNSUBSCRIBE",
)  # fmt: skip
"""The methods that the parser of requests knows."""
_NAME = re.compile(r"[!#$%&'*+.^_`|~0-9A-Za-z-]+")
_UNSENDABLE = re.compile(r"[^\t\x20-\x7e\x80-\xff]")
_ENCODED = re.compile(r"%([0-9A-Fa-f]{2})?")
_UNRESERVED = re.compile(rb"[A-Za-z0-9._~-]")
_NOT_IN_PATHS = re.compile(r"[^\x21-\x7e]")


def _encodable(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("must be Unicode text; a lone surrogate can't be sent") from None
    return text


def _path(text: str) -> str:
    if not text.startswith(("/", "**")) and text != "*":
        raise ValueError("must begin with a slash, or with ** for any beginning; other paths match no request")
    if "?" in text or "#" in text:
        raise ValueError("must be a path only; query is for parameters")
    if _NOT_IN_PATHS.search(text):
        raise ValueError("must be a path as it is sent: %20 for a blank, and so on")
    return text


def wrong_encoding(path: str) -> str:
    """Return what is wrong with an encoding in a path that clients do not send; empty if nothing is.

    Paths are compared as they are sent. The journal may be searched for any of them, but a rule for `/h%65alth` is a
    mistake.
    """
    for found in _ENCODED.finditer(path):
        if found[1] is None:
            return "% must be followed by two hexadecimal digits; %25 is a percent sign"
        if _UNRESERVED.fullmatch(plain := bytes.fromhex(found[1])):
            return f"{found[0]} matches no usual request: write {plain.decode()}, or * for any way to write it"
    return ""


def _method(text: str) -> str:
    if text.upper() not in METHODS:
        raise ValueError(f"unknown method {text}{suggest(text.upper(), METHODS[:9])}")
    return text


def _field_name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise ValueError("must be a name of a header field: letters, digits and hyphens")
    return text


def _field_value(text: str) -> str:
    if _UNSENDABLE.search(text):
        raise ValueError("must be one line of Latin-1 characters, as header fields are")
    return text


Text = Annotated[str, AfterValidator(_encodable)]
PathPattern = Annotated[str, AfterValidator(_path)]
Method = Annotated[str, AfterValidator(_method)]
FieldName = Annotated[str, AfterValidator(_field_name)]
FieldValue = Annotated[str, AfterValidator(_field_value)]
