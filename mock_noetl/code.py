"""Python steps, run for real: each in a process of its own, with limits, as the worker of each server runs them.

The process gets an empty folder and almost no environment. It is no sandbox against
hostile code: it can read what the user of this server can read, and open connections.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import resource
import signal
import sys
import tempfile
from collections.abc import AsyncIterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MAX_SECONDS = 60.0
END_SECONDS = 2.0
MAX_CPU_SECONDS = 20
MAX_MEMORY = 512 * 1024 * 1024
MAX_FILE = 16 * 1024 * 1024
MAX_OUTPUT = 1024 * 1024
AT_ONCE = 8
_CHILD = str(Path(__file__).with_name("code_child.py"))


@dataclass(frozen=True, slots=True)
class Ran:
    """What became of the code.

    Args:
        value: what it returned, as JSON data.
        error: the text of the exception; None if there was none.
        exit_code: 0, or 1 after an exception; another one if the process ended by itself.
        stdout: what it printed.
        stderr: the traceback, and what it printed there.
        milliseconds: how long it took.
    """

    value: Any
    error: str | None
    exit_code: int
    stdout: str
    stderr: str
    milliseconds: int


class Runner:
    """Runs code, some at once; the others wait. `style` is that of the worker of a dialect."""

    def __init__(self, style: str, at_once: int = AT_ONCE, seconds: float = MAX_SECONDS) -> None:
        self._style = style
        self._places = asyncio.Semaphore(at_once)
        self._seconds = seconds

    async def run(self, code: str, names: Mapping[str, Any], given: Mapping[str, Any]) -> Ran:
        """Run code with the values `names` as its globals; `given` are those that the step itself was given."""
        job = json.dumps({"code": code, "names": names, "given": given, "style": self._style}, default=str).encode()
        async with self._places:
            with tempfile.TemporaryDirectory(prefix="mock-noetl-") as folder:
                return await self._run(job, folder)

    async def _run(self, job: bytes, folder: str) -> Ran:
        start = asyncio.get_running_loop().time()
        async with _Output.opened() as out, _Output.opened() as err:
            process = await _started(folder, out, err)
            try:
                async with asyncio.timeout(self._seconds):
                    await _send(process, job)
                    code = await process.wait()
            except TimeoutError:
                return _ended(f"the step took longer than {self._seconds:g} s", start)
            finally:
                await _end(process, out, err)
        taken = int((asyncio.get_running_loop().time() - start) * 1000)
        head, _, rest = bytes(out.kept).rpartition(b"\0")
        try:
            found = json.loads(rest)
        except ValueError:
            full = len(out.kept) >= MAX_OUTPUT
            text = "the step returned more than can be kept" if full else "the step ended its process"
            return Ran(None, text, code or 1, _text(out.kept), _text(err.kept), taken)
        return Ran(found["value"], found["error"], found["exit_code"], _text(head), _text(err.kept), taken)


class _Output(asyncio.Protocol):
    """One output of a process: its beginning is kept, the rest is read and dropped.

    It is no pipe of asyncio's, which waits for the processes that the code has started and that hold the pipe, too.
    """

    def __init__(self) -> None:
        self.kept = bytearray()
        self.closed = asyncio.Event()
        self.write = -1

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls) -> AsyncIterator[_Output]:
        """Open a pipe; it is closed with the context."""
        read, write = os.pipe()
        transport, output = await asyncio.get_running_loop().connect_read_pipe(cls, os.fdopen(read, "rb", 0))
        output.write = write
        try:
            yield output
        finally:
            output.close_write()
            transport.close()

    def close_write(self) -> None:
        """Close this process's side, so that the pipe ends with the processes that have it."""
        if self.write >= 0:
            os.close(self.write)
            self.write = -1

    def data_received(self, data: bytes) -> None:
        """Keep the beginning."""
        self.kept += data[: MAX_OUTPUT - len(self.kept)]

    def connection_lost(self, exc: Exception | None) -> None:
        """Note the end."""
        self.closed.set()


async def _started(folder: str, out: _Output, err: _Output) -> asyncio.subprocess.Process:
    process = await asyncio.create_subprocess_exec(
        sys.executable,
        "-I",
        "-S",
        _CHILD,
        stdin=asyncio.subprocess.PIPE,
        stdout=out.write,
        stderr=err.write,
        cwd=folder,
        env={"PATH": os.defpath, "LANG": "C.UTF-8"},
        start_new_session=True,
        preexec_fn=_limits,
    )
    out.close_write()
    err.close_write()
    return process


async def _send(process: asyncio.subprocess.Process, job: bytes) -> None:
    if process.stdin is None:
        raise RuntimeError("the process has no input")
    process.stdin.write(job)
    with contextlib.suppress(ConnectionError):
        await process.stdin.drain()
    process.stdin.close()


def _ended(text: str, start: float) -> Ran:
    taken = int((asyncio.get_running_loop().time() - start) * 1000)
    return Ran(None, text, 1, "", f"{text}\n", taken)


async def _end(process: asyncio.subprocess.Process, out: _Output, err: _Output) -> None:
    """End the process and what it has started, and read what is left in its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            await process.wait()
            await out.closed.wait()
            await err.closed.wait()


def _text(data: bytes | bytearray) -> str:
    return data.decode("utf-8", "replace")


def _limits() -> None:
    """Limit the new process, before it runs anything."""
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
