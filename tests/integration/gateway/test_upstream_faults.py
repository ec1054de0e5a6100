"""An upstream that misbehaves in every way: the documented status, no hang, no connection leaked, nothing sent twice
that may have been acted on. Each fault meets the streaming path first, and the fast path on a kept connection."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import aiohttp
import pytest

from tests.integration.harness import PATIENCE, Running, behind_gateway, eventually

Stream = tuple[asyncio.StreamReader, asyncio.StreamWriter]
Fault = Callable[[asyncio.StreamReader, asyncio.StreamWriter], Awaitable[None]]
OK = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"
LIMITS = "connect_timeout: 500ms, response_timeout: 200ms, idle_timeout: 200ms"


@dataclass
class Rogue:
    """A server on bare sockets. It answers `/noetl/fine` well, and all else with `fault`."""

    fault: Fault | None = None
    port: int = 0
    requests: list[bytes] = field(default_factory=list)
    writers: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One connection."""
        self.writers.append(writer)
        try:
            while head := await reader.readuntil(b"\r\n\r\n"):
                self.requests.append(head.split(b"\r\n")[0])
                if b"/api/fine " in head:
                    writer.write(OK)
                else:
                    assert self.fault is not None
                    await self.fault(reader, writer)
        except (asyncio.IncompleteReadError, ConnectionError):
            pass
        finally:
            writer.close()


@asynccontextmanager
async def rogue_behind(folder: Path, fault: Fault, limits: str = LIMITS) -> AsyncIterator[tuple[Running, Rogue]]:
    """A gateway before a rogue."""
    rogue = Rogue(fault)
    server = await asyncio.start_server(rogue.serve, "127.0.0.1", 0)
    rogue.port = server.sockets[0].getsockname()[1]
    more = f"upstreams: {{noetl: {{urls: ['http://127.0.0.1:{rogue.port}'], {limits}}}}}\n"
    try:
        async with behind_gateway(folder, more=more) as (gateway, _):
            yield gateway, rogue
    finally:
        server.close()
        for writer in rogue.writers:
            writer.close()
        await server.wait_closed()


async def ask(gateway: Running, path: str, headers: dict[str, str], method: str = "GET", **more: object) -> int:
    """The status; -1 where the answer was cut off, so that nobody takes it for whole."""
    try:
        async with gateway.client.request(method, gateway.url + path, headers=headers, **more) as answer:  # type: ignore[arg-type]
            await answer.read()
            return answer.status
    except aiohttp.ClientError:
        return -1


