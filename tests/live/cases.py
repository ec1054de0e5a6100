"""What becomes of results in each case: before, while and after a stream is open, over both transports."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from typing import Any

import pytest

from tests.integration.gateway.live_server import Executions, call_back, run
from tests.integration.harness import PATIENCE, Running
from tests.live.streams import Refused, Stream, stream_of

LARGE = 5 * 1024**2 - 300


@dataclass
class Case:
    """A gateway, the server behind it, the transport, and a signed-in user."""

    gateway: Running
    server: Executions
    transport: str
    headers: dict[str, str]

    def stream(self, client_id: str = "", last: str = "") -> Any:
        """Open a stream."""
        return stream_of(self.gateway, self.transport, self.headers, client_id, last)

    async def start(self, client_id: str) -> str:
        """Start the playbook, and return the id of the request."""
        found = await run(self.gateway, self.headers, client_id)
        return str(found["data"]["executePlaybook"]["requestId"])

    async def finish(self, request_id: str, data: Any) -> tuple[int, str]:
        """Call back with a result; return the status, and what the response says."""
        status, body = await call_back(self.gateway, request_id=request_id, data=data)
        return status, str(body.get("status") or body.get("error"))

    async def left(self, client_id: str) -> None:
        """Wait until the gateway knows that a client has no stream."""
        async with asyncio.timeout(PATIENCE):
            while await self.gateway.server.gateway.store.live.connected(client_id):  # noqa: ASYNC110 - no such event
                await asyncio.sleep(0.005)

    async def quiet(self, stream: Stream, client_id: str) -> None:
        """Check that nothing follows: the next result is one that was sent after all others."""
        request_id = await self.start(client_id)
        await self.finish(request_id, "the end")
        (found,) = await stream.results(1)
        assert found["data"] == "the end", found


Play = Callable[[Case], Awaitable[str]]
CASES: dict[str, Play] = {}


def case(name: str) -> Callable[[Play], Play]:
    """Make a function a case; it returns what the client saw."""

    def register(play: Play) -> Play:
        CASES[name] = play
        return play

    return register


@case("callback before the stream is open")
async def _(at: Case) -> str:
    request_id = await at.start("tab")
    assert await at.finish(request_id, 1) == (202, "queued")
    async with at.stream("tab") as stream:
        assert [each["data"] for each in await stream.results(1)] == [1]
        await at.quiet(stream, "tab")
    return "queued, delivered once"


@case("callback while the stream is open")
async def _(at: Case) -> str:
    async with at.stream() as stream:
        request_id = await at.start(stream.client_id)
        assert await at.finish(request_id, 1) == (200, "delivered")
        assert [each["data"] for each in await stream.results(1)] == [1]
        await at.quiet(stream, stream.client_id)
    return "delivered once"


@case("callback after the stream was closed")
async def _(at: Case) -> str:
    async with at.stream("tab"):
        request_id = await at.start("tab")
    await at.left("tab")
    assert await at.finish(request_id, 1) == (202, "queued")
    async with at.stream("tab") as stream:
        assert [each["data"] for each in await stream.results(1)] == [1]
        await at.quiet(stream, "tab")
    return "queued, delivered once"


@case("callback before the start has answered")
async def _(at: Case) -> str:
    at.server.may_start = asyncio.Event()
    async with at.stream("tab") as stream:
        starting = asyncio.ensure_future(at.start("tab"))
        async with asyncio.timeout(PATIENCE):
            while not at.server.started:  # noqa: ASYNC110 - no such event
                await asyncio.sleep(0.005)
        calling = asyncio.ensure_future(at.finish(at.server.started[0]["workload"]["request_id"], 1))
        at.server.may_start.set()
        await starting
        assert await calling == (200, "delivered")
        assert [each["data"] for each in await stream.results(1)] == [1]
    return "delivered once"


@case("reconnect without Last-Event-ID")
async def _(at: Case) -> str:
    async with at.stream("tab") as stream:
        await at.finish(await at.start("tab"), 1)
        await stream.results(1)
        await stream.settle()
    await at.left("tab")
    await at.finish(await at.start("tab"), 2)
    async with at.stream("tab") as stream:
        assert [each["data"] for each in await stream.results(1)] == [2]
        await at.quiet(stream, "tab")
    return "what was not sent before, once"


@case("reconnect with Last-Event-ID")
async def _(at: Case) -> str:
    async with at.stream("tab") as stream:
        ids = []
        for number in (1, 2):
            await at.finish(await at.start("tab"), number)
            await stream.results(1)
            ids.append(stream.last)
    await at.left("tab")
    last = ids[0] or str((await at.gateway.server.gateway.store.live.marks("tab"))[0] - 2)  # a state and a result
    async with at.stream("tab", last) as stream:
        assert [each["data"] for each in await stream.results(1)] == [2]
        await at.quiet(stream, "tab")
    return "all after that id, once"


@case("what was sent, but never arrived")
async def _(at: Case) -> str:
    last = ""
    async with at.stream("tab") as stream:
        await stream.next()
        last = stream.last
        await at.finish(await at.start("tab"), "x" * 1000)
        await asyncio.sleep(0.05)  # the gateway writes; nobody reads
        stream.cut()
    await at.left("tab")
    async with at.stream("tab", last) as stream:
        assert len((await stream.results(1))[0]["data"]) == 1000
        await at.quiet(stream, "tab")
    return "sent again, once"


@case("two streams of one client")
async def _(at: Case) -> str:
    async with at.stream("tab") as one, at.stream("tab") as two:
        await at.finish(await at.start("tab"), 1)
        for stream in (one, two):
            assert [each["data"] for each in await stream.results(1)] == [1]
    return "once to each"


@case("duplicate callbacks")
async def _(at: Case) -> str:
    async with at.stream("tab") as stream:
        request_id = await at.start("tab")
        answers = await asyncio.gather(*(at.finish(request_id, number) for number in range(5)))
        assert sorted(answers) == [(200, "delivered")] + [(200, "duplicate")] * 4
        await stream.results(1)
        await at.quiet(stream, "tab")
    return "the first one, once"


@case("unknown request")
async def _(at: Case) -> str:
    assert await at.finish("5b1e0f1c-0000-4000-8000-000000000000", 1) == (404, "Request not found")
    return "404"


@case("expired request")
async def _(at: Case) -> str:
    request_id = await at.start("tab")
    hub = at.gateway.serving.process.hub
    was, hub.settings = hub.settings, type(hub.settings)(request_lifetime=0.0, follow=False)
    try:
        assert await at.finish(request_id, 1) == (404, "Request not found")
    finally:
        hub.settings = was
    return "404"


@case("results of 64 KiB and 5 MiB")
async def _(at: Case) -> str:
    async with at.stream("tab") as stream:
        for size in (64 * 1024, LARGE):
            assert (await at.finish(await at.start("tab"), "x" * size))[0] == 200
            (found,) = await stream.results(1)
            assert len(found["data"]) == size
        assert (await at.finish(await at.start("tab"), "x" * (LARGE + 1000)))[0] == 413
    return "whole; larger: 413"


@case("a client that reads too slowly")
async def _(at: Case) -> str:
    hub = at.gateway.serving.process.hub
    was, hub.settings = hub.settings, type(hub.settings)(queue=4, follow=False)
    try:
        async with at.stream("tab") as stream:
            ids = [await at.start("tab") for _ in range(8)]
            for request_id in ids:
                await at.finish(request_id, "x" * 2_500_000)
            seen = [each["requestId"] for each in await stream.rest()]
            last = stream.last
        await at.left("tab")
        again = 0
        async with at.stream("tab", last) as stream:
            while len(set(seen)) < len(ids):
                (found,) = await stream.results(1)
                again += found["requestId"] in seen
                seen.append(found["requestId"])
        assert set(seen) == set(ids)
        assert at.transport == "ws" or not again, f"{again} twice"
    finally:
        hub.settings = was
    return "cut, resumed, nothing lost" + (", none twice" if at.transport == "events" else "")


@case("client id of another user")
async def _(at: Case) -> str:
    async with at.stream("tab"):
        other = {"authorization": f"Bearer {await at.gateway.session('otto@staff.test')}"}
        with pytest.raises(Refused, match="403"):
            async with stream_of(at.gateway, at.transport, other, "tab"):
                pass
        found = await run(at.gateway, other, "tab")
        assert found["errors"][0]["extensions"]["code"] == "FORBIDDEN"
    return "403, FORBIDDEN"


@case("session that ends while the stream is open")
async def _(at: Case) -> str:
    async with at.stream("tab") as stream:
        async with at.gateway.client.post(f"{at.gateway.url}/api/auth/logout", json={}, headers=at.headers) as response:
            assert response.status == 200
        assert await stream.rest() == []
    return "the stream ends at once"


@case("reload that changes live:")
async def _(at: Case) -> str:
    compiled = at.gateway.serving.current.gateway.compiled
    live = compiled.loaded.gateway.live.model_copy(update={"heartbeat": 0.05, "queue": 32})
    gateway = compiled.loaded.gateway.model_copy(update={"live": live})
    changed = replace(compiled, loaded=replace(compiled.loaded, gateway=gateway))
    async with at.stream("tab") as stream:
        request_id = await at.start("tab")
        assert await at.gateway.serving.reload(lambda: changed)
        assert await at.finish(request_id, 1) == (200, "delivered")
        assert [each["data"] for each in await stream.results(1)] == [1]
        for _ in range(3):
            assert (await stream.next())["method"] == "ping"
    return "the stream goes on with the new settings"
