"""Content codings of bodies (RFC 9110, 8.4): gzip and deflate, which recordings keep decoded."""

from __future__ import annotations

import gzip
import zlib

KNOWN = ("gzip", "deflate")
_WINDOWS = {"gzip": 16 + zlib.MAX_WBITS, "deflate": zlib.MAX_WBITS}


class CodingError(ValueError):
    """A body has an unknown coding, does not have its coding, or is too large without it."""


def decoded(body: bytes, coding: str, most: int) -> bytes:
    """Return a body of at most `most` bytes without its coding; an empty coding is none. Raises CodingError."""
    if not coding or coding == "identity" or not body:
        return body
    if coding not in KNOWN:
        raise CodingError(f"the content coding {coding} is unknown")
    decoder = zlib.decompressobj(_WINDOWS[coding])
    try:
        found = decoder.decompress(body, most)
    except zlib.error:
        raise CodingError(f"the body is not {coding}") from None
    if not decoder.eof:
        raise CodingError(f"the body is cut, or over {most} bytes without its coding")
    return found


def encoded(body: bytes, coding: str) -> bytes:
    """Return a body with a known coding; equal bodies have equal bytes."""
    return gzip.compress(body, mtime=0) if coding == "gzip" else zlib.compress(body)


def accepted(accept_encoding: str) -> str:
    """Return the value of `accept-encoding` that a recorder sends: the known codings that a client accepts."""
    return ", ".join(coding for coding in KNOWN if accepts(accept_encoding, coding)) or "identity"


def accepts(accept_encoding: str, coding: str) -> bool:
    """Return whether a value of `accept-encoding` accepts a coding (RFC 9110, 12.5.3)."""
    parts = (part.partition(";") for part in accept_encoding.lower().replace(" ", "").split(","))
    weights = {name: weight for name, _, weight in parts}
    weight = weights.get(coding, weights.get("*"))
    return weight is not None and weight not in {"q=0", "q=0.0", "q=0.00", "q=0.000"}
