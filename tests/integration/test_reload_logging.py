"""A reload changes what is logged and how, also of requests; on real processes."""

from __future__ import annotations

import asyncio
import signal
from pathlib import Path

import aiohttp
import pytest

from tests.integration.harness import PATIENCE, eventually
from tests.integration.spawned import Spawned, gateway_process

alone_and_several = pytest.mark.parametrize("workers", [1, 2], ids=["alone", "two workers"])


def log_as(gateway: Spawned, logging: str, more: str = "") -> None:
    """Have the gateway read its configuration with another block of `logging`."""
    before, _, _ = gateway.base.rpartition("logging: ")
    gateway.base = f"{before}logging: {{{logging}}}\n"
    gateway.rewrite(more)
    gateway.signal(signal.SIGHUP)


async def ask(gateway: Spawned, path: str, times: int = 1) -> int:
    """Ask for a path, each time on a new connection; returns the last status."""
    status = 0
    for _ in range(times):
        async with aiohttp.ClientSession() as client, client.get(gateway.url + path) as answer:
            status = answer.status
    return status


def lines(gateway: Spawned, word: str) -> list[str]:
    """The lines that hold a word."""
    return [line for line in gateway.program.log.read_text().splitlines() if word in line]


@alone_and_several
async def test_a_lower_level_takes_effect_with_a_reload(tmp_path: Path, workers: int) -> None:
    quiet = "logging: {format: json, level: warning}\n"
    async with gateway_process(tmp_path, server=f"workers: {workers}", logging=quiet) as gateway:
        await ask(gateway, "/before")
        log_as(gateway, "format: json, level: info")
        await gateway.logged("reload.done", workers)
        await ask(gateway, "/after", times=8)
        await eventually(lambda: len(lines(gateway, "/after")) == 8)
        assert lines(gateway, "/before") == []
        assert len(gateway.events("reload.checked")) == (workers > 1)


@alone_and_several
async def test_another_format_takes_effect_with_a_reload(tmp_path: Path, workers: int) -> None:
    async with gateway_process(tmp_path, server=f"workers: {workers}") as gateway:
        log_as(gateway, "format: console")
        await eventually(lambda: len(lines(gateway, "reload.done")) == workers)
        await ask(gateway, "/after", times=8)
        await eventually(lambda: len(lines(gateway, "/after")) == 8)
        seen = [*lines(gateway, "reload."), *lines(gateway, "/after")]
        assert [line for line in seen if line.startswith("{")] == []


async def test_a_higher_level_takes_effect_with_a_reload(tmp_path: Path) -> None:
    more = "routes: [{path: /new, handler: health}]\n"
    async with gateway_process(tmp_path) as gateway:
        log_as(gateway, "format: json, level: error", more)
        async with asyncio.timeout(PATIENCE):
            while await ask(gateway, "/new") == 404:
                pass
        await ask(gateway, "/quiet")
        log_as(gateway, "format: json", more)
        await gateway.logged("reload.done")
        await ask(gateway, "/loud")
        await eventually(lambda: len(lines(gateway, "/loud")) == 1)
        assert lines(gateway, "/quiet") == []
