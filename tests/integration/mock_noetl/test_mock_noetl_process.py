"""The sandbox as a process: its start line, its end and its ways to give up."""

import asyncio
import os
import re
import signal
import socket
import sys

import httpx
import pytest


async def launch(*arguments: str, **environment: str) -> asyncio.subprocess.Process:
    pipe = asyncio.subprocess.PIPE
    command = [sys.executable, "-m", "mock_noetl", *arguments]
    return await asyncio.create_subprocess_exec(*command, stdout=pipe, stderr=pipe, env={**os.environ, **environment})


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
async def test_it_says_where_it_listens_and_stops_cleanly(number):
    process = await launch("--port", "0", "--dialect", "rust")
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    found = re.fullmatch(r"mock_noetl \(rust dialect\) listening on (http://127\.0\.0\.1:\d+)\n", line)
    assert found is not None
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"{found[1]}/api/health")).status_code == 200
        process.send_signal(number)
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, errors) == (0, b"")


async def test_a_port_in_use_is_one_line_and_exit_2():
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        process = await launch("--port", str(taken.getsockname()[1]))
        _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert errors.startswith(b"mock_noetl: cannot listen on")
    assert errors.count(b"\n") == 1


async def test_a_bad_playbook_at_start_is_one_line_and_exit_2(tmp_path):
    (tmp_path / "bad.yaml").write_text("a: [1")
    process = await launch("--port", "0", "--playbooks", str(tmp_path))
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 2
    assert re.fullmatch(rb"mock_noetl: .*bad\.yaml: line 1, column 6: .*\n", errors)


async def test_a_likely_mistake_in_a_playbook_is_a_warning_at_start(tmp_path):
    (tmp_path / "mine.yaml").write_text("metadata: {path: mine}\nworkflow:\n- {step: start, next: [strat]}\n")
    process = await launch("--port", "0", "--playbooks", str(tmp_path))
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    assert "listening on" in line
    process.terminate()
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert process.returncode == 0
    assert errors.decode().startswith(f"mock_noetl: warning: {tmp_path}/mine.yaml: line 3: workflow[0].next[0]: there")


async def test_a_rule_with_overrides_at_start_is_one_line_and_exit_2():
    process = await launch("--port", "0", "--fault", "{overrides: {lifetime: 5}}")
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    text = "mock_noetl: --fault 1: overrides: mock_noetl has none; response and merge change what it responds\n"
    assert (process.returncode, errors.decode()) == (2, text)


async def test_a_client_that_leaves_early_is_not_worth_a_line():
    process = await launch("--port", "0")
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    port = int(line.rstrip().rpartition(":")[2])
    _, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(b"POST /api/execute HTTP/1.1\r\nHost: a\r\nContent-Length: 9\r\n\r\nabc")
    await writer.drain()
    writer.close()
    await writer.wait_closed()
    async with httpx.AsyncClient(trust_env=False) as client:
        assert (await client.get(f"http://127.0.0.1:{port}/api/health")).status_code == 200
    process.terminate()
    _, errors = await asyncio.wait_for(process.communicate(), 20)
    assert (process.returncode, errors) == (0, b"")


async def journal_of(dialect: str, hash_seed: str) -> bytes:
    """Run a playbook in a process with a seed; return the journal of that."""
    arguments = (
        "--port",
        "0",
        "--dialect",
        dialect,
        "--admin",
        "--seed",
        "s",
        "--clock",
        "stopped:2027-01-01T00:00:00Z",
    )
    process = await launch(*arguments, PYTHONHASHSEED=hash_seed)
    assert process.stdout is not None
    line = (await asyncio.wait_for(process.stdout.readline(), 20)).decode()
    async with httpx.AsyncClient(base_url=line.split()[-1], headers={"host": "localhost"}, trust_env=False) as client:
        run = (await client.post("/api/execute", json={"path": "my_playbook"})).json()["execution_id"]
        await asyncio.sleep(1)
        for path in (f"/api/executions/{run}/status", f"/api/executions/{run}", "/api/executions", "/api/credentials"):
            await client.get(path)
        await client.post("/api/catalog/list", json={})
        journal = (await client.get("/__admin/journal?timing=false")).content
    process.terminate()
    await asyncio.wait_for(process.communicate(), 20)
    return journal


@pytest.mark.slow
@pytest.mark.parametrize("dialect", ["python", "rust"])
async def test_journals_of_two_processes_with_one_seed_are_equal(dialect):
    first, second = await asyncio.gather(journal_of(dialect, "1"), journal_of(dialect, "2"))
    assert b'"response_sha256"' in first
    assert first == second
