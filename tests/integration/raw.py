"""A gateway before a recording upstream, and clients that send and read bytes as they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from proxy.observe.access import AccessLine
from proxy.sessions.store import SessionStore
from tests.attack.recorder import Recorder, recording
from tests.integration.harness import PATIENCE, RULES, TENANT, KeptLog, Running, gateway_running, reset


@dataclass(frozen=True, slots=True)
class Got:
    """A response, byte for byte. `fields` have lower-case names."""

    status: int
    start: bytes
    fields: list[tuple[bytes, bytes]]
    body: bytes

    def values(self, name: str) -> list[bytes]:
        """Return the values of all fields of a name."""
        return [value for found, value in self.fields if found == name.encode()]

    @property
    def closes(self) -> bool:
        """Whether the connection ends with this response."""
        return b"close" in self.values("connection")


class Wire:
    """A client's connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    async def send(self, data: bytes) -> None:
        """Send bytes as a piece of their own."""
        self.writer.write(data)
        await self.writer.drain()

    async def response(self, *, head_only: bool = False) -> Got:
        """Read one response by its framing, and no more."""
        async with asyncio.timeout(PATIENCE):
            start, *lines = (await self.reader.readuntil(b"\r\n\r\n"))[:-4].split(b"\r\n")
            pairs = [line.partition(b": ") for line in lines]
            fields = [(name.lower(), value) for name, _, value in pairs]
            status = int(start.split(b" ")[1])
            known = dict(fields)
            if head_only or status < 200 or status in (204, 304):
                body = b""
            elif b"content-length" in known:
                body = await self.reader.readexactly(int(known[b"content-length"]))
            elif known.get(b"transfer-encoding") == b"chunked":
                body = await self._chunks()
            else:
                body = await self.reader.read()
        return Got(status, start, fields, body)

    async def _chunks(self) -> bytes:
        body = b""
        while size := int(await self.reader.readline(), 16):
            body += (await self.reader.readexactly(size + 2))[:-2]
        await self.reader.readline()
        return body

    async def ask(self, data: bytes) -> Got:
        """Send a request and read its response."""
        await self.send(data)
        return await self.response(head_only=data.startswith(b"HEAD "))

    async def rest(self) -> bytes:
        """Read what comes until the gateway closes."""
        async with asyncio.timeout(PATIENCE):
            try:
                return await self.reader.read()
            except ConnectionError:
                return b""

    def close(self) -> None:
        """Close the connection."""
        self.writer.close()

    def finish(self) -> None:
        """Say that nothing more will be sent; responses can still be read."""
        self.writer.write_eof()

    def abort(self) -> None:
        """Reset the connection."""
        reset(self.writer)


@dataclass(slots=True)
class Behind:
    """A gateway, its upstream, its access log, and the token of a signed-in user of staff."""

    gateway: Running
    upstream: Recorder
    log: KeptLog
    token: str

    @property
    def lines(self) -> list[AccessLine]:
        """The access lines so far."""
        return self.log.lines

    def request(
        self,
        target: str,
        *fields: str,
        method: str = "GET",
        body: bytes | None = None,
        host: str | None = "gateway.test",
        bearer: bool = True,
    ) -> bytes:
        """Return a request's bytes; `TOKEN` in its fields is the user's token."""
        lines = [f"{method} {target} HTTP/1.1"]
        lines += [f"host: {host}"] if host is not None else []
        lines += ["authorization: Bearer TOKEN"] if bearer else []
        lines += fields
        lines += [f"content-length: {len(body)}"] if body is not None else []
        return "\r\n".join([*lines, "", ""]).replace("TOKEN", self.token).encode("latin-1") + (body or b"")

    async def open(self) -> Wire:
        """Open a client's connection."""
        return Wire(*await asyncio.open_connection("127.0.0.1", self.gateway.port))

    async def ask(self, data: bytes) -> Got:
        """Send a request on a connection of its own and read the response."""
        wire = await self.open()
        try:
            return await wire.ask(data)
        finally:
            wire.close()

    async def warm(self, target: str = "/noetl/warm") -> None:
        """See that an upstream connection is kept, so that the fast path has what it needs."""
        await self.ask(self.request(target))
        self.upstream.clear()
        self.lines.clear()


@asynccontextmanager
async def behind_recorder(
    folder: Path,
    *,
    fast: bool,
    server: str = "",
    more: str = "",
    rules: str = RULES,
    store: SessionStore | None = None,
) -> AsyncIterator[Behind]:
    """A gateway before a recording upstream; `UPSTREAM` in `more` is its url."""
    async with recording() as upstream:
        url, log = f"http://127.0.0.1:{upstream.port}", KeptLog()
        text = f"server: {{{server}}}\n{TENANT}{rules}{more}".replace("UPSTREAM", url)
        if "upstreams:" not in more:
            text += f"\nupstreams: {{noetl: {{urls: ['{url}']}}}}\n"
        async with gateway_running(folder, text, fast=fast, log=log, store=store) as gateway:
            yield Behind(gateway, upstream, log, await gateway.session())
