"""The `traceparent` field (W3C Trace Context, 3.2): forwarded if it is well formed and single, else a new one. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

_SHAPE = re.compile(rb"([0-9a-f]{2})-([0-9a-f]{32})-([0-9a-f]{16})-([0-9a-f]{2})(-.*)?")


def is_traceparent(value: bytes) -> bool:
    """Return whether a value is well formed: version 00 exactly, a later version at least as long, ids not zero."""
    found = _SHAPE.fullmatch(value)
    if found is None or found[1] == b"ff" or (found[1] == b"00" and found[5]):
        return False
    return found[2].strip(b"0") != b"" and found[3].strip(b"0") != b""


def given_traceparent(values: Sequence[bytes]) -> bytes:
    """Return the client's `traceparent` if it is there once and well formed, else nothing."""
    return values[0] if len(values) == 1 and is_traceparent(values[0]) else b""


def new_traceparent(trace: bytes) -> bytes:
    """Return a trace that begins here and that is not sampled; `trace` are 32 hexadecimal characters, not all 0."""
    return b"00-%b-%b-00" % (trace, trace[16:])
