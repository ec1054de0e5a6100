"""`noetl-edge dev`: run the gateway and both sandboxes on this machine until ctrl-C.

The sandboxes are separate processes; the gateway reaches them at their addresses only.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import click
import httpx
from click.core import ParameterSource

from proxy.commands.common import load_configuration
from proxy.commands.init import example
from proxy.commands.output import Failed

_START_SECONDS = 20.0
_STOP_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class _Program:
    name: str
    arguments: tuple[str, ...]
    ready_url: str


@click.command(epilog="Example: noetl-edge dev --port 8090")
@click.option("--config", "-c", type=click.Path(path_type=Path), default=Path("gateway.yaml"), show_default=True)
@click.option("--port", default=8090, show_default=True, help="Port of the gateway.")
@click.option("--auth0-port", default=8085, show_default=True, help="Port of the sandbox Auth0.")
@click.option("--noetl-port", default=8082, show_default=True, help="Port of the sandbox NoETL.")
@click.option("--dialect", type=click.Choice(["python", "rust"]), default="python", show_default=True)
def dev(config: Path, port: int, auth0_port: int, noetl_port: int, dialect: str) -> None:
    """Run the gateway with a sandbox Auth0 and a sandbox NoETL until ctrl-C, and print commands to try.

    If there is no gateway.yaml in this folder, the shipped example is used. Do not use this in production.
    """
    environment = {
        **os.environ,
        "AUTH0_DOMAIN": f"localhost:{auth0_port}",
        "AUTH0_ISSUER": f"http://localhost:{auth0_port}/",
        "NOETL_BASE_URL": f"http://127.0.0.1:{noetl_port}",
        "GATEWAY_PORT": str(port),
        "NOETL_EDGE_SESSIONS": str(Path("var/sessions").resolve()),
        "NOETL_EDGE_AUDIT": str(Path("var/audit/audit.log").resolve()),
        "LOG_FORMAT": os.environ.get("LOG_FORMAT", "console"),
        "PYTHONUNBUFFERED": "1",
    }
    with tempfile.TemporaryDirectory(prefix="noetl-edge-dev-") as folder:
        if not config.exists():
            given = click.get_current_context().get_parameter_source("config") is not ParameterSource.DEFAULT
            if given:
                raise Failed(f"{config} does not exist; leave --config out to use the shipped example")
            config = Path(folder) / "gateway.yaml"
            config.write_bytes(example())
        os.environ.update(environment)
        load_configuration(config)
        programs = _programs(config, port, auth0_port, noetl_port, dialect)
        code = asyncio.run(_Runner(environment).run(programs, _instructions(port, auth0_port)))
    sys.exit(code)


def _programs(config: Path, port: int, auth0_port: int, noetl_port: int, dialect: str) -> tuple[_Program, ...]:
    logout = f"http://127.0.0.1:{port}/api/auth/backchannel-logout"
    auth0 = ("mock_auth0", "--port", str(auth0_port), "--log-level", "warning", "--backchannel-logout-uri", logout)
    noetl = ("mock_noetl", "--port", str(noetl_port), "--dialect", dialect)
    gateway = ("proxy", "serve", "--config", str(config))
    return (
        _Program("auth0", auth0, f"http://localhost:{auth0_port}/.well-known/jwks.json"),
        _Program("noetl", noetl, f"http://127.0.0.1:{noetl_port}/api/health"),
        _Program("gateway", gateway, f"http://127.0.0.1:{port}/health"),
    )


def _instructions(port: int, auth0_port: int) -> str:
    gateway, auth0 = f"http://localhost:{port}", f"http://localhost:{auth0_port}"
    return f"""
