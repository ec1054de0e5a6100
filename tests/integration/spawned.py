"""A gateway as a process of its own, before an upstream whose answers a test decides."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from proxy.http.credentials import key_of
from proxy.sessions.file import FileStore
from proxy.sessions.store import Identity, new_session, new_token
from tests.e2e.processes import Program, free_port
from tests.integration.harness import RULES, TENANT, Upstream, eventually, upstream_running

LOGGING = "logging: {format: json}\n"


@dataclass(slots=True)
class Spawned:
    """A gateway process. `file` is its configuration, `base` the part of it that tests leave as it is."""

    program: Program
    file: Path
    base: str
    port: int
    upstream: Upstream
    token: str

    @property
    def url(self) -> str:
        """Where it listens."""
        return f"http://127.0.0.1:{self.port}"

    @property
    def bearer(self) -> dict[str, str]:
        """Request headers of a signed-in user."""
        return {"authorization": f"Bearer {self.token}"}

    @property
    def pid(self) -> int:
        """The process that was started; the one above where there are workers."""
        return self.program.pid

    def events(self, name: str) -> list[dict[str, Any]]:
        """What it has logged under a name."""
        lines = self.program.log.read_text().rpartition("\n")[0].splitlines()
        parsed = [json.loads(line) for line in lines if line.startswith("{")]
        return [line for line in parsed if line.get("event") == name]

    async def logged(self, name: str, count: int = 1) -> list[dict[str, Any]]:
        """The same, once there are so many; fails after a deadline."""
        await eventually(lambda: len(self.events(name)) >= count)
        return self.events(name)

    def signal(self, name: signal.Signals, pid: int | None = None) -> None:
        """Send a signal to it, or to one of its workers."""
        os.kill(pid or self.pid, name)

    def rewrite(self, more: str) -> None:
        """Change its configuration file."""
        self.file.write_text(self.base + more)

    async def ended(self) -> int:
        """Its exit status, once it has ended."""
        await eventually(lambda: self.program.poll() is not None)
        status = self.program.poll()
        assert status is not None
        return status


@asynccontextmanager
async def gateway_process(
    folder: Path,
    more: str = "",
    *,
    server: str = "",
    arguments: tuple[str, ...] = (),
    logging: str = LOGGING,
    tenant: str = TENANT,
) -> AsyncIterator[Spawned]:
    """A running gateway process with its sessions in a folder, and one session in it."""
    async with upstream_running() as upstream:
        port, file = free_port(), folder / "gateway.yaml"
        base = (
            f"server: {{port: {port}, {server}}}\n{tenant}{RULES}sessions: {{path: sessions}}\n"
            f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{upstream.port}']}}}}\n{logging}"
        )
        file.write_text(base + more)
        token = await _session(folder / "sessions")
        command = ("proxy", "serve", "--config", str(file), *arguments)
        program = Program("gateway", command, f"http://127.0.0.1:{port}/health", folder / "gateway.log")
        await asyncio.to_thread(program.start)
        try:
            yield Spawned(program, file, base, port, upstream, token)
        finally:
            await asyncio.to_thread(program.stop)


async def _session(folder: Path) -> str:
    store, token = FileStore(folder), new_token()
    key = key_of(token)
    assert key is not None
    identity = Identity("http://localhost:1/", "anna", "anna@staff.test", "anna", "localhost", {"email_verified": True})
    wanted = new_session(key, identity, now=time.time(), lifetime=600, ip="127.0.0.1", user_agent="tests")
    await store.create(key, wanted, max_per_user=0)
    await store.close()
    return token
