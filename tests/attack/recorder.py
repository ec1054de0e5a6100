"""An upstream that records the exact bytes it is sent, and counts requests with a strict parser of its own.

It shares no code with the gateway. What is not one plain request after another is a violation.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field

_START = re.compile(rb"([A-Z]+) (/[!-~]*) HTTP/1\.1")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,12}")
_SIZE = re.compile(rb"[0-9a-f]{1,8}")


class NotStrict(Exception):
    """The bytes are no request in the strict form."""


@dataclass(frozen=True, slots=True)
class Arrived:
    """A request that the upstream was sent. Names are in lower case."""

    method: str
    target: str
    fields: list[tuple[str, str]]
    body: bytes
    raw: bytes

    def values(self, name: str) -> list[str]:
        """All values of a field."""
        return [value for found, value in self.fields if found == name]

    def __str__(self) -> str:
        shown = repr(self.body)[1:] if len(self.body) < 200 else f"{len(self.body)} bytes"
        return f"{self.method} {self.target} {shown}" if self.body else f"{self.method} {self.target}"


@dataclass(slots=True)
class Recorder:
    """The recording upstream. With `keep` off it closes after each answer.

    `answer` may stand for its usual one, `says` for the body of it.
    """

    port: int = 0
    keep: bool = True
    answer: bytes = b""
    says: Callable[[Arrived], bytes | None] | None = None
    arrived: list[Arrived] = field(default_factory=list)
    violations: list[str] = field(default_factory=list)
    received: bytearray = field(default_factory=bytearray)
    _writers: set[asyncio.StreamWriter] = field(default_factory=set)

    def clear(self) -> None:
        """Forget what came."""
        self.arrived.clear()
        self.violations.clear()
        self.received.clear()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self._writers.add(writer)
        data = b""
        try:
            while True:
                came = await reader.read(65536)
                if not came:
                    return
                self.received += came
                data += came
                while data:
                    try:
                        found = parse(data)
                    except NotStrict as error:
                        self.violations.append(f"{error}: {data[:300]!r}")
                        return
                    if found is None:
                        break
                    request, size = found
                    data = data[size:]
                    self.arrived.append(request)
                    reply = self.reply(request)
                    if reply is None:
                        return
                    writer.write(reply)
                    if not self.keep:
                        return
        except ConnectionError:
            pass
        finally:
            self._writers.discard(writer)
            writer.close()

    def reply(self, request: Arrived) -> bytes | None:
        """Return the bytes of the response to a request; None closes the connection without one."""
        if self.answer:
            return self.answer
        close = b"" if self.keep else b"connection: close\r\n"
        echo = f"x-arrived: {request.method} {request.target}\r\n".encode()
        said = self.says(request) if self.says is not None else None
        body = b"" if request.method == "HEAD" else b"ok" if said is None else said
        return b"HTTP/1.1 200 OK\r\n%b%bcontent-length: %d\r\n\r\n%b" % (close, echo, len(body), body)

    def hang_up(self) -> None:
        """Close all connections."""
        for writer in self._writers:
            writer.close()


def parse(data: bytes) -> tuple[Arrived, int] | None:
    """The first request in the bytes, and its size; None if more must come. Raises NotStrict."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        if re.match(rb"[A-Z]{0,10}( |\Z)", data) is None:
            raise NotStrict("no request line")
        return None
    start, *lines = data[:end].split(b"\r\n")
    first = _START.fullmatch(start)
    if first is None:
        raise NotStrict("not a request line")
    fields = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        if found is None:
            raise NotStrict("not a field")
        fields.append((found[1].decode().lower(), found[2].decode("latin-1")))
    names = [name for name, _ in fields]
    for once in (
        "host",
        "content-length",
        "transfer-encoding",
        "x-user-id",
        "x-user-email",
        "x-user-roles",
        "forwarded",
    ):
        if names.count(once) > 1:
            raise NotStrict(f"{once} twice")
    if "host" not in names:
        raise NotStrict("no host")
    body = _body(dict(fields), data, end + 4)
    if body is None:
        return None
    content, size = body
    return Arrived(first[1].decode(), first[2].decode(), fields, content, data[:size]), size


def _body(fields: dict[str, str], data: bytes, start: int) -> tuple[bytes, int] | None:
    length, encoding = fields.get("content-length"), fields.get("transfer-encoding")
    if length is not None and encoding is not None:
        raise NotStrict("both framings")
    if encoding is not None:
        if encoding != "chunked":
            raise NotStrict("an unknown transfer coding")
        return _chunks(data, start)
    if length is None:
        return b"", start
    if not _LENGTH.fullmatch(length.encode()):
        raise NotStrict("not a length")
    end = start + int(length)
    return (data[start:end], end) if len(data) >= end else None


def _chunks(data: bytes, at: int) -> tuple[bytes, int] | None:
    body = b""
    while True:
        line = data.find(b"\r\n", at)
        if line < 0:
            return None
        if not _SIZE.fullmatch(data[at:line]):
            raise NotStrict("not a chunk size")
        size = int(data[at:line], 16)
        end = line + 2 + size
        if len(data) < end + 2:
            return None
        if data[end : end + 2] != b"\r\n":
            raise NotStrict("a chunk without an end, or trailers")
        body += data[line + 2 : end]
        at = end + 2
        if not size:
            return body, at


@asynccontextmanager
async def recording() -> AsyncIterator[Recorder]:
    """A recording upstream on a free port."""
    recorder = Recorder()
    server = await asyncio.start_server(recorder.serve, "127.0.0.1", 0)
    recorder.port = server.sockets[0].getsockname()[1]
    try:
        yield recorder
    finally:
        server.close()
        recorder.hang_up()
