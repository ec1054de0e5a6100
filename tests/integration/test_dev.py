"""`noetl-edge dev` and ctrl-C: it ends with 0, silently, also while it starts."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path

import pytest

from tests.e2e.processes import free_port

PATIENCE = 30.0


async def started(folder: Path) -> asyncio.subprocess.Process:
    """Start it on free ports."""
    ports = [f"--{name}={free_port()}" for name in ("port", "auth0-port", "noetl-port")]
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *("-m", "proxy", "dev", *ports),
        cwd=folder,
        env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])},
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.STDOUT,
        start_new_session=True,
    )


async def output(process: asyncio.subprocess.Process) -> str:
    """Wait for its end; return what it printed."""
    async with asyncio.timeout(PATIENCE):
        out, _ = await process.communicate()
    return out.decode()


async def test_ctrl_c_ends_all_three_programs_with_0(tmp_path: Path) -> None:
    process = await started(tmp_path)
    assert process.stdout is not None
    async with asyncio.timeout(PATIENCE):
        while b"ctrl-C stops all three" not in await process.stdout.readline():
            pass
    process.send_signal(signal.SIGINT)
    last = await output(process)
    assert process.returncode == 0
    assert [line for line in last.splitlines() if line and "gateway.stopping" not in line] == []


@pytest.mark.parametrize("seconds", [0.1, 0.2, 0.4, 0.7, 1.0, 1.5])
async def test_ctrl_c_at_the_start_prints_no_traceback(tmp_path: Path, seconds: float) -> None:
    """A process that is still importing its modules ends by the signal itself, which shells show as 130."""
    process = await started(tmp_path)
    await asyncio.sleep(seconds)
    process.send_signal(signal.SIGINT)
    printed = await output(process)
    assert process.returncode in (0, 130, -signal.SIGINT)
    assert "Traceback" not in printed
    assert "Error" not in printed
