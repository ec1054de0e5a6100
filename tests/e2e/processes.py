"""The three programs as processes: start, wait until they answer, restart, stop. Ends only what it started."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType

import httpx

from tests.redis_server import DURABLE, RedisServer, wanted

ROOT = Path(__file__).resolve().parents[2]
START_SECONDS = 30.0
STOP_SECONDS = 15.0
# What a developer's shell may set and the run must not depend on; proxies too, as all of it is on loopback.
_FOREIGN = ("AUTH0_", "AUTH_PLAYBOOK_", "CORS_", "GATEWAY_", "LOG_", "NOETL_", "ROUTER_")
_PROXIES = ("http_proxy", "https_proxy", "all_proxy")


class StartFailed(Exception):
    """A program ended, or did not answer within the deadline."""


def free_port() -> int:
    """A port of 127.0.0.1 that nothing listens on now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def wait_until(condition: Callable[[], bool], seconds: float, what: str) -> None:
    """Return once `condition` holds; raises `AssertionError` naming `what` after `seconds`."""
    deadline = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {seconds:g} s")
        time.sleep(0.05)


def _with_password(password: str) -> str:
    """The sandbox's users, with this password."""
    text = (ROOT / "mock_auth0" / "users.yaml").read_text("utf-8")
    assert "password: password" in text, "the sandbox's users have other passwords"
    return text.replace("password: password", f"password: {password}")


def clean_environment() -> dict[str, str]:
    """This process's environment without what would configure the programs."""
    return {
        name: value
        for name, value in os.environ.items()
        if not name.startswith(_FOREIGN) and name.lower() not in _PROXIES
    }


@dataclass(slots=True)
class Program:
    """One program: its arguments after `python -m`, the address that tells it is ready, and its log file.

    `before`: words before `python`, of programs that end in running the rest.
    """

    name: str
    arguments: tuple[str, ...]
    ready_url: str
    log: Path
    environment: Mapping[str, str] = field(default_factory=dict)
    before: tuple[str, ...] = ()
    _process: subprocess.Popen[bytes] | None = None

    @property
    def pid(self) -> int:
        """The id of its process."""
        assert self._process is not None, f"{self.name} does not run"
        return self._process.pid

    def poll(self) -> int | None:
        """Its exit status; None while it runs."""
        assert self._process is not None, f"{self.name} was not started"
        return self._process.poll()

    def start(self, **changes: str) -> None:
        """Start and wait until it answers; `changes` go into the environment of this start only."""
        assert self._process is None, f"{self.name} runs already"
        environment = {**clean_environment(), **self.environment, **changes}
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(
                [*self.before, sys.executable, "-m", *self.arguments],
                cwd=ROOT,
                env=environment,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=subprocess.STDOUT,
            )
        try:
            wait_until(self._answers, START_SECONDS, f"{self.name} answers {self.ready_url}")
        except AssertionError as error:
            raise StartFailed(str(error)) from None

    def _answers(self) -> bool:
        assert self._process is not None
        code = self._process.poll()
        if code is not None:
            raise StartFailed(f"{self.name} ended with exit code {code} before it was ready")
        try:
            return httpx.get(self.ready_url, timeout=2, trust_env=False).is_success
        except httpx.TransportError:
            return False

    def stop(self) -> int | None:
        """SIGTERM, and SIGKILL after a deadline; returns the exit code, None if it was not running."""
        process, self._process = self._process, None
        if process is None:
            return None
        process.send_signal(signal.SIGTERM)
        try:
            return process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            process.kill()
            return process.wait()

    def kill(self) -> None:
        """SIGKILL, as a crash would have it."""
        process, self._process = self._process, None
        assert process is not None, f"{self.name} does not run"
        process.kill()
        process.wait()

    def tail(self, lines: int = 25) -> str:
        """The end of what it printed."""
        if not self.log.exists():
            return ""
        return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])


class Programs:
    """Both sandboxes and the gateway on free ports, with a folder of their own that goes away with them."""

    def __init__(self, dialect: str, password: str = "password", provider: str = "local", store: str = "file") -> None:
        """`password` is that of the sandbox's users; another than theirs can be told from the word.

        `store` is where the gateway has its sessions; `redis` has a server of its own. Raises NoServer.
        """
        self.store = store
        self._folder = tempfile.TemporaryDirectory(prefix="noetl-edge-e2e-")
        folder = Path(self._folder.name)
        auth0, noetl, gateway = free_port(), free_port(), free_port()
        self.domain = f"localhost:{auth0}"
        self.auth0_url = f"http://{self.domain}"
        self.gateway_url = f"http://127.0.0.1:{gateway}"
        self.sessions = folder / ("sessions" if provider == "local" else "sessions-noetl")
        self.audit = folder / "audit.log"
        self.password = password
        self.redis: RedisServer | None = None
        config = ROOT / "gateway.yaml"
        if store == "redis":
            self.redis = RedisServer(wanted(), *DURABLE)
            self.sessions = self.redis.folder
            config = self.configuration(folder / "gateway.yaml", f"redis\n  url: {self.redis.url}")
        elif store == "memory":
            config = self.configuration(folder / "gateway.yaml", store)
        users = folder / "users.yaml"
        users.write_text(_with_password(self.password))
        self.auth0 = Program(
            "mock_auth0",
            (
                *("mock_auth0", "--port", str(auth0), "--users", str(users)),
                *("--backchannel-logout-uri", f"{self.gateway_url}/api/auth/backchannel-logout"),
            ),
            f"{self.auth0_url}/.well-known/jwks.json",
            folder / "mock_auth0.log",
        )
        self.noetl = Program(
            "mock_noetl",
            ("mock_noetl", "--port", str(noetl), "--dialect", dialect),
            f"http://127.0.0.1:{noetl}/api/health",
            folder / "mock_noetl.log",
        )
        self.gateway = Program(
            "gateway",
            ("proxy", "serve", "--config", str(config)),
            f"{self.gateway_url}/health",
            folder / "gateway.log",
            {
                "AUTH0_DOMAIN": self.domain,
                "AUTH0_ISSUER": f"{self.auth0_url}/",
                "AUTH0_AUDIENCE": "noetl-gateway",
                "NOETL_BASE_URL": f"http://127.0.0.1:{noetl}",
                "GATEWAY_PORT": str(gateway),
                "NOETL_EDGE_SESSIONS": str(folder / "sessions"),
                "NOETL_EDGE_PROVIDER": provider,
                "NOETL_EDGE_AUDIT": str(self.audit),
                "LOG_LEVEL": "debug",
                "NOETL_EDGE_LOGIN_RATE": "1000000/second",
                "CORS_ALLOWED_ORIGINS": "http://localhost:3000",
            },
        )

    def __enter__(self) -> Programs:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for program in reversed(self.all):
            program.stop()
        if self.redis is not None:
            self.redis.remove()
        self._folder.cleanup()

    @staticmethod
    def configuration(file: Path, store: str) -> Path:
        """Write a copy of the shipped configuration with another session store; return its file."""
        text = (ROOT / "gateway.yaml").read_text("utf-8")
        assert "  store: file\n" in text, "the shipped configuration has another store"
        file.write_text(text.replace("  store: file\n", f"  store: {store}\n"))
        return file

    @property
    def all(self) -> tuple[Program, ...]:
        """In the order to start them."""
        return (self.auth0, self.noetl, self.gateway)

    def start(self) -> None:
        """Start all; raises `StartFailed`."""
        if self.redis is not None:
            self.redis.start()
        for program in self.all:
            program.start()
