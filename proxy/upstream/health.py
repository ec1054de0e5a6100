"""Active health checks: probe each url periodically, so that a failing url is excluded before a request fails."""

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
    """The settings of health checks.

    Args:
        path: the path of the probe.
        interval: the time between probes, in seconds.
        timeout: the maximum duration of a probe, in seconds.
        unhealthy_after: the number of consecutive failures that make a url unhealthy.
        healthy_after: the number of consecutive successes that make a url healthy.
    """

    path: str
    interval: float
    timeout: float
    unhealthy_after: int
    healthy_after: int


class HealthState:
    """The health of one endpoint, from the results of its probes. Pure."""

    __slots__ = ("_contrary", "_settings", "healthy")

    def __init__(self, settings: HealthSettings) -> None:
        self._settings = settings
        self._contrary = 0
        self.healthy = True

    def record(self, *, ok: bool) -> bool:
        """Record the result of a probe. Return True if the health has changed."""
        if ok == self.healthy:
            self._contrary = 0
            return False
        self._contrary += 1
        needed = self._settings.healthy_after if ok else self._settings.unhealthy_after
        if self._contrary < needed:
            return False
        self._contrary = 0
        self.healthy = ok
        return True


class HealthChecks:
    """The health checks of one upstream. `probe` returns the reason of a failure, or an empty text."""

    def __init__(self, name: str, settings: HealthSettings, endpoints: Sequence[Endpoint], probe: Probe) -> None:
        self._name = name
        self._settings = settings
        self._probe = probe
        self._endpoints = endpoints
        self._tasks: list[asyncio.Task[None]] = []

    def start(self) -> None:
        """Start the checks. Random variations of the interval spread the checks of many gateways."""
        if not self._tasks:
            self._tasks = [asyncio.create_task(self._check(endpoint)) for endpoint in self._endpoints]

    async def _check(self, endpoint: Endpoint) -> None:
        state, every = HealthState(self._settings), self._settings.interval
        while True:
            reason = await self._probe(endpoint)
            if not reason and endpoint.circuit is not None:
                endpoint.circuit.health_check_succeeded(endpoint.pool.now())
            if state.record(ok=not reason):
                endpoint.healthy = state.healthy
                log = get_logger()
                if state.healthy:
                    log.info("upstream.healthy", upstream=self._name, url=endpoint.pool.url)
                else:
                    log.warning("upstream.unhealthy", upstream=self._name, url=endpoint.pool.url, reason=reason)
            await asyncio.sleep(every * random.uniform(0.9, 1.1))  # noqa: S311 - jitter

    async def stop(self) -> None:
        """Stop the checks."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        self._tasks = []
