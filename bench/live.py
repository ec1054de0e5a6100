"""Many open event streams in one worker: memory, latency of events, a broadcast, CPU while nothing happens.

    python -m bench.live --streams 10000

The streams are in this process, on another core than the gateway. Latencies count from the moment at which the callback
of a worker is sent, to the arrival of the result in the stream.
"""

from __future__ import annotations

import argparse
import asyncio
import random
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import httpx
import uvloop

from bench.contenders import testbed
from bench.idle import allow_files
from bench.programs import BenchError, Program, print_report, two_cores

STREAMS_OF_USER = 100
"""How many clients one user has: as many as the gateway allows."""
_BATCH, _SAMPLES, _PATIENCE = 200, 500, 30.0
_RUN = 'mutation ($c: String) { executePlaybook(name: "data_pipeline/transform_data", clientId: $c) { requestId } }'
_RESULT, _PING, _FAREWELL = b"event: playbook/result", b"event: ping", b"retry:"


class EventStream(asyncio.Protocol):
    """One open stream, which notes when something arrives."""

    def __init__(self, request: bytes) -> None:
        self._request = request
        self.opened: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self.result: asyncio.Future[float] | None = None
        self.farewell = 0.0
        self.pings = 0
        self.closed = False
        self.transport: asyncio.Transport | None = None

    def connection_made(self, transport: Any) -> None:
        self.transport = transport
        transport.write(self._request)

    def data_received(self, data: bytes) -> None:
        now = time.perf_counter()
        if not self.opened.done():
            if b"HTTP/1.1 200" in data:
                self.opened.set_result(None)
            else:
                self.opened.set_exception(BenchError(f"a stream was refused: {data[:100]!r}"))
        self.pings += data.count(_PING)
        if self.result is not None and not self.result.done() and _RESULT in data:
            self.result.set_result(now)
        if _FAREWELL in data:
            self.farewell = now

    def connection_lost(self, error: Exception | None) -> None:
        self.closed = True


