"""Chromium without a window, driven by the Chrome DevTools Protocol: pages, scripts, clicks and screenshots."""

from __future__ import annotations

import asyncio
import base64
import itertools
import json
import shutil
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import aiohttp
import pytest

PATIENCE = 30.0
POLL = 0.02


class ScriptError(Exception):
    """A script in the page has failed."""


@dataclass(slots=True)
class Page:
    """A page of the browser; `targets` is the address that lists all of them."""

    http: aiohttp.ClientSession
    targets: str
    socket: aiohttp.ClientWebSocketResponse
    _numbers: itertools.count[int] = field(default_factory=itertools.count)

    async def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        """Send a command and return its result; events in between are dropped."""
        number = next(self._numbers)
        await self.socket.send_json({"id": number, "method": method, "params": parameters})
        async with asyncio.timeout(PATIENCE):
            while True:
                message = json.loads(await self.socket.receive_str())
                if message.get("id") == number:
                    assert "error" not in message, message
                    result: dict[str, Any] = message["result"]
                    return result

    async def run(self, script: str) -> Any:
        """Return the value of a script, awaited. Raises ScriptError."""
        found = await self.command(
            "Runtime.evaluate", expression=script, awaitPromise=True, returnByValue=True, userGesture=True
        )
        if "exceptionDetails" in found:
            raise ScriptError(json.dumps(found["exceptionDetails"])[:2000])
        return found["result"].get("value")

    async def until(self, condition: str) -> None:
        """Wait until a script has a true value, also across navigations; fail after a deadline."""
        last: object = None
        try:
            async with asyncio.timeout(PATIENCE):
                while True:
                    try:
                        if last := await self.run(condition):
                            return
                    except (ScriptError, AssertionError) as error:
                        last = error  # between two pages
                    await asyncio.sleep(POLL)
        except TimeoutError:
            text = await self.run("location.href + ' ' + (document.body?.innerText ?? '').slice(0, 500)")
            raise AssertionError(f"not in time: {condition}: {last}; the page: {text}") from None

    async def open(self, url: str, ready: str = "document.readyState === 'complete'") -> None:
        """Open a url, and wait until the page is ready."""
        await self.command("Page.navigate", url=url)
        await self.until(f"location.href !== 'about:blank' && ({ready})")

    async def click(self, selector: str) -> None:
        """Wait for an element, and click it."""
        found = f"document.querySelector({json.dumps(selector)})"
        await self.until(f"!!{found}")
        await self.run(f"{found}.click()")

    @asynccontextmanager
    async def popup(self, beginning: str) -> AsyncIterator[Page]:
        """Wait for another page whose url begins like this, and yield it."""
        async with asyncio.timeout(PATIENCE):
            address = await self._address(beginning)
        async with self.http.ws_connect(address, max_msg_size=0) as socket:
            yield Page(self.http, self.targets, socket)

    async def _address(self, beginning: str) -> str:
        while True:
            async with self.http.get(self.targets) as response:
                for target in await response.json():
                    if target["type"] == "page" and target["url"].startswith(beginning):
                        return str(target["webSocketDebuggerUrl"])
            await asyncio.sleep(POLL)

    async def look(self, *, width: int, height: int = 900, dark: bool = False) -> None:
        """Set the size of the page, and its colours."""
        size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": width < 500}
        await self.command("Emulation.setDeviceMetricsOverride", **size)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        await self.command("Emulation.setEmulatedMedia", features=[scheme])

    async def screenshot(self, file: Path) -> None:
        """Write a picture of the page, as PNG."""
        found = await self.command("Page.captureScreenshot", format="png")
        await asyncio.to_thread(file.write_bytes, base64.b64decode(found["data"]))


@asynccontextmanager
async def chromium_page(folder: Path, *options: str) -> AsyncIterator[Page]:
    """A page in a new browser, whose profile is in a folder; skips the test where Chromium is not installed."""
    program = shutil.which("chromium")
    if program is None:
        pytest.skip("Chromium is not installed: apt-get install chromium")
    browser = await asyncio.create_subprocess_exec(
        program, "--headless=new", "--no-sandbox", "--disable-gpu", "--disable-dev-shm-usage", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--no-proxy-server",
        f"--user-data-dir={folder}", "--remote-debugging-port=0", *options, "about:blank",
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    try:
        async with aiohttp.ClientSession() as http:
            targets = f"http://127.0.0.1:{await _port(folder)}/json/list"
            async with http.get(targets) as response:
                listed = await response.json()
            address = next(target["webSocketDebuggerUrl"] for target in listed if target["type"] == "page")
            async with http.ws_connect(address, max_msg_size=0) as socket:
                yield Page(http, targets, socket)
    finally:
        with suppress(ProcessLookupError):
            browser.terminate()
        async with asyncio.timeout(PATIENCE):
            await browser.wait()


async def _port(folder: Path) -> int:
    """Return the port of the protocol, which the browser writes to a file."""
    file = folder / "DevToolsActivePort"
    async with asyncio.timeout(PATIENCE):
        while True:
            lines = file.read_text().splitlines() if file.exists() else []
            if len(lines) >= 2:
                return int(lines[0])
            await asyncio.sleep(POLL)
