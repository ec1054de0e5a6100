"""What the client of a connection is sent, and whether it keeps up."""

from __future__ import annotations

import asyncio


class ClientTransport:
    """The writing half of a client connection. `transport` is None once the client has gone."""

    __slots__ = ()

    transport: asyncio.Transport | None

    def send(self, data: bytes) -> None:
        """Write to the client, if it is still there."""
        if self.transport is not None:
            self.transport.write(data)

    @property
    def connected(self) -> bool:
        """Whether the client is still there."""
        return self.transport is not None and not self.transport.is_closing()

    def hold_back(self, held: bool) -> None:
        """Stop reading from the client, or read on."""
        if self.transport is not None and not self.transport.is_closing():
            if held:
                self.transport.pause_reading()
            else:
                self.transport.resume_reading()
