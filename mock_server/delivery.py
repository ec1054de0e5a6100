"""Steps in which a response with a fault is sent: bytes, pauses, and the end of the connection.

A fault is a pure function from a response to its steps (`faults.py`); this module carries the steps out.
"""

from __future__ import annotations

import asyncio
import socket
import struct
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import dataclass

FLUSH_SECONDS = 0.05
_LINGER_NONE = struct.pack("ii", 1, 0)


@dataclass(frozen=True, slots=True)
class Write:
    """Send these bytes."""

    data: bytes


@dataclass(frozen=True, slots=True)
class Pause:
    """Wait for a number of seconds."""

    seconds: float


@dataclass(frozen=True, slots=True)
class Reset:
    """Reset the connection, so that the client sees ECONNRESET."""


@dataclass(frozen=True, slots=True)
class Close:
    """Close the connection in order, so that the client sees its end."""


Step = Write | Pause | Reset | Close
Steps = Iterator[Step]


async def perform(steps: Steps, transport: asyncio.Transport, drain: Callable[[], Awaitable[None]]) -> bool:
    """Carry out steps. Return whether the connection can be used for another request."""
    wrote = False
    for step in steps:
        if transport.is_closing():
            return False
        if isinstance(step, Write):
            transport.write(step.data)
            wrote = True
            await drain()
        elif isinstance(step, Pause):
            await asyncio.sleep(step.seconds)
        elif isinstance(step, Reset):
            if wrote:  # a reset throws away what the kernel has not sent yet
                await asyncio.sleep(FLUSH_SECONDS)
            reset(transport)
            return False
        else:
            return False
    return True


def reset(transport: asyncio.Transport) -> None:
    """Reset a connection (RFC 9293, 3.5.3)."""
    connection = transport.get_extra_info("socket")
    if connection is not None:
        connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _LINGER_NONE)
    transport.abort()
