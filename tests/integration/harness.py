"""A gateway in this process, on a real socket, with an upstream whose answers a test decides."""

from __future__ import annotations

import asyncio
import socket
import struct
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from types import MappingProxyType

import aiohttp
import pytest
from aiohttp import web

from proxy.config.compile import Compiled, compile_config
from proxy.config.load import load
from proxy.http.credentials import key_of
from proxy.observe.access import AccessLine, AccessLog
from proxy.server.dispatcher import Dispatcher
from proxy.server.serving import Serving
from proxy.sessions.memory import MemoryStore
from proxy.sessions.store import Identity, SessionStore, new_session, new_token
from tests.secretsearch import RUN

Answer = Callable[[web.BaseRequest], Awaitable[web.StreamResponse]]
VERIFIED = {"email_verified": True}
"""The claims of a token whose e-mail address counts."""
PATIENCE = 10.0
POLL = 0.05
TENANT = "auth: {tenants: [{domain: localhost, issuer: 'http://localhost:1/', audience: [tests]}]}\n"
RULES = """
acl:
  roles: {staff: {emails: ["*@staff.test"]}}
  rules:
    - {allow: ["*"], roles: [staff], paths: ["/noetl/**", "/ws/**"]}
    - {allow: ["*"], roles: [staff], playbooks: ["**"]}
"""


FAST, STREAMING = True, False
TRANSPORTS = pytest.mark.parametrize("fast", [FAST, STREAMING], ids=["fast path", "streaming path"])
"""A test that runs with the fast path and without; it has a parameter `fast`."""


class KeptLog:
    """An access log that keeps its lines."""

    def __init__(self) -> None:
        self.lines: list[AccessLine] = []

    def write(self, line: AccessLine) -> None:
        """Keep a line."""
        self.lines.append(line)

    def flush(self) -> None:
        """Do nothing: the lines are there."""


def answered(lines: Sequence[AccessLine]) -> list[AccessLine]:
    """The lines of requests that came from clients, without those that a `proxyRequest` made before its own line."""
    pairs = zip(lines, [*lines[1:], None], strict=False)
    return [
        line
        for line, after in pairs
        if after is None or after.request_id != line.request_id or not after.path.startswith("/graphql")
    ]


async def hello(request: web.BaseRequest) -> web.StreamResponse:
    """An upstream's answer when a test names none."""
    return web.json_response({"hello": "world"})


@dataclass(slots=True)
class Upstream:
    """A server behind the gateway. `answer` may be replaced at any time; `seen` are the requests that arrived."""

    port: int = 0
    answer: Answer = hello
    seen: list[web.BaseRequest] = field(default_factory=list)
    server: web.Server | None = None

    @property
    def relayed(self) -> list[web.BaseRequest]:
        """The requests that arrived, without the gateway's own question at its start."""
        return [request for request in self.seen if request.path != "/api/health"]

    def hang_up(self) -> None:
        """Close all connections, as a server does with idle ones."""
        assert self.server is not None
        for connection in self.server.connections:
            connection.force_close()

    async def handle(self, request: web.BaseRequest) -> web.StreamResponse:
        """Note the request, and answer it."""
        self.seen.append(request)
        return await self.answer(request)


@asynccontextmanager
async def upstream_running() -> AsyncIterator[Upstream]:
    """An upstream on a free port."""
    upstream = Upstream()
    upstream.server = web.Server(upstream.handle, auto_decompress=False)
    runner = web.ServerRunner(upstream.server, handle_signals=False, shutdown_timeout=0.5)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    upstream.port = runner.addresses[0][1]
    try:
        yield upstream
    finally:
        await runner.cleanup()


