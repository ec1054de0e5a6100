"""Server-sent events through the gateway: as they come, and no longer than their session."""

from __future__ import annotations

import asyncio

import pytest
from aiohttp import web

from tests.integration.harness import PATIENCE, Running, Upstream


async def ticks(request: web.BaseRequest) -> web.StreamResponse:
    """An event now and then, until the client leaves."""
    if request.path != "/api/events":
        return web.Response(text="ok")
    response = web.StreamResponse(headers={"content-type": "text/event-stream"})
    await response.prepare(request)
    while request.transport is not None and not request.transport.is_closing():
        await response.write(b"data: tick\n\n")
        await asyncio.sleep(0.02)
    return response


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
async def test_an_event_is_passed_on_before_the_next_one_is_there(
    gateway: Running, upstream: Upstream, warm: bool
) -> None:
    more = asyncio.Event()

    async def two(request: web.BaseRequest) -> web.StreamResponse:
        if request.path != "/api/events":
            return web.Response(text="ok")
        response = web.StreamResponse(headers={"content-type": "text/event-stream"})
        await response.prepare(request)
        await response.write(b"data: one\n\n")
        await more.wait()
        await response.write(b"data: two\n\n")
        return response

    upstream.answer = two
    headers = await gateway.bearer()
    if warm:
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    async with gateway.client.get(f"{gateway.url}/noetl/events", headers=headers) as stream:
        async with asyncio.timeout(PATIENCE):
            assert await stream.content.readuntil(b"\n\n") == b"data: one\n\n"
            more.set()
            assert await stream.content.read() == b"data: two\n\n"


@pytest.mark.parametrize("warm", [False, True], ids=["streaming path", "fast path"])
async def test_an_event_stream_ends_with_its_session(gateway: Running, upstream: Upstream, warm: bool) -> None:
    upstream.answer = ticks
    headers = await gateway.bearer()
    if warm:
        async with gateway.client.get(f"{gateway.url}/noetl/x", headers=headers):
            pass
    async with gateway.client.get(f"{gateway.url}/noetl/events", headers=headers) as stream:
        await stream.content.readuntil(b"\n\n")
        async with gateway.client.post(f"{gateway.url}/api/auth/logout", headers=headers) as out:
            assert out.status == 200
        async with asyncio.timeout(PATIENCE):
            rest = await stream.content.read()
    assert rest in (b"", b"data: tick\n\n" * rest.count(b"tick"))
    assert b"retry:" not in rest
    assert gateway.serving.process.drain.streams == 0
