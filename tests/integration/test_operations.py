"""What an operator does with a running gateway: reload it and read the verdict, examine it, start it elsewhere."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path
from typing import Any

import aiohttp
import pytest

from tests.e2e.processes import free_port
from tests.integration.bridge_server import Noetl
from tests.integration.harness import eventually
from tests.integration.spawned import Spawned, gateway_process

several = pytest.mark.parametrize("workers", [1, 2], ids=["alone", "two workers"])
EDGE = (sys.executable, "-m", "proxy")


async def run(*arguments: str) -> tuple[int, str, str]:
    """Run a command; return its exit status and what it printed."""
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*EDGE, *arguments, stdout=pipe, stderr=pipe)
    out, err = await process.communicate()
    assert process.returncode is not None
    return process.returncode, out.decode(), err.decode()


async def get(gateway: Spawned, path: str) -> tuple[int, Any]:
    async with aiohttp.ClientSession() as client, client.get(gateway.url + path) as answer:
        return answer.status, await answer.json(content_type=None) if path == "/ready" else await answer.text()


@several
async def test_reload_prints_the_verdict(tmp_path: Path, workers: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with gateway_process(tmp_path, server=f"workers: {workers}") as gateway:
        file = str(gateway.file)
        status, out, _ = await run("reload", "--config", file)
        assert (status, out.endswith(", nothing changed (values of secrets are not compared)\n")) == (0, True)
        gateway.rewrite("routes: [{path: /new, handler: health}]\n")
        status, out, _ = await run("reload", "--config", file)
        assert (status, out.startswith("reloaded: configuration "), "nothing" in out) == (0, True, False)
        await eventually_found(gateway, "/new")
        gateway.rewrite("routes: [{path: /new, handlr: health}]\n")
        status, _, err = await run("reload", "--config", file)
        assert status == 2
        assert 'routes[0].handlr: unknown key (did you mean "handler"?)' in err
        assert "refused: the gateway still uses configuration" in err
    status, _, err = await run("reload", "--config", file)
    assert (status, err.startswith("noetl-edge: no gateway of this user runs with ")) == (2, True)


async def eventually_found(gateway: Spawned, path: str) -> None:
    async with asyncio.timeout(10):
        while (await get(gateway, path))[0] == 404:
            pass


@several
@pytest.mark.parametrize("lost", ["auth", "upstreams"])
async def test_a_reload_does_not_remove_the_last_tenant_or_upstream(tmp_path: Path, workers: int, lost: str) -> None:
    async with gateway_process(tmp_path, server=f"workers: {workers}") as gateway:
        kept = [line for line in gateway.base.splitlines(keepends=True) if not line.startswith(f"{lost}:")]
        assert len(kept) < len(gateway.base.splitlines())
        gateway.file.write_text("".join(kept))
        status, _, err = await run("reload", "--config", str(gateway.file))
        assert status == 2
        assert "a reload can't remove the last" in err
        assert (await get(gateway, "/health"))[0] == 200


async def test_an_emptied_file_is_refused_and_nothing_changes(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, arguments=("--watch",)) as gateway:
        gateway.file.write_text("")
        (problem,) = await gateway.logged("reload.problem")
        assert "the file is empty" in problem["problem"]
        status, body = await get(gateway, "/ready")
        assert (status, body["ready"]) == (503, False)  # for the key set of the test's tenant, not for the file
        assert body["upstreams"] == {"noetl": "ok"}


async def test_a_reload_logs_warnings_and_says_in_a_word_that_nothing_changed(tmp_path: Path) -> None:
    async with gateway_process(tmp_path, "routes: [{path: /x, upstream: noetl, auth: none}]\n") as gateway:
        before = [line["text"] for line in gateway.events("config.warning")]
        assert before
        await run("reload", "--config", str(gateway.file))
        (done,) = await gateway.logged("reload.done")
        assert done["changed"] == "nothing"
        assert [line["text"] for line in gateway.events("config.warning")] == before * 2


async def test_a_changed_secret_file_is_seen(tmp_path: Path) -> None:
    (tmp_path / "token").write_text("one")
    route = "{path: /x, upstream: noetl, headers: {request: {set: {x-api-key: '${file:token}'}}}}"
    async with gateway_process(tmp_path, f"routes: [{route}]\n", arguments=("--watch",)) as gateway:
        (tmp_path / "token").write_text("another")
        (done,) = await gateway.logged("reload.done")
        assert done["changed"] == ["routes[/x].headers.request.set.x-api-key: (a secret) -> (a secret)"]


def without_upstream(gateway: Spawned) -> None:
    """Have the configuration name a port on which nobody listens."""
    gateway.file.write_text(gateway.base.replace(f":{gateway.upstream.port}'", f":{free_port()}'"))


async def test_what_cannot_be_reached_is_said_at_once(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as gateway:
        (found,) = await gateway.logged("key_set.unreachable")
        assert found["tenant"] == "localhost"
        assert gateway.events("upstream.unreachable") == []
        without_upstream(gateway)
        await run("reload", "--config", str(gateway.file))
        (found,) = await gateway.logged("upstream.unreachable")
        assert (found["upstream"], found["reason"]) == ("noetl", "connection refused")


async def test_ready_says_why_an_upstream_cannot_be_used(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as gateway:
        without_upstream(gateway)
        await run("reload", "--config", str(gateway.file))
        status, body = await get(gateway, "/ready")
        assert (status, body["upstreams"]) == (503, {"noetl": "unreachable: connection refused"})


async def test_the_command_line_chooses_address_and_port(tmp_path: Path) -> None:
    port = free_port()
    async with gateway_process(tmp_path) as gateway:
        process = await asyncio.create_subprocess_exec(
            *EDGE, "serve", "--config", str(gateway.file), "--host", "127.0.0.1", "--port", str(port),
            env={**os.environ, "GATEWAY_PORT": "1"}, stderr=asyncio.subprocess.DEVNULL,
        )  # fmt: skip
        try:
            async with asyncio.timeout(20):
                while not await _answers(port):
                    pass
        finally:
            process.terminate()
            await process.wait()


async def _answers(port: int) -> bool:
    try:
        async with aiohttp.ClientSession() as client, client.get(f"http://127.0.0.1:{port}/health") as answer:
            return answer.status == 200
    except aiohttp.ClientError:
        return False


async def test_doctor_finds_what_is_there_and_what_is_not(tmp_path: Path) -> None:
    async with gateway_process(tmp_path) as gateway:
        text = gateway.base.replace("server: {", f"server: {{public_url: '{gateway.url}', ")
        gateway.file.write_text(text)
        status, out, _ = await run("doctor", "--config", str(gateway.file))
        found = {line.split(None, 1)[1].split("  ")[0]: line for line in out.splitlines()}
        assert status == 1
        assert found["upstream noetl"].startswith("ok")
        assert found["tenant localhost"].startswith("FAIL")
        assert found["sessions.path"].startswith("ok")
        assert found["public_url"].startswith("ok")
        without_upstream(gateway)
        _, out, _ = await run("doctor", "--config", str(gateway.file))
        assert "connection refused; start the server, or correct host and port in urls" in out
    _, out, _ = await run("doctor", "--config", str(gateway.file))
    assert "nobody answers; start the gateway, or correct server.public_url" in out


@pytest.mark.parametrize(
    ("dialect", "text"),
    [("rust", "dialect rust, release 3.83.1"), ("python", "dialect python, release unknown")],
)
async def test_doctor_names_the_noetl_server(tmp_path: Path, dialect: str, text: str) -> None:
    async with gateway_process(tmp_path) as gateway:
        _, out, _ = await run("doctor", "--config", str(gateway.file))
        assert "dialect unknown, release unknown" in out
        gateway.upstream.answer = Noetl(dialect).answer
        _, out, _ = await run("doctor", "--config", str(gateway.file))
        (line,) = (line for line in out.splitlines() if "upstream noetl" in line)
        assert line.startswith("ok")
        assert line.endswith(f" ms; {text}")


async def test_the_state_of_a_gateway_is_read_by_its_user_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_RUNTIME_DIR", str(tmp_path))
    async with gateway_process(tmp_path) as gateway:
        folder = tmp_path / f"noetl-edge-{os.getuid()}"
        assert folder.stat().st_mode & 0o077 == 0
        await eventually(lambda: len(list(folder.iterdir())) == 1)
        folder.chmod(0o777)
        status, _, _ = await run("reload", "--config", str(gateway.file))
        assert status == 2
        folder.chmod(0o700)
    assert list(folder.iterdir()) == []
