"""Large bodies through the gateway, both ways: intact, and with little memory."""

from __future__ import annotations

import hashlib
import random
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from tests.integration.spawned import Spawned, gateway_process

MIB, SIZE, GROWTH = 2**20, 256, 20
NOISE = random.Random(7).randbytes(MIB - 8)


def blocks() -> Iterator[bytes]:
    """A body in which every MiB differs, so that a lost, doubled or misplaced one changes the hash."""
    return (number.to_bytes(8, "big") + NOISE for number in range(SIZE))


async def hashed(pieces: AsyncIterator[bytes]) -> str:
    digest = hashlib.sha256()
    async for piece in pieces:
        digest.update(piece)
    return digest.hexdigest()


async def serve(request: web.BaseRequest) -> web.StreamResponse:
    """The upstream's answer: the large body, or the framing and the hash of the one received."""
    if request.method == "POST":
        framing = request.headers.get("transfer-encoding")
        return web.Response(text=f"{framing} {await hashed(request.content.iter_any())}")
    response = web.StreamResponse()
    response.content_length = SIZE * MIB
    await response.prepare(request)
    for block in blocks():
        await response.write(block)
    return response


async def download(client: aiohttp.ClientSession, url: str) -> str:
    async with client.get(url) as response:
        return f"{response.content_length} {await hashed(response.content.iter_any())}"


async def upload(client: aiohttp.ClientSession, url: str) -> str:
    async def body() -> AsyncIterator[bytes]:
        for block in blocks():
            yield block

    async with client.post(url, data=body()) as response:
        return await response.text()


def memory(gateway: Spawned, name: str) -> float:
    """A figure of the gateway's memory in MiB (proc(5), /proc/pid/status)."""
    lines = Path(f"/proc/{gateway.pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith(f"{name}:"))


def reset_peak(gateway: Spawned) -> None:
    """Make the kernel record the peak of memory (VmHWM) from now on (proc(5))."""
    Path(f"/proc/{gateway.pid}/clear_refs").write_text("5")


@pytest.mark.slow
async def test_large_bodies_arrive_intact_with_little_memory(tmp_path: Path, show: Callable[[str], None]) -> None:
    expected = hashlib.sha256(b"".join(blocks())).hexdigest()
    async with (
        gateway_process(tmp_path, server="limits: {max_body_size: 1GiB}") as gateway,
        aiohttp.ClientSession(headers=gateway.bearer) as client,
    ):
        gateway.upstream.answer = serve
        for transfer, result in ((download, f"{SIZE * MIB} {expected}"), (upload, f"chunked {expected}")):
            before = memory(gateway, "VmRSS")
            reset_peak(gateway)
            assert await transfer(client, f"{gateway.url}/noetl/bulk") == result
            growth = memory(gateway, "VmHWM") - before
            show(f"{transfer.__name__} of {SIZE} MiB: the gateway's memory grew by {growth:.1f} MiB at most")
            assert growth < GROWTH
