"""Limits of the processes that run Python steps."""

from __future__ import annotations

import asyncio
import os
import signal
import subprocess
import time

import pytest

from mock_noetl.code import MAX_OUTPUT, Ran, Runner


async def ran(code: str, seconds: float = 20, style: str = "rust") -> Ran:
    return await Runner(style, seconds=seconds).run(code, {}, {})


async def test_code_that_takes_too_long_is_ended() -> None:
    start = time.monotonic()
    found = await ran("import time\ntime.sleep(60)", seconds=0.5)
    assert (found.exit_code, found.error) == (1, "the step took longer than 0.5 s")
    assert time.monotonic() - start < 10


async def test_children_of_ended_code_are_ended() -> None:
    await ran("import subprocess\nsubprocess.run(['sleep', '4713'])", seconds=1)
    await asyncio.sleep(0.2)
    found = subprocess.run(["pgrep", "-fx", "sleep 4713"], capture_output=True, check=False)  # noqa: ASYNC221
    assert found.stdout == b""


async def test_step_ends_with_its_process_and_ends_what_it_left_behind() -> None:
    start = time.monotonic()
    found = await ran("import subprocess\nprint('printed')\nsubprocess.Popen(['sleep', '4714'])\nresult = 1")
    assert (found.value, found.error, found.stdout) == (1, None, "printed\n")
    assert time.monotonic() - start < 10
    left = subprocess.run(["pgrep", "-fx", "sleep 4714"], capture_output=True, check=False)  # noqa: ASYNC221
    assert left.stdout == b""


async def test_step_ends_although_a_process_of_another_session_has_its_output() -> None:
    code = "import subprocess\nresult = subprocess.Popen(['sleep', '4715'], start_new_session=True).pid"
    found = await ran(code)
    try:
        assert found.error is None
    finally:
        os.kill(found.value, signal.SIGKILL)


@pytest.mark.parametrize(
    "code",
    [
        "x = 'a' * 2_000_000_000",
        "open('f', 'wb').write(b'x' * 100_000_000)",
        "[open('/dev/null') for _ in range(1000)]",
    ],
)
async def test_memory_files_and_descriptors_are_limited(code: str) -> None:
    found = await ran(f"keep = {code}" if code[0] == "[" else code)
    assert found.exit_code != 0


async def test_output_is_read_and_not_kept_beyond_its_limit() -> None:
    found = await ran(f"print('x' * {MAX_OUTPUT * 8})\nresult = 1")
    assert len(found.stdout) + len(found.stderr) <= 2 * MAX_OUTPUT
    assert found.exit_code == 1


async def test_process_has_an_empty_folder_and_no_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("NOETL_INTERNAL_TOKEN", "not for scripts")
    found = await ran("import os\nresult = [os.listdir('.'), sorted(os.environ)]")
    assert found.value[0] == []
    assert "NOETL_INTERNAL_TOKEN" not in found.value[1]


async def test_few_processes_run_at_once() -> None:
    runner = Runner("rust", at_once=2)
    start = time.monotonic()
    await asyncio.gather(*(runner.run("import time\ntime.sleep(0.4)", {}, {}) for _ in range(6)))
    assert time.monotonic() - start >= 1.2


async def test_process_that_ends_itself_is_a_failure() -> None:
    found = await ran("import os\nos._exit(7)")
    assert (found.exit_code, found.error) == (7, "the step ended its process")