async def reset(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.transport.abort()


async def half_a_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-le")
    await writer.drain()
    writer.close()


async def half_a_body(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")
    await writer.drain()
    writer.close()


async def half_a_chunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n4\r\npart\r\n")
    await writer.drain()
    writer.close()


async def silence(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    await reader.read()


async def silence_after_the_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\npart")
    await reader.read()


async def trickle(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """A head that never ends, byte by byte."""
    writer.write(b"HTTP/1.1 200 OK\r\nx: ")
    while True:
        writer.write(b"a")
        await writer.drain()
        await asyncio.sleep(0.02)


async def garbage(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"\x16\x03\x01\x02\x00\x01\x00 SSH-2.0\r\n\r\n")


async def huge_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\n" + b"".join(b"x-%d: %s\r\n" % (i, b"a" * 1000) for i in range(250)) + b"\r\n")


async def endless_field(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\nx: " + b"a" * 300_000)
    await reader.read()


async def two_lengths(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\nokk")


async def length_and_chunks(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n")


async def interim_flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 103 Early Hints\r\n\r\n" * 50 + OK)


async def an_upgrade_nobody_asked_for(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\nconnection: upgrade\r\n\r\n")


async def broken_chunk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nzz\r\nok\r\n")


FAULTS = [
    (reset, {502}),
    (half_a_head, {502}),
    (half_a_body, {-1}),
    (half_a_chunk, {-1}),
    (silence, {504}),
    (silence_after_the_head, {-1}),
    (trickle, {504}),
    (garbage, {502}),
    (huge_head, {502}),
    (endless_field, {502}),
    (two_lengths, {502, -1}),
    (length_and_chunks, {502, -1}),
    (interim_flood, {502}),
    (an_upgrade_nobody_asked_for, {502}),
    (broken_chunk, {502, -1}),
]


@pytest.mark.parametrize("kept", [False, True], ids=["fresh connection", "kept connection"])
@pytest.mark.parametrize(("fault", "statuses"), FAULTS, ids=lambda value: getattr(value, "__name__", ""))
async def test_a_fault_has_its_status_and_leaks_no_connection(
    tmp_path: Path, fault: Fault, statuses: set[int], kept: bool
) -> None:
    async with rogue_behind(tmp_path, fault) as (gateway, _):
        headers = await gateway.bearer()
        if kept:
            assert await ask(gateway, "/noetl/fine", headers) == 200
        assert await ask(gateway, "/noetl/bad", headers) in statuses
        pool = gateway.server.gateway.upstreams["noetl"].pool
        await eventually(lambda: pool.busy == 0)
        assert await ask(gateway, "/noetl/fine", headers) == 200


@pytest.mark.parametrize("fault", [reset, half_a_head, silence, garbage], ids=lambda fault: fault.__name__)
async def test_what_the_upstream_may_have_acted_on_is_sent_once(tmp_path: Path, fault: Fault) -> None:
    async with rogue_behind(tmp_path, fault) as (gateway, rogue):
        headers = await gateway.bearer()
        assert await ask(gateway, "/noetl/fine", headers) == 200
        assert await ask(gateway, "/noetl/bad", headers, "POST", data=b"x") in (502, 504)
        assert [r for r in rogue.requests if r.startswith(b"POST")] == [b"POST /api/bad HTTP/1.1"]


async def test_a_connection_that_died_while_idle_is_not_noticed_by_a_get(tmp_path: Path) -> None:
    """It was closed as the request went out: nothing came back, so a safe request goes out again."""

    async def once(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if len(rogue.requests) == 2:
            writer.transport.abort()
        else:
            writer.write(OK)

    async with rogue_behind(tmp_path, once) as (gateway, rogue):
        headers = await gateway.bearer()
        assert await ask(gateway, "/noetl/fine", headers) == 200
        assert await ask(gateway, "/noetl/other", headers) == 200
        assert rogue.requests.count(b"GET /api/other HTTP/1.1") == 2


async def test_connections_that_the_upstream_closes_while_idle_leave_the_pool(tmp_path: Path) -> None:
    async with rogue_behind(tmp_path, reset) as (gateway, rogue):
        headers = await gateway.bearer()
        assert await ask(gateway, "/noetl/fine", headers) == 200
        for writer in rogue.writers:
            writer.close()
        await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.size == 0)
        assert await ask(gateway, "/noetl/fine", headers, "POST", data=b"x") == 200


async def test_an_answer_before_the_body_was_read_is_passed_on(tmp_path: Path) -> None:
    async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 413 Too Large\r\ncontent-length: 0\r\nconnection: close\r\n\r\n")
        await writer.drain()
        await reader.read(1000)
        writer.close()

    async def upload() -> AsyncIterator[bytes]:
        for _ in range(50):
            yield b"x" * 10_000

    async with rogue_behind(tmp_path, refuse) as (gateway, _):
        assert await ask(gateway, "/noetl/bad", await gateway.bearer(), "POST", data=upload()) in (413, -1)
        await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.busy == 0)


async def test_interim_answers_are_not_taken_for_the_answer(tmp_path: Path) -> None:
    async def hints(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 103 Early Hints\r\nlink: </x>\r\n\r\n" + OK)

    async with rogue_behind(tmp_path, hints) as (gateway, _):
        assert await ask(gateway, "/noetl/bad", await gateway.bearer()) == 200


async def test_trailers_end_a_chunked_answer(tmp_path: Path) -> None:
    async def trailers(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\nok\r\n0\r\nx-sum: 1\r\n\r\n")

    async with rogue_behind(tmp_path, trailers) as (gateway, rogue):
        headers = await gateway.bearer()
        for _ in range(2):
            async with gateway.client.get(f"{gateway.url}/noetl/bad", headers=headers) as answer:
                assert (await answer.read(), "x-sum" in answer.headers) == (b"ok", False)
        assert len(rogue.writers) == 1


async def test_an_answer_that_ends_with_its_connection_is_whole(tmp_path: Path) -> None:
    async def until_closed(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.0 200 OK\r\n\r\nall of it")
        await writer.drain()
        writer.close()

    async with rogue_behind(tmp_path, until_closed) as (gateway, _):
        headers = await gateway.bearer()
        for _ in range(2):
            async with gateway.client.get(f"{gateway.url}/noetl/bad", headers=headers) as answer:
                assert await answer.read() == b"all of it"


async def test_bytes_after_an_answer_are_never_the_next_ones_answer(tmp_path: Path) -> None:
    async def more_than_asked(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(OK + b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")

    async with rogue_behind(tmp_path, more_than_asked) as (gateway, _):
        headers = await gateway.bearer()
        for path in ("/noetl/bad", "/noetl/fine", "/noetl/bad", "/noetl/fine"):
            async with gateway.client.get(gateway.url + path, headers=headers) as answer:
                assert await answer.read() == b"ok"


async def test_a_head_answer_with_a_body_does_not_spoil_the_connection(tmp_path: Path) -> None:
    async def body_to_head(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nforged")

    async with rogue_behind(tmp_path, body_to_head) as (gateway, _):
        headers = await gateway.bearer()
        for _ in range(2):
            assert await ask(gateway, "/noetl/bad", headers, "HEAD") == 200
            async with gateway.client.get(f"{gateway.url}/noetl/fine", headers=headers) as answer:
                assert await answer.read() == b"ok"


@pytest.mark.gateway(more="upstreams: {noetl: {urls: ['http://no-such-host.invalid:1'], connect_timeout: 2s}}\n")
async def test_a_name_that_does_not_resolve_is_502(gateway: Running) -> None:
    assert await ask(gateway, "/noetl/x", await gateway.bearer()) == 502


async def test_a_client_that_does_not_read_holds_the_upstream_back(tmp_path: Path) -> None:
    """Memory does not grow with what a slow reader leaves lying."""
    sent = 0

    async def flood(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal sent
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 1000000000\r\n\r\n")
        while True:
            writer.write(b"x" * 65536)
            await writer.drain()
            sent += 65536

    async with rogue_behind(tmp_path, flood, "idle_timeout: 10s") as (gateway, _):
        headers = await gateway.bearer()
        for path in ("/noetl/fine", "/noetl/bad"):
            token = headers["authorization"]
            reader, writer = await asyncio.open_connection("127.0.0.1", gateway.port, limit=4096)
            writer.write(f"GET {path} HTTP/1.1\r\nhost: a\r\nauthorization: {token}\r\n\r\n".encode())
            if path == "/noetl/bad":
                before = -1
                async with asyncio.timeout(PATIENCE):
                    while before != sent or not sent:
                        before = sent
                        await asyncio.sleep(0.1)
                assert sent < 32 * 1024 * 1024
            else:
                await reader.readuntil(b"ok")
            writer.transport.abort()
        await eventually(lambda: gateway.server.gateway.upstreams["noetl"].pool.busy == 0)
