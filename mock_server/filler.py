"""Bodies of any size, made while they are sent; byte number i is i modulo 251."""

from __future__ import annotations

from collections.abc import AsyncIterator

_BLOCK = bytes(range(251)) * 257


async def filler(size: int) -> AsyncIterator[bytes]:
    """Return a body of `size` bytes, part by part."""
    while size > 0:
        part = _BLOCK[:size]
        size -= len(part)
        yield part
