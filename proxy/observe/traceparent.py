"""The `traceparent` header (W3C Trace Context, 3.2): passed on if it is well formed, made if it is not. Pure."""

from __future__ import annotations

import re
import secrets

_SHAPE = re.compile(r"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def is_traceparent(text: str) -> bool:
    """Whether a value is well formed: version 00 exactly, a later version at least as long, never ff, ids not zero."""
    found = _SHAPE.fullmatch(text)
    if found is None or found[1] == "ff" or (found[1] == "00" and found[5]):
        return False
    return found[2].strip("0") != "" and found[3].strip("0") != ""


def new_traceparent() -> str:
    """A trace that begins here and that nobody records."""
    return f"00-{secrets.token_hex(16)}-{secrets.token_hex(8)}-00"
