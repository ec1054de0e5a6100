"""Active health checks: asks each url now and then, so that one that fails is left alone before a request finds out."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass

from proxy.observe.logs import get_logger
from proxy.upstream.balance import Endpoint

Probe = Callable[[Endpoint], Awaitable[str]]


@dataclass(frozen=True, slots=True)
class HealthSettings:
    """Times in seconds; `unhealthy_after` failures and `healthy_after` successes in a row change the verdict."""

    path: str
    interval: float
    timeout: float
    unhealthy_after: int
    healthy_after: int


class Tally:
    """The verdict on one endpoint. Pure."""

    __slots__ = ("_against", "_settings", "healthy")

    def __init__(self, settings: HealthSettings) -> None:
        self._settings = settings
        self._against = 0
        self.healthy = True

    def note(self, *, ok: bool) -> bool:
        """Note one answer; whether the verdict changed."""
        if ok == self.healthy:
            self._against = 0
            return False
        self._against += 1
        needed = self._settings.healthy_after if ok else self._settings.unhealthy_after
        if self._against < needed:
            return False
        self._against = 0
        self.healthy = ok
        return True


class HealthChecks:
    """Runs the checks of one upstream. `probe` gives the reason of a failure, or nothing."""

    def __init__(self, name: str, settings: HealthSettings, endpoints: Sequence[Endpoint], probe: Probe) -> None:
        self._name = name
        self._settings = settings
        self._probe = probe
        self._endpoints = endpoints
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Begin; the checks of many gateways are spread over the interval."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._watch(endpoint)) for endpoint in self._endpoints]

    async def _watch(self, endpoint: Endpoint) -> None:
        tally, every = Tally(self._settings), self._settings.interval
        while True:
            reason = await self._probe(endpoint)
            if not reason and endpoint.circuit is not None:
                endpoint.circuit.is_well(endpoint.pool.now())
            if tally.note(ok=not reason):
                endpoint.healthy = tally.healthy
                log = get_logger()
                if tally.healthy:
                    log.info("upstream.healthy", upstream=self._name, url=endpoint.pool.url)
                else:
                    log.warning("upstream.unhealthy", upstream=self._name, url=endpoint.pool.url, reason=reason)
            await asyncio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311 - jitter

    async def stop(self) -> None:
        """End."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
