"""The command line `noetl` 5.3.2 signs in at https by PKCE, by device code, by password and with a token."""

from __future__ import annotations

import asyncio
import os
import pty
import re
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

import httpx
import pytest

from mock_auth0.server import Server
from mock_auth0.tls import NAMES, own_authority
from tests.contract.cli import RELEASE
from tests.contract.programs import FOLDER
from tests.e2e.processes import clean_environment, free_port
from tests.integration.harness import gateway_running
from tests.integration.mock_auth0.provider import client_of, running
from tests.integration.mock_auth0.test_mock_auth0_signing_in import transaction_in

pytestmark = pytest.mark.slow
PATIENCE = 30.0
EMAIL = "dev@example.com"
PROGRAM = FOLDER / f"noetl-cli-{RELEASE}" / "bin" / "noetl"
GATEWAY = """
auth:
  tenants: [{{domain: "{domain}", issuer: "https://{domain}/", audience: [noetl-cli], tls: {{ca: "{ca}"}}}}]
  application: {{client_id: noetl-cli, redirect_uri: "http://localhost:3000/login"}}
upstreams: {{noetl: {{urls: ["http://127.0.0.1:1"]}}}}
"""


@dataclass(frozen=True, slots=True)
class Terminal:
    """The command line in a terminal of its own, and a browser."""

    home: Path
    authority: Path
    auth0: Server
    browser: httpx.AsyncClient

    @asynccontextmanager
    async def noetl(self, *arguments: str, typed: str = "") -> AsyncIterator[Output]:
        """Run a command; it must end with status 0."""
        assert PROGRAM.exists(), "the command line is not installed: run make noetl-cli"
        ours, theirs = pty.openpty()
        environment = {**clean_environment(), "HOME": str(self.home), "SSL_CERT_FILE": str(self.authority)}
        process = await asyncio.create_subprocess_exec(
            str(PROGRAM), *arguments,
            env=environment, cwd=self.home, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True,
            preexec_fn=_take_terminal,
        )  # fmt: skip
        os.close(theirs)
        output = Output(ours)
        try:
            if typed:
                await output.until("assword")
                os.write(ours, f"{typed}\n".encode())
            yield output
            async with asyncio.timeout(PATIENCE):
                status = await process.wait()
            await output.ended()
            assert status == 0, output.text
        finally:
            if process.returncode is None:
                process.kill()
                await process.wait()
            output.close()


def _take_terminal() -> None:
    import fcntl
    import termios

    fcntl.ioctl(0, termios.TIOCSCTTY, 0)


class Output:
    """What a command prints to its terminal."""

    def __init__(self, descriptor: int) -> None:
        self.text = ""
        self._descriptor = descriptor
        self._changed = asyncio.Event()
        self._end = asyncio.Event()
        asyncio.get_running_loop().add_reader(descriptor, self._read)

    def _read(self) -> None:
        part = b""
        with suppress(OSError):  # Linux reports the end of the other side like this
            part = os.read(self._descriptor, 65_536)
        if not part:
            asyncio.get_running_loop().remove_reader(self._descriptor)
            self._end.set()
        self.text += part.decode(errors="replace")
        self._changed.set()

    async def until(self, pattern: str) -> str:
        """Wait for a pattern, and return its first group, or all of it."""
        async with asyncio.timeout(PATIENCE):
            while not (found := re.search(pattern, self.text)):
                assert not self._end.is_set(), f"{pattern} was not printed: {self.text}"
                self._changed.clear()
                await self._changed.wait()
        return found[found.lastindex or 0]

    async def ended(self) -> None:
        """Wait for the end of the output."""
        async with asyncio.timeout(PATIENCE):
            await self._end.wait()

    def close(self) -> None:
        """Close the terminal."""
        asyncio.get_running_loop().remove_reader(self._descriptor)
        os.close(self._descriptor)


@pytest.fixture
async def terminal(tmp_path: Path) -> AsyncIterator[Terminal]:
    """A provider with https, a gateway that trusts it, and a context of the command line for both."""
    authority = tmp_path / "ca.pem"
    async with running(tls=own_authority(authority, NAMES)) as auth0:
        domain = auth0.url.removeprefix("https://").rstrip("/")
        trusting = ssl.create_default_context(cafile=str(authority))
        async with (
            gateway_running(tmp_path, GATEWAY.format(domain=domain, ca=authority)) as gateway,
            client_of(auth0, verify=trusting) as browser,
        ):
            made = Terminal(tmp_path, authority, auth0, browser)
            init = ("context", "init", "edge", "--from-gateway", gateway.url, "--yes", "--set-current")
            async with made.noetl(*init):
                pass
            yield made


async def sign_in(terminal: Terminal, address: str) -> httpx.Response:
    """Sign in on the page at an address; return what comes next."""
    page = await terminal.browser.get(address)
    form = {"state": transaction_in(page), "username": EMAIL, "password": "password"}
    return await terminal.browser.post(page.url.join("/u/login"), data=form)


async def test_the_command_line_signs_in_by_pkce(terminal: Terminal) -> None:
    port = free_port()
    command = ("auth", "login", "--browser-pkce", "--no-browser-open", "--pkce-port", str(port))
    async with terminal.noetl(*command) as output:
        address = await output.until(r"(https://localhost:\d+/authorize\?\S+)")
        back = await sign_in(terminal, address)
        async with httpx.AsyncClient(trust_env=False) as browser:
            assert (await browser.get(back.headers["location"])).status_code == 200
        await output.until("Gateway login successful")
    assert EMAIL in output.text


async def test_the_command_line_signs_in_by_device_code(terminal: Terminal) -> None:
    tenant = terminal.auth0.program.default
    lifetimes = tenant.directory.lifetimes.model_copy(update={"device_interval": 1})
    tenant.replace_directory(replace(tenant.directory, lifetimes=lifetimes))
    async with terminal.noetl("auth", "login", "--browser", "--no-browser-open") as output:
        page = await sign_in(terminal, await output.until(r"(https://localhost:\d+/activate\?\S+)"))
        form = {"state": transaction_in(page), "action": "accept"}
        assert "Device connected" in (await terminal.browser.post(page.url.join("/u/consent"), data=form)).text
        await output.until("Gateway login successful")


async def test_the_command_line_signs_in_by_password(terminal: Terminal) -> None:
    async with terminal.noetl("auth", "login", "--auth0", EMAIL, "--password", typed="password") as output:
        await output.until("Gateway login successful")


async def test_the_command_line_signs_in_with_a_token(terminal: Terminal) -> None:
    token = terminal.auth0.program.default.mint({"user": EMAIL, "client_id": "noetl-cli"})["token"]
    async with terminal.noetl("auth", "login", "--auth0-token", token) as output:
        await output.until("Gateway login successful")
