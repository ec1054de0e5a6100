"""What the client of a connection is sent, and whether it keeps up."""

from __future__ import annotations

import asyncio
from typing import NamedTuple, Protocol

from proxy.server.connection_limits import ConnectionLimits
from proxy.server.dispatcher import Dispatcher


class Connections(Protocol):
    """What all connections have in common; see `listener.Listener`."""

    limits: ConnectionLimits
    dispatcher: Dispatcher


class Outcome(NamedTuple):
    """What aiohttp's loop needs to know of a request that was answered."""

    keep_alive: bool


class ClientTransport:
    """The writing half of a client connection. `transport` is None once the client has gone."""

    __slots__ = ()

    transport: asyncio.Transport | None
    writing_paused: bool

    def send(self, data: bytes) -> None:
        """Write to the client, if it is still there."""
        if self.transport is not None:
            self.transport.write(data)

    @property
    def connected(self) -> bool:
        """Whether the client is still there."""
        return self.transport is not None and not self.transport.is_closing()

    def blocked(self) -> bool:
        """Return whether the client does not read just now."""
        return self.writing_paused

    def hold_back(self, held: bool) -> None:
        """Stop reading from the client, or read on."""
        if self.transport is not None and not self.transport.is_closing():
            if held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