@dataclass
class Streams:
    """The open streams of a gateway."""

    gateway: Program
    tokens: Sequence[str]
    http: httpx.AsyncClient
    open: list[EventStream] = field(default_factory=list)
    clients: list[str] = field(default_factory=list)

    def token(self, number: int) -> str:
        """Return the token of the user of a stream."""
        return self.tokens[(number // STREAMS_OF_USER) % len(self.tokens)]

    async def open_all(self, count: int, streams_of_client: int = 1) -> None:
        """Open streams, some hundred at a time."""
        for begin in range(0, count, _BATCH):
            numbers = range(begin, min(begin + _BATCH, count))
            await asyncio.gather(*(self._open(number, streams_of_client) for number in numbers))

    async def _open(self, number: int, streams_of_client: int) -> None:
        owner = number - number % streams_of_client
        client = f"c{streams_of_client}-{owner}"
        head = f"GET /events?client_id={client} HTTP/1.1\r\nhost: localhost\r\n"
        request = f"{head}authorization: Bearer {self.token(owner // streams_of_client)}\r\n\r\n".encode()
        loop = asyncio.get_running_loop()
        _, stream = await loop.create_connection(lambda: EventStream(request), "127.0.0.1", self.gateway.port)
        self.open.append(stream)
        self.clients.append(client)
        async with asyncio.timeout(_PATIENCE):
            await stream.opened

    async def start(self, client: str, token: str) -> str:
        """Start a playbook for a client, and return the id of the request."""
        body = {"query": _RUN, "variables": {"c": client}}
        headers = {"authorization": f"Bearer {token}"}
        response = await self.http.post("/graphql", json=body, headers=headers)
        return str(response.json()["data"]["executePlaybook"]["requestId"])

    async def call_back(self, request_id: str) -> None:
        """Send the result of a request."""
        response = await self.http.post(
            "/api/internal/callback/async", json={"request_id": request_id, "data": {"n": 1}}
        )
        if response.status_code != 200:
            raise BenchError(f"a callback was refused: {response.text[:100]}")

    def close(self) -> None:
        """Close all streams."""
        for stream in self.open:
            if stream.transport is not None:
                stream.transport.abort()
        self.open, self.clients = [], []


async def latencies(streams: Streams, samples: int) -> list[float]:
    """Return how long results take to reach random streams, in milliseconds, sorted."""
    loop, found = asyncio.get_running_loop(), []
    for _ in range(samples):
        place = random.randrange(len(streams.open))
        request_id = await streams.start(streams.clients[place], streams.token(place))
        stream = streams.open[place]
        stream.result = loop.create_future()
        sent = time.perf_counter()
        await streams.call_back(request_id)
        async with asyncio.timeout(_PATIENCE):
            found.append(1000 * (await stream.result - sent))
        stream.result = None
    return sorted(found)


async def broadcast(streams: Streams, clients: int, streams_of_client: int) -> float:
    """Return the seconds in which results for some clients reach all of their streams."""
    loop = asyncio.get_running_loop()
    await streams.open_all(clients * streams_of_client, streams_of_client)
    ids = [
        await streams.start(f"c{streams_of_client}-{number * streams_of_client}", streams.token(number))
        for number in range(clients)
    ]
    for stream in streams.open:
        stream.result = loop.create_future()
    began = time.perf_counter()
    await asyncio.gather(*map(streams.call_back, ids))
    async with asyncio.timeout(_PATIENCE):
        return max([await stream.result for stream in streams.open if stream.result is not None]) - began


async def measure(gateway: Program, tokens: Sequence[str], count: int, idle: float) -> list[str]:
    """Measure, and return the lines of the report."""
    async with httpx.AsyncClient(base_url=gateway.url, timeout=_PATIENCE, trust_env=False) as http:
        streams = Streams(gateway, tokens, http)
        await streams.open_all(200)
        await latencies(streams, 100)
        streams.close()
        await asyncio.sleep(2)
        before = gateway.memory()
        await streams.open_all(count)
        await asyncio.sleep(2)
        each = (gateway.memory() - before) / count
        pings, cpu, began = sum(s.pings for s in streams.open), gateway.cpu_seconds(), time.perf_counter()
        await asyncio.sleep(idle)
        share = (gateway.cpu_seconds() - cpu) / (time.perf_counter() - began)
        pings = sum(s.pings for s in streams.open) - pings
        delays = await latencies(streams, _SAMPLES)
        lost = sum(stream.closed for stream in streams.open)
        streams.close()
        await asyncio.sleep(2)
        spread = await broadcast(streams, 100, count // 100)
        began = time.perf_counter()
        await asyncio.to_thread(gateway.stop)
        last = max(stream.farewell for stream in streams.open) - began
        missed = sum(not stream.farewell for stream in streams.open)
    p50, p99 = delays[len(delays) // 2], delays[int(len(delays) * 0.99)]
    return [
        f"streams                        {count}, {lost} lost",
        f"memory of each                 {each / 1024:.1f} KiB",
        f"a result to one of them        {p50:.1f} ms (median), {p99:.1f} ms (p99) of {_SAMPLES}",
        f"100 results to 100 streams each {spread:.2f} s until the last stream had it",
        f"the end of the gateway         {last:.2f} s until the last stream knew when to come back; {missed} did not",
        f"CPU while nothing happens      {100 * share:.1f} % of a core, with {pings} pings in {idle:g} s",
    ]


def main() -> int:
    """Start a gateway, measure, and print the report."""
    parser = argparse.ArgumentParser(
        prog="python -m bench.live", description=__doc__.splitlines()[0] if __doc__ else ""
    )
    parser.add_argument("--streams", type=int, default=10_000)
    parser.add_argument("--idle", type=float, default=60.0, help="seconds of the measurement without events")
    options = parser.parse_args()
    allow_files(options.streams + 1000)
    core, other = two_cores()
    blocks: dict[str, dict[str, Any]] = {
        "server": {"limits": {"max_connections": options.streams + 1000}},
        "live": {"follow": False, "heartbeat": "30s"},
    }

    def report() -> list[str]:
        with testbed(core, other) as running:
            gateway = running.gateway(blocks)
            return uvloop.run(measure(gateway, running.who.tokens, options.streams, options.idle))

    return print_report(report)


if __name__ == "__main__":
    sys.exit(main())
