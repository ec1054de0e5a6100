"""A small program on the server of the sandboxes, with its control plane, and clients for bytes and JSON."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
import pytest
from pydantic import BaseModel, ConfigDict

from mock_server.messages import Request, Response, json_response
from mock_server.operations import Operation
from mock_server.overrides import Overrides
from mock_server.randomness import handle, random_source
from mock_server.sandbox import Control, Sandbox
from mock_server.service import ERRORS, Errors

LARGE = 20_000_000
BODY = {"hello": "world", "list": list(range(40))}


class EchoOverrides(BaseModel):
    """The overrides of the program."""

    model_config = ConfigDict(extra="forbid", strict=True)
    lifetime: int = 0


@dataclass(eq=False)
class Echo:
    """A program with one path for each way in which a response can be made."""

    name: str = "echo"
    server: str = "echo/1"
    errors: Errors = ERRORS
    operations: Sequence[Operation] = ()
    overrides: Overrides = Overrides("echo", EchoOverrides, "/echo")  # noqa: RUF009
    count: int = 0
    sandbox: Sandbox | None = None
    release: asyncio.Event = field(default_factory=asyncio.Event)

    def respond(self, request: Request) -> Response | Awaitable[Response]:
        """Respond by the path."""
        self.count += 1
        if request.path == "/wait":
            return self._wait()
        if request.path == "/sum":
            return self._sum(request)
        if request.path == "/parts":
            return Response(200, content_type="text/plain", stream=self._parts())
        if request.path == "/large":
            return Response(200, b"a" * LARGE, "text/plain")
        if request.path == "/fail":
            raise RuntimeError("a mistake")
        if request.path == "/random":
            assert self.sandbox is not None
            return json_response({"value": handle(self.sandbox.source), "at": self.sandbox.clock.now()})
        if request.path == "/nothing":
            return Response(204, content_type=None)
        if request.path == "/echo":
            seen = {"method": request.method, "query": dict(request.query), "body": request.body.decode()}
            return json_response({**seen, "cookies": dict(request.cookies), "overrides": dict(request.overrides)})
        return json_response(BODY)

    def streamed(self, request: Request) -> bool:
        """Return whether the program reads the body itself."""
        return request.path == "/sum"

    async def reset(self) -> None:
        """Forget the count."""
        self.count = 0

    async def close(self) -> None:
        """Do nothing."""

    async def _wait(self) -> Response:
        await self.release.wait()
        return json_response({"waited": True})

    async def _sum(self, request: Request) -> Response:
        digest, length = hashlib.sha256(), 0
        assert request.stream is not None
        async for part in request.stream:
            digest.update(part)
            length += len(part)
        return json_response({"length": length, "sha256": digest.hexdigest()})

    async def _parts(self) -> AsyncIterator[bytes]:
        for number in range(3):
            yield f"part {number}\n".encode()
            await asyncio.sleep(0)


@asynccontextmanager
async def running(control: Control = Control(admin=True), **options: Any) -> AsyncIterator[Sandbox]:  # noqa: B008
    """Run the program until the context ends."""
    program = Echo()
    if (seed := options.get("seed")) is not None:
        options["source"] = random_source(seed)
    sandbox = program.sandbox = Sandbox(program, control, **options)
    await sandbox.start()
    try:
        yield sandbox
    finally:
        await sandbox.stop()


@dataclass(frozen=True)
class Client:
    """A client of a sandbox."""

    sandbox: Sandbox
    http: httpx.AsyncClient

    async def admin(self, method: str, path: str, body: Any = None) -> Any:
        """Call an operation; its response must be 200."""
        response = await self.http.request(method, f"/__admin{path}", json=body)
        assert response.status_code == 200, response.text
        return response.json()

    async def raw(self, data: bytes = b"", path: str = "/", timeout: float = 3.0) -> bytes:
        """Send bytes on a new connection, and return everything up to its end; a reset ends with `RESET`."""
        data = data or f"GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n".encode()
        reader, writer = await asyncio.open_connection("127.0.0.1", self.sandbox.listener.port)
        writer.write(data)
        found = b""
        try:
            async with asyncio.timeout(timeout):
                while part := await reader.read(65536):
                    found += part
        except ConnectionResetError:
            found += b"RESET"
        except TimeoutError:
            found += b"TIMEOUT"
        finally:
            writer.close()
        return found


Start = Callable[..., Awaitable[Client]]


@pytest.fixture
async def start() -> AsyncIterator[Start]:
    """Return a function that starts the program, and returns a client."""
    async with AsyncExitStack() as stack:

        async def begin(control: Control = Control(admin=True), **options: Any) -> Client:  # noqa: B008
            sandbox = await stack.enter_async_context(running(control, **options))
            http = await stack.enter_async_context(httpx.AsyncClient(base_url=sandbox.url, timeout=5))
            return Client(sandbox, http)

        yield begin