noetl-edge is running at {gateway}. Users: user@example.com (analyst), dev@example.com (developer),
admin@example.com (admin); the password is "password". Try, in another terminal:

  # sign in at the sandbox Auth0, and exchange the token for a session
  get() {{ python3 -c "import json,sys; print(json.load(sys.stdin)['$1'])"; }}
  ID_TOKEN=$(curl -s {auth0}/oauth/token -d grant_type=password -d client_id=noetl-gateway \\
    -d username=user@example.com -d password=password | get id_token)
  TOKEN=$(curl -s {gateway}/api/auth/login -H 'content-type: application/json' \\
    -d "{{\\"auth0_token\\": \\"$ID_TOKEN\\"}}" | get session_token)

  # run a playbook, and call the NoETL API
  curl -s {gateway}/graphql -H "authorization: Bearer $TOKEN" -H 'content-type: application/json' \\
    -d '{{"query": "mutation {{ executePlaybook(name: \\"examples/hello_world\\") {{ executionId status }} }}"}}'
  curl -s {gateway}/noetl/health -H "authorization: Bearer $TOKEN"

  # end all sessions of the user at the sandbox Auth0 (in a browser: {auth0}/u/logout-everywhere)
  curl -s {auth0}/u/logout-everywhere -d email=user@example.com

  # or in a browser: {gateway}/graphql (headers: {{"authorization": "Bearer …"}}), and {auth0}/ for the sandbox Auth0

ctrl-C stops all three.
"""


class _Runner:
    """A runner of programs, which forwards their output and stops them at the end."""

    def __init__(self, environment: Mapping[str, str]) -> None:
        self._environment = environment
        self._running: list[tuple[_Program, asyncio.subprocess.Process]] = []
        self._printing: list[asyncio.Task[None]] = []

    async def run(self, programs: tuple[_Program, ...], instructions: str) -> int:
        """Run until a signal arrives or a program ends; return the exit status."""
        stop = asyncio.Event()
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, stop.set)
        try:
            for program in programs:
                if not await self._start(program, stop):
                    return 0 if stop.is_set() else 1
            click.echo(instructions)
            return await self._watch(stop)
        finally:
            await self._stop()

    async def _start(self, program: _Program, stop: asyncio.Event) -> bool:
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable,
            "-m",
            *program.arguments,
            stdin=asyncio.subprocess.DEVNULL,
            stdout=pipe,
            stderr=asyncio.subprocess.STDOUT,
            env=dict(self._environment),
            start_new_session=True,
        )
        self._running.append((program, process))
        self._printing.append(asyncio.create_task(_forward_output(program.name, process)))
        try:
            async with asyncio.timeout(_START_SECONDS), httpx.AsyncClient(trust_env=False) as client:
                while process.returncode is None and not stop.is_set():
                    if await _is_ready(client, program.ready_url):
                        return process.returncode is None
                    await asyncio.sleep(0.05)
        except TimeoutError:
            click.echo(f"noetl-edge: {program.name} did not answer {program.ready_url}", err=True)
        return False

    async def _watch(self, stop: asyncio.Event) -> int:
        ends = [asyncio.create_task(process.wait()) for _, process in self._running]
        stopping = asyncio.create_task(stop.wait())
        await asyncio.wait([stopping, *ends], return_when=asyncio.FIRST_COMPLETED)
        for task in (stopping, *ends):
            task.cancel()
        for program, process in self._running:
            if process.returncode is not None and not stop.is_set():
                click.echo(f"noetl-edge: {program.name} ended with exit code {process.returncode}", err=True)
                return 1
        return 0

    async def _stop(self) -> None:
        for _, process in reversed(self._running):
            if process.returncode is None:
                process.terminate()
        for _, process in self._running:
            try:
                async with asyncio.timeout(_STOP_SECONDS):
                    await process.wait()
            except TimeoutError:
                process.kill()
                await process.wait()
        await asyncio.gather(*self._printing)


async def _is_ready(client: httpx.AsyncClient, url: str) -> bool:
    try:
        return (await client.get(url, timeout=2)).is_success
    except httpx.TransportError:
        return False


async def _forward_output(name: str, process: asyncio.subprocess.Process) -> None:
    assert process.stdout is not None  # noqa: S101 - the process was started with a pipe
    while line := await process.stdout.readline():
        click.echo(f"{name:<7} | {line.decode(errors='replace').rstrip()}")
