"""A network without sockets: an event loop whose connections are bytes in this process, one thing at a time.

Nothing here waits by the clock: `settled` returns once nobody has anything left to do.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from typing import Any, cast

from tests.attack.recorder import Arrived, NotStrict, parse

MAX_PIECES = 40
_TURNS = 10_000


class Wire(asyncio.Transport):
    """One end of a connection: what is written goes to `out`, in the same turn."""

    def __init__(self, protocol: asyncio.BaseProtocol, out: Callable[[bytes], None]) -> None:
        super().__init__({"peername": ("127.0.0.1", 50000)})
        self.protocol = protocol
        self.paused = False
        self._out = out
        self._closing = False

    def write(self, data: bytes | bytearray | memoryview[int]) -> None:
        """Take bytes, unless it is closed."""
        if not self._closing:
            self._out(bytes(data))

    def is_closing(self) -> bool:
        """Whether it has been closed."""
        return self._closing

    def close(self) -> None:
        """Close, and tell the protocol in the next turn."""
        if not self._closing:
            self._closing = True
            asyncio.get_running_loop().call_soon(self.protocol.connection_lost, None)

    def abort(self) -> None:
        """Close at once."""
        self.close()

    def pause_reading(self) -> None:
        """Nothing is given to the protocol for now."""
        self.paused = True

    def resume_reading(self) -> None:
        """It may go on."""
        self.paused = False

    def is_reading(self) -> bool:
        """Whether bytes may be given to the protocol."""
        return not self.paused

    def get_write_buffer_size(self) -> int:
        """What is written has left."""
        return 0

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        """There is no buffer."""

    def get_protocol(self) -> asyncio.BaseProtocol:
        """Who is told what comes."""
        return self.protocol

    def set_protocol(self, protocol: asyncio.BaseProtocol) -> None:
        """Tell somebody else from now on."""
        self.protocol = protocol


class Upstream:
    """A server in this process that reads requests by the strict parser of the attack tests, and answers each."""

    def __init__(self, says: Callable[[Arrived], bytes | None]) -> None:
        self.arrived: list[Arrived] = []
        self.violations: list[str] = []
        self._says = says
        self._wires: list[Wire] = []

    def connect(self, protocol: asyncio.Protocol) -> Wire:
        """A new connection."""
        waiting = bytearray()

        def take(data: bytes) -> None:
            waiting.extend(data)
            self._read(waiting, wire)

        wire = Wire(protocol, take)
        self._wires.append(wire)
        protocol.connection_made(wire)
        return wire

    def _read(self, waiting: bytearray, wire: Wire) -> None:
        while waiting:
            try:
                found = parse(bytes(waiting))
            except NotStrict as error:
                self.violations.append(f"{error}: {bytes(waiting[:300])!r}")
                waiting.clear()
                wire.close()
                return
            if found is None:
                return
            request, size = found
            del waiting[:size]
            self.arrived.append(request)
            said = self._says(request)
            body = b"" if request.method == "HEAD" else b"ok" if said is None else said
            answer = b"HTTP/1.1 200 OK\r\ncontent-length: %d\r\n\r\n%b" % (len(body), body)
            asyncio.get_running_loop().call_soon(_give, wire, answer)

    def hang_up(self) -> None:
        """Close all connections."""
        for wire in self._wires:
            wire.close()
        self._wires.clear()


def _give(wire: Wire, data: bytes) -> None:
    if not wire.is_closing():
        cast(asyncio.Protocol, wire.protocol).data_received(data)


class Loop(asyncio.SelectorEventLoop):
    """An event loop that connects to one upstream in this process, and keeps what goes wrong behind one's back."""

    def __init__(self, upstream: Upstream) -> None:
        super().__init__()
        self.upstream = upstream
        self.failures: list[str] = []
        self._calls = 0
        self.set_exception_handler(lambda _, context: self.failures.append(str(context)))

    def call_soon(self, callback: Callable[..., object], *args: Any, context: Any = None) -> asyncio.Handle:  # type: ignore
        """Count the call: what has something left to do has it called."""
        self._calls += 1
        return super().call_soon(callback, *args, context=context)

    async def create_connection(self, protocol_factory: Any, *_: Any, **__: Any) -> Any:
        """A connection to the upstream."""
        protocol = protocol_factory()
        return self.upstream.connect(protocol), protocol

    async def settled(self) -> None:
        """Wait until nobody has anything left to do but timers."""
        for _ in range(_TURNS):
            before = self._calls
            await asyncio.sleep(0)
            # The one call is this task's own next step.
            if self._calls == before + 1:
                return
        raise AssertionError("the loop does not come to rest")


def pieces(data: bytes, seed: int) -> list[bytes]:
    """The bytes cut at random places; seed 0 cuts nothing, 1 after every byte of a short text."""
    if seed == 0 or len(data) < 2:
        return [data] if data else []
    if seed == 1 and len(data) <= MAX_PIECES:
        return [data[i : i + 1] for i in range(len(data))]
    chance = random.Random(seed)
    places = sorted({chance.randrange(1, len(data)) for _ in range(chance.randrange(1, MAX_PIECES))})
    return [data[a:b] for a, b in zip([0, *places], [*places, len(data)], strict=True)]
