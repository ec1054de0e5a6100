"""Idle keep-alive connections: many of them are held open beside a measurement."""

from __future__ import annotations

import contextlib
import resource
import socket
from collections.abc import Iterator

from bench.programs import BenchError, MissingProgram, Program

_SPARE_FILES, _TIMEOUT, _WARM_REQUESTS = 512, 10, 1000


@contextlib.contextmanager
def hold(count: int, program: Program, request: bytes) -> Iterator[float]:
    """Hold connections that have each had a response; yield the memory that each one takes in the program, in bytes.

    Raises:
        BenchError: a connection failed or was closed meanwhile, or this process may not open as many files.
    """
    allow_files(count + _SPARE_FILES)
    with contextlib.ExitStack() as stack:

        def connect() -> socket.socket:
            return stack.enter_context(socket.create_connection(("127.0.0.1", program.port), timeout=_TIMEOUT))

        warm = connect()
        for _ in range(_WARM_REQUESTS):
            _ask(warm, request)
        before, held = program.memory(), []
        for _ in range(count):
            held.append(connect())
            _ask(held[-1], request)
        yield (program.memory() - before) / count
        for connection in held:
            _ask(connection, request)


def allow_files(wanted: int) -> None:
    """Let this process open so many files. Raises MissingProgram."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if hard != resource.RLIM_INFINITY and hard < wanted:
        raise MissingProgram(f"{wanted} open files are needed, {hard} are allowed: raise the hard limit (ulimit -n)")
    resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def _ask(connection: socket.socket, request: bytes) -> None:
    connection.sendall(request)
    received = b""
    # The JSON of a status ends with the only closing brace but one.
    while not received.endswith(b'"}'):
        part = connection.recv(65536)
        received += part
        if not part or not received.startswith(b"HTTP/1.1 200 "):
            raise BenchError(f"an idle connection was closed or failed: {received[:40]!r}")