@dataclass(slots=True)
class Running:
    """A gateway that serves, and a client for it that follows no redirects and decompresses nothing."""

    serving: Serving
    port: int
    client: aiohttp.ClientSession

    @property
    def server(self) -> Dispatcher:
        """What answers requests now."""
        return self.serving.current

    @property
    def served_fast(self) -> int:
        """How many requests the fast path has served, or is about to."""
        return self.server.begun - self.server.handed_over

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    async def session(
        self, email: str = "anna@staff.test", *, last_seen_at: float | None = None, token: str = ""
    ) -> str:
        """A session token, without the login; a new one if none is given."""
        token = token or new_token()
        key = key_of(token)
        assert key is not None
        identity = Identity("http://localhost:1/", email, email, email.partition("@")[0], "localhost", VERIFIED)
        session = new_session(key, identity, now=time.time(), lifetime=600, ip="127.0.0.1", user_agent="tests")
        seen = session if last_seen_at is None else session.with_last_use(last_seen_at)
        await self.server.gateway.store.create(key, seen, max_per_user=0)
        RUN.used(token, f"session of {email}")
        return token

    async def bearer(self, email: str = "anna@staff.test") -> dict[str, str]:
        """Request headers of a signed-in user."""
        return {"authorization": f"Bearer {await self.session(email)}"}

    async def raw(self, data: bytes, *, until_closed: bool = True) -> bytes:
        """What comes back for bytes on a bare connection: all until it closes, or the first part."""
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            writer.write(data)
            async with asyncio.timeout(PATIENCE):
                came = await (reader.read() if until_closed else reader.read(65536))
            RUN.came_out("an error's answer", came if came[9:10] in (b"4", b"5") else b"")
            return came
        finally:
            writer.close()


def new_store(compiled: Compiled) -> SessionStore:
    """Return an empty store; the fixture `each_store` replaces this function."""
    return MemoryStore()


@asynccontextmanager
async def gateway_running(
    folder: Path,
    text: str,
    *,
    fast: bool = FAST,
    log: AccessLog | None = None,
    store: SessionStore | None = None,
    environ: Mapping[str, str] = MappingProxyType({}),
    at: int = 0,
) -> AsyncIterator[Running]:
    """A gateway of this configuration, with its background work.

    Args:
        folder: where its configuration is written.
        text: the configuration.
        fast: False for a gateway that uses the streaming path only.
        log: replaces the access log.
        store: keeps the sessions; without one they are in memory, or where `each_store` wants them.
        environ: the environment that the configuration refers to.
        at: the port; 0: any free one.
    """
    file = folder / "gateway.yaml"
    file.write_text(text)
    compiled = compile_config(load(file, environ))
    serving = Serving(compiled, store or new_store(compiled), fast=fast, log=log)
    _, port = await serving.listen("127.0.0.1", at)
    watching = asyncio.create_task(serving.process.drain.end_with_sessions(serving.session_lives, POLL))
    client = aiohttp.ClientSession(auto_decompress=False, timeout=aiohttp.ClientTimeout(total=PATIENCE))
    try:
        yield Running(serving, port, client)
    finally:
        watching.cancel()
        await client.close()
        serving.stop_listening()
        await serving.finish(0.5, keep_idle=False)
        await serving.close()


@asynccontextmanager
async def behind_gateway(
    folder: Path,
    *,
    server: str = "",
    auth: str = "",
    more: str = "",
    rules: str = RULES,
    fast: bool = FAST,
    log: AccessLog | None = None,
    store: SessionStore | None = None,
    bridge: bool = True,
) -> AsyncIterator[tuple[Running, Upstream]]:
    """A gateway before a fresh upstream: `server` and `auth` go into those blocks, `more` are further blocks.

    `bridge` is False for tests about the bytes of the upstream. `UPSTREAM` in `more` is the upstream's url. The rest is
    as in `gateway_running`.
    """
    async with upstream_running() as upstream:
        tenant = TENANT.replace("auth: {", f"auth: {{{auth}, ") if auth else TENANT
        text = f"server: {{{server}}}\n{tenant}{rules}"
        if "upstreams:" not in more:
            switch = "" if bridge else ", bridge: false"
            text += f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']{switch}}}}}\n"
        text += more.replace("UPSTREAM", f"http://127.0.0.1:{upstream.port}")
        async with gateway_running(folder, text, fast=fast, log=log, store=store) as gateway:
            yield gateway, upstream


def reset(writer: asyncio.StreamWriter) -> None:
    """Reset a connection, as the kernel does for a program that ends with unread data."""
    connection = writer.get_extra_info("socket")
    connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()


async def eventually(condition: Callable[[], bool]) -> None:
    """Return once the condition holds; fail after a deadline."""
    async with asyncio.timeout(PATIENCE):
        while not condition():  # noqa: ASYNC110 - any condition, also one without an event
            await asyncio.sleep(0.005)
