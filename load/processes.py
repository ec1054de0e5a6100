"""The stack of a scenario: sandboxes, gateways and Redis as processes; ends only what it started."""

from __future__ import annotations

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import urlsplit

import httpx

from load import children
from load.scenario import Stack
from load.settings import ROOT

START_SECONDS = 60.0
STOP_SECONDS = 20.0
KEPT = 5000
"""How many executions the sandbox NoETL remembers, so that its memory settles within minutes."""
JOURNAL = "1000"
_FOREIGN = ("AUTH0_", "AUTH_PLAYBOOK_", "CORS_", "GATEWAY_", "LOG_", "NOETL_", "ROUTER_")


class StackError(Exception):
    """A program does not start; the text names it, and its log."""


def free_port() -> int:
    """Return a port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True)
class Process:
    """A program of the stack.

    Args:
        name: its name, as in scenarios.
        command: the command.
        url: its base URL, or `redis://…`.
        ready: the path that answers once it is ready; empty: it is ready once the port is open.
        log: the file of its output.
        environment: environment variables.
    """

    name: str
    command: tuple[str, ...]
    url: str
    ready: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    running: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int | None:
        """The process id while it runs."""
        return self.running.pid if self.running is not None and self.running.poll() is None else None

    def start(self) -> None:
        """Start, and wait until it is ready. Raises StackError."""
        if self.pid is not None:
            return
        with self.log.open("ab") as log:
            self.running = children.start(self.command, {**_clean_environment(), **self.environment}, log)
        deadline = time.monotonic() + START_SECONDS
        while not self._is_ready():
            if self.pid is None:
                raise StackError(f"{self.name} ended with exit code {self.running.returncode}: see {self.log}")
            if time.monotonic() > deadline:
                raise StackError(f"{self.name} is not ready after {START_SECONDS:g} s: see {self.log}")
            time.sleep(0.05)

    def _is_ready(self) -> bool:
        if self.ready:
            with suppress(httpx.TransportError):
                return httpx.get(self.url + self.ready, timeout=2, trust_env=False).is_success
            return False
        address = urlsplit(self.url)
        with socket.socket() as probe:
            return probe.connect_ex((address.hostname, address.port)) == 0

    def kill(self) -> None:
        """Kill it with signal 9."""
        if self.running is not None:
            self.running.kill()
            self.running.wait()

    def pause(self, paused: bool) -> None:
        """Stop it without ending it, or let it go on."""
        if (pid := self.pid) is not None:
            os.kill(pid, signal.SIGSTOP if paused else signal.SIGCONT)

    def stop(self) -> None:
        """End it in order; kill it if that takes too long."""
        if self.running is None or self.running.poll() is not None:
            return
        self.pause(False)
        self.running.terminate()
        try:
            self.running.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()


def _clean_environment() -> dict[str, str]:
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and not name.lower().endswith("_proxy")
    }


@dataclass(slots=True)
class Programs:
    """The programs of a stack, in the order of their start."""

    auth0: Process
    noetl: Process
    gateways: list[Process]
    redis: Process | None = None

    @property
    def all(self) -> list[Process]:
        """All programs."""
        return [*([self.redis] if self.redis else []), self.auth0, self.noetl, *self.gateways]

    def named(self, name: str) -> Process:
        """Return a program by its name in scenarios."""
        return next(program for program in self.all if program.name == name)

    def start(self) -> None:
        """Start all programs. Raises StackError."""
        for program in self.all:
            program.start()

    def stop(self) -> None:
        """Stop all programs."""
        for program in reversed(self.all):
            program.stop()


def prepare(stack: Stack, users: int, folder: Path, kept: int = KEPT) -> Programs:
    """Return the programs of a stack, not started yet; `kept` executions are remembered. Raises StackError."""
    python = (sys.executable, "-m")
    auth0_port, noetl_port = free_port(), free_port()
    auth0 = Process(
        "auth0",
        (*python, "mock_auth0", "--port", str(auth0_port), "--admin", "--generate-users", str(max(users, 1000)),
         "--journal", JOURNAL, "--log-level", "error"),
        f"http://localhost:{auth0_port}",
        "/.well-known/jwks.json",
        folder / "auth0.log",
    )  # fmt: skip
    noetl = Process(
        "noetl",
        (*python, "mock_noetl", "--port", str(noetl_port), "--admin", "--dialect", stack.dialect, "--keep", str(kept),
         "--journal", JOURNAL),
        f"http://127.0.0.1:{noetl_port}",
        "/api/health",
        folder / "noetl.log",
    )  # fmt: skip
    redis = _redis(folder) if stack.store == "redis" else None
    configuration = _configuration(stack, redis, folder)
    gateways = [_gateway(number, stack, configuration, auth0, noetl, folder) for number in range(1, stack.gateways + 1)]
    return Programs(auth0, noetl, gateways, redis)


def _redis(folder: Path) -> Process:
    server = shutil.which("redis-server")
    if server is None:
        raise StackError("redis-server is not installed: install it (Debian: apt-get install redis-server)")
    port = free_port()
    options = ("--port", str(port), "--bind", "127.0.0.1", "--dir", str(folder), "--appendonly", "yes", "--save", "")
    url = f"redis://127.0.0.1:{port}"
    return Process("redis", (server, *options, "--appendfsync", "always"), url, "", folder / "redis.log")


def _configuration(stack: Stack, redis: Process | None, folder: Path) -> Path:
    text = (ROOT / "gateway.yaml").read_text("utf-8")
    store = f"store: redis\n  url: {redis.url}\n" if redis else f"store: {stack.store}\n"
    changes = {
        "store: file\n": store,
        "server:\n": f"server:\n  workers: {stack.workers}\n  trusted_proxies: [127.0.0.0/8]\n",
        "analyst: {emails: [user@example.com]}": 'analyst: {emails: ["user*@example.com"]}',
    }
    for old, new in changes.items():
        if old not in text:
            raise StackError(f"gateway.yaml does not have {old.strip()}, which the load laboratory replaces")
        text = text.replace(old, new, 1)
    path = folder / "gateway.yaml"
    path.write_text(text, "utf-8")
    return path


def _gateway(number: int, stack: Stack, configuration: Path, auth0: Process, noetl: Process, folder: Path) -> Process:
    port = free_port()
    environment = {
        "NOETL_EDGE_PROFILE": "load",
        "AUTH0_DOMAIN": urlsplit(auth0.url).netloc,
        "AUTH0_ISSUER": f"{auth0.url}/",
        "NOETL_BASE_URL": noetl.url,
        "GATEWAY_PORT": str(port),
        "NOETL_EDGE_SESSIONS": str(folder / f"sessions-{number}"),
        "NOETL_EDGE_AUDIT": str(folder / f"audit-{number}.log"),
        "LOG_LEVEL": "error",
    }
    command = (sys.executable, "-m", "proxy", "serve", "--config", str(configuration))
    name = f"gateway-{number}"
    return Process(name, command, f"http://127.0.0.1:{port}", "/health", folder / f"{name}.log", environment)
