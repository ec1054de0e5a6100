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
from collections.abc import Mapping
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
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-I",
            "-S",
            _CHILD,
            stdin=asyncio.subprocess.PIPE,
            stdout=asyncio.subprocess.PIPE,
            stderr=asyncio.subprocess.PIPE,
            cwd=folder,
            env={"PATH": os.defpath, "LANG": "C.UTF-8"},
            start_new_session=True,
            preexec_fn=_limits,
            limit=MAX_OUTPUT,
        )
        try:
            async with asyncio.timeout(self._seconds):
                out, err = await _exchange(process, job)
                code = await process.wait()
        except TimeoutError:
            return _ended(f"the step took longer than {self._seconds:g} s", start)
        finally:
            await _end(process)
        taken = int((asyncio.get_running_loop().time() - start) * 1000)
        head, _, rest = out.rpartition(b"\0")
        try:
            found = json.loads(rest)
        except ValueError:
            text = "the step returned more than can be kept" if len(out) >= MAX_OUTPUT else "the step ended its process"
            return Ran(None, text, code or 1, _text(out), _text(err), taken)
        return Ran(found["value"], found["error"], found["exit_code"], _text(head), _text(err), taken)


async def _exchange(process: asyncio.subprocess.Process, job: bytes) -> tuple[bytes, bytes]:
    """Send the job, and return the beginnings of both outputs; the rest is read and dropped."""
    if process.stdin is None or process.stdout is None or process.stderr is None:
        raise RuntimeError("the process has no pipes")
    process.stdin.write(job)
    with contextlib.suppress(ConnectionError):
        await process.stdin.drain()
    process.stdin.close()
    out, err = await asyncio.gather(_read(process.stdout), _read(process.stderr))
    return out, err


async def _read(stream: asyncio.StreamReader) -> bytes:
    kept = bytearray()
    while part := await stream.read(65_536):
        kept += part[: MAX_OUTPUT - len(kept)]
    return bytes(kept)


def _ended(text: str, start: float) -> Ran:
    taken = int((asyncio.get_running_loop().time() - start) * 1000)
    return Ran(None, text, 1, "", f"{text}\n", taken)


async def _end(process: asyncio.subprocess.Process) -> None:
    """End the process and its children, and close its pipes."""
    with contextlib.suppress(ProcessLookupError):
        os.killpg(process.pid, signal.SIGKILL)
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(END_SECONDS):
            for stream in (process.stdout, process.stderr):
                while stream is not None and await stream.read(65_536):
                    pass
            await process.wait()


def _text(data: bytes) -> str:
    return data.decode("utf-8", "replace")


def _limits() -> None:
    """Limit the new process, before it runs anything."""
    resource.setrlimit(resource.RLIMIT_CPU, (MAX_CPU_SECONDS, MAX_CPU_SECONDS))
    resource.setrlimit(resource.RLIMIT_AS, (MAX_MEMORY, MAX_MEMORY))
    resource.setrlimit(resource.RLIMIT_FSIZE, (MAX_FILE, MAX_FILE))
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_NOFILE, (64, 64))
