"""Start a sandbox for tests: in a thread of this process, or as a process of its own."""

from __future__ import annotations

import asyncio
import re
import subprocess
import sys
import threading
from collections import deque
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import IO

from mock_server.loop import new_loop

from .embedded import Server, sandbox

START_SECONDS = 30.0
STOP_SECONDS = 10.0
LINES_SHOWN = 30
_URL = re.compile(r"listening on (\S+)")


class StartError(Exception):
    """A sandbox does not start; the text has what it said."""


@contextmanager
def in_process(program: str, arguments: Sequence[str]) -> Iterator[str]:
    """Run `mock_auth0` or `mock_noetl` in a thread until the context ends; yields its base URL. Raises StartError."""
    loop = new_loop()
    thread = threading.Thread(target=loop.run_forever, name=program, daemon=True)
    thread.start()
    try:
        running = _started(program, arguments, loop)
        try:
            yield running.url.rstrip("/")
        finally:
            asyncio.run_coroutine_threadsafe(running.stop(), loop).result(STOP_SECONDS)
    finally:
        loop.call_soon_threadsafe(loop.stop)
        thread.join(STOP_SECONDS)
        loop.close()


def _started(program: str, arguments: Sequence[str], loop: asyncio.AbstractEventLoop) -> Server:
    try:
        running = sandbox(program, [*arguments, "--admin"])
        asyncio.run_coroutine_threadsafe(running.start("127.0.0.1", 0), loop).result(START_SECONDS)
    except Exception as error:
        raise StartError(f"{program} did not start: {error or type(error).__name__}") from error
    return running


@contextmanager
def as_process(program: str, arguments: Sequence[str]) -> Iterator[str]:
    """Run `mock_auth0` or `mock_noetl` as a process until the context ends; yields its base URL. Raises StartError."""
    command = [sys.executable, "-m", program, "--port", "0", "--admin", *arguments]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True) as process:  # noqa: S603
        try:
            yield _url_of(program, process)
        finally:
            process.terminate()
            try:
                process.wait(STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()


def _url_of(program: str, process: subprocess.Popen[str]) -> str:
    found: deque[str] = deque(maxlen=LINES_SHOWN)
    ready = threading.Event()
    url: list[str] = []

    def read(stream: IO[str]) -> None:
        for line in stream:  # to the end, so that the program never waits for a reader
            found.append(line)
            if not url and (match := _URL.search(line)):
                url.append(match[1].rstrip("/"))
                ready.set()
        ready.set()

    threading.Thread(target=read, args=(process.stdout,), daemon=True).start()
    if not ready.wait(START_SECONDS) or not url:
        raise StartError(f"{program} did not start; {_state(process)}:\n{''.join(found).strip() or '(nothing)'}")
    return url[0]


def _state(process: subprocess.Popen[str]) -> str:
    try:
        return f"it ended with exit code {process.wait(1)}, and printed"
    except subprocess.TimeoutExpired:
        return f"after {START_SECONDS:g} s it has printed"
