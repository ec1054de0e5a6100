"""The clients of the run: they sign in and out, relay requests, and wait for results, at gateways taken by chance."""

from __future__ import annotations

import asyncio
import contextlib
import json
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass, field

import aiohttp

from tests.scaling.ledger import ACCEPTED_SECONDS, Ledger
from tests.scaling.noetl import Server

RUN = 'mutation Run($c: String) { executePlaybook(name: "my_playbook", clientId: $c) { executionId requestId status } }'
_PAUSE = 0.02
_MOST_ENDED = 0.5
"""The part of the sessions that is ended."""
_FAILED = (aiohttp.ClientError, TimeoutError, OSError)


@dataclass(slots=True)
class Clients:
    """All clients. `stop` lets them end.

    Args:
        gateways: the urls of the gateways.
        id_token: what users sign in with.
        ledger: the facts.
        server: the NoETL server.
        http: sends the requests.
    """

    gateways: Sequence[str]
    id_token: str
    ledger: Ledger
    server: Server
    http: aiohttp.ClientSession
    stop: bool = False
    _probes: set[asyncio.Task[None]] = field(default_factory=set)

    async def run(self, seconds: float, *, logins: int = 4, relays: int = 4, streams: int = 8) -> None:
        """Work for a time, with so many clients of each kind."""
        work: list[Callable[[], Awaitable[None]]] = [
            *[self._sign_in_and_out] * logins,
            *[self._relay] * relays,
            *[self._wait_for_results] * streams,
        ]
        tasks = [asyncio.ensure_future(each()) for each in work]
        ended, _ = await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
        self.stop = True
        for task in ended:
            raise AssertionError("a client ended") from task.exception()
        await self.server.finish()
        until = time.monotonic() + _SETTLE
        while self.ledger.missing and time.monotonic() < until:  # noqa: ASYNC110 - a ledger has no events
            await asyncio.sleep(0.1)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, *self._probes, return_exceptions=True)

    async def status(self, token: str, gateway: str | None = None) -> int:
        """Return the status of a relayed request; 0 without a response."""
        headers = {"authorization": f"Bearer {token}"}
        try:
            async with self.http.get(
                f"{gateway or random.choice(self.gateways)}/noetl/health", headers=headers
            ) as response:
                await response.read()
                return response.status
        except _FAILED:
            return 0

    async def log_in(self) -> str | None:
        """Sign in, and return the token; None without an answer."""
        url = f"{random.choice(self.gateways)}/api/auth/login"
        try:
            async with self.http.post(url, json={"auth0_token": self.id_token}) as response:
                if response.status != 200:
                    return None
                token = str((await response.json())["session_token"])
        except _FAILED:
            return None
        self.ledger.alive.add(token)
        return token

    async def _sign_in_and_out(self) -> None:
        mine: list[str] = []
        while not self.stop:
            await asyncio.sleep(_PAUSE * random.uniform(1, 3))
            token = await self.log_in()
            if token is not None:
                mine.append(token)
                for gateway in self.gateways:  # each of them caches it
                    self.ledger.used_alive(token, await self.status(token, gateway))
            if mine and random.random() < _MOST_ENDED:
                await self._log_out(mine.pop(random.randrange(len(mine))))

    async def _log_out(self, token: str) -> None:
        self.ledger.alive.discard(token)  # from now on it is not sure
        headers = {"authorization": f"Bearer {token}"}
        try:
            async with self.http.post(f"{random.choice(self.gateways)}/api/auth/logout", headers=headers) as response:
                await response.read()
                if response.status != 200:
                    return
        except _FAILED:
            return
        self.ledger.ended[token] = time.monotonic()
        for gateway in self.gateways:
            probe = asyncio.ensure_future(self._probe(token, gateway))
            self._probes.add(probe)
            probe.add_done_callback(self._probes.discard)

    async def _probe(self, token: str, gateway: str) -> None:
        """Use a session that has ended, until long after that."""
        end = time.monotonic() + 3 * ACCEPTED_SECONDS
        while time.monotonic() < end:
            sent_at = time.monotonic()
            self.ledger.used_ended(token, await self.status(token, gateway), sent_at)
            await asyncio.sleep(0.02 if sent_at < end - 2 * ACCEPTED_SECONDS else 0.3)

    async def _relay(self) -> None:
        while not self.stop:
            await asyncio.sleep(_PAUSE / 4)
            if self.ledger.alive:
                token = random.choice(tuple(self.ledger.alive))
                self.ledger.used_alive(token, await self.status(token))
            if self.ledger.ended:
                token = random.choice(tuple(self.ledger.ended))
                sent_at = time.monotonic()
                self.ledger.used_ended(token, await self.status(token), sent_at)

    # Results

    async def _wait_for_results(self) -> None:
        token = None
        while token is None:
            token = await self.log_in()
            await asyncio.sleep(_PAUSE)
        stream = Stream(self, {"authorization": f"Bearer {token}"})
        reading = asyncio.ensure_future(stream.read())
        try:
            while True:
                await asyncio.sleep(random.uniform(0.1, 0.5))
                if stream.client_id and not self.stop:
                    await self._start(stream)
        finally:
            reading.cancel()
            await asyncio.gather(reading, return_exceptions=True)

    async def _start(self, stream: Stream) -> None:
        document = {"query": RUN, "variables": {"c": stream.client_id}}
        url = f"{random.choice(self.gateways)}/graphql"
        try:
            async with self.http.post(url, json=document, headers=stream.headers) as response:
                found = ((await response.json()).get("data") or {}).get("executePlaybook")
        except _FAILED:
            return
        if found:
            execution = self.server.executions[found["executionId"]]
            if not execution.calls_back:
                self.ledger.followed.add(found["requestId"])


_SETTLE = 75.0
"""How long results may take after the load has ended, in seconds: a follower that was killed is replaced in 25 s."""


@dataclass(slots=True)
class Stream:
    """An event stream that is opened again, at any gateway, whenever it ends."""

    clients: Clients
    headers: dict[str, str]
    client_id: str = ""
    position: str = ""

    async def read(self) -> None:
        """Read, until cancelled."""
        while True:
            with contextlib.suppress(*_FAILED):
                await self._read()
            await asyncio.sleep(random.uniform(0.05, 0.3))

    async def _read(self) -> None:
        url = f"{random.choice(self.clients.gateways)}/events"
        headers = self.headers | ({"last-event-id": self.position} if self.position else {})
        query = {"client_id": self.client_id} if self.client_id else {}
        timeout = aiohttp.ClientTimeout(total=None, sock_connect=5, sock_read=60)
        async with self.clients.http.get(url, headers=headers, params=query, timeout=timeout) as response:
            if response.status != 200:
                return
            while not response.content.at_eof():
                text = (await response.content.readuntil(b"\n\n")).decode()
                fields = dict(line.split(": ", 1) for line in text.strip().splitlines() if ": " in line)
                self._event(fields)

    def _event(self, fields: dict[str, str]) -> None:
        self.position = fields.get("id", self.position)
        if fields.get("event") == "message":
            self.client_id = json.loads(fields["data"])["result"]["clientId"]
        elif fields.get("event") == "playbook/result":
            self.clients.ledger.seen[json.loads(fields["data"])["params"]["requestId"]] += 1
