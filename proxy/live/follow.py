"""Polls of executions whose result a client waits for, until a callback brings it or the execution ends.

So live results work with playbooks that send no callbacks. Polls are adaptive: four a second at first, then fewer, down
to one in five seconds; a change makes them frequent again. An execution that goes on keeps its request; one whose
server does not respond for the lifetime of requests is given up.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from proxy.errors import GatewayError
from proxy.http.json import write_json
from proxy.http.request_id import new_request_id
from proxy.http.traceparent import new_traceparent
from proxy.live.hub import Hub, Outcome
from proxy.noetl.api import NoetlApi
from proxy.noetl.executions import ENDED, ExecutionState
from proxy.noetl.on_behalf import OnBehalf
from proxy.noetl.truth import state_of
from proxy.observe.logs import get_logger
from proxy.sessions.live import StoredRequest
from proxy.sessions.store import StoreError

FIRST, LAST, GROWTH = 0.25, 5.0, 1.5
"""The first and the last time between two polls, in seconds, and the factor between them."""
_SPREAD = 0.2
_LONGEST_POLL = 10.0
MAX_FOLLOWED = 10_000


def delays() -> Iterator[float]:
    """Return the times between polls, in seconds, without the random part."""
    delay = FIRST
    while True:
        yield delay
        delay = min(LAST, delay * GROWTH)


class Follower:
    """Follows the executions of requests of a hub."""

    def __init__(self, hub: Hub) -> None:
        self._hub = hub
        self._tasks: set[asyncio.Task[None]] = set()
        self.api: NoetlApi | None = None
        """The API for what this process follows in place of another."""

    def follow(self, request: StoredRequest, api: NoetlApi) -> None:
        """Follow the execution of a request, on behalf of the user who started it."""
        if not self._hub.settings.follow:
            return
        if len(self._tasks) >= MAX_FOLLOWED:
            get_logger().warning("live.not_followed", execution_id=request.execution_id, followed=len(self._tasks))
            return
        task = asyncio.get_running_loop().create_task(self._follow(request, api))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def resume(self, api: NoetlApi) -> None:
        """Follow again what an earlier process of this name has followed. Raises StoreError."""
        for request in await self._hub.store.followed_by(self._hub.process):
            self.follow(request, api)

    def adopt(self, requests: Sequence[StoredRequest]) -> None:
        """Follow what a process that is dead has followed."""
        if self.api is not None:
            for request in requests:
                self.follow(request, self.api)

    async def close(self) -> None:
        """End all polls."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _follow(self, request: StoredRequest, api: NoetlApi) -> None:
        hub, lifetime = self._hub, self._hub.settings.request_lifetime
        seen_at = kept_at = time.monotonic()
        steps, pauses = 0, delays()
        while time.monotonic() - seen_at < lifetime:
            pause = min(next(pauses), lifetime / 4)  # the request lives while polls show that it goes on
            await asyncio.sleep(pause * (1 + random.uniform(-_SPREAD, _SPREAD)))  # noqa: S311 - jitter
            try:
                stored = await hub.store.request(request.request_id)
                if stored is None or stored.is_over or stored.process != hub.process:
                    return
                async with asyncio.timeout(_LONGEST_POLL):
                    state = await state_of(api, request.execution_id, _on_behalf(request))
                await self._report(request, state, steps)
                seen_at = time.monotonic()
                if seen_at - kept_at > lifetime / 4:
                    kept_at = seen_at
                    await hub.store.keep(request.request_id, time.time())
            except (GatewayError, StoreError, TimeoutError) as error:
                get_logger().debug("live.poll_failed", execution_id=request.execution_id, reason=str(error))
                continue
            if state.status in ENDED:
                return
            if len(state.completed_steps) != steps:
                steps, pauses = len(state.completed_steps), delays()

    async def _report(self, request: StoredRequest, state: ExecutionState, reported: int) -> None:
        """Add what is new in a state to the events of the client; `reported` steps are there already."""
        if state.completed_steps[reported:]:
            await self._hub.steps_ended(request, state.completed_steps[reported:], datetime.now(UTC).isoformat())
        if state.status in ENDED:
            await self._hub.finish(request, outcome_of(state))


def _on_behalf(request: StoredRequest) -> OnBehalf:
    """Return for whom a poll is made."""
    request_id = new_request_id()
    return OnBehalf(request.identity.encode("latin-1"), request_id, new_traceparent(request_id), b"", request.user_id)


def outcome_of(state: ExecutionState) -> Outcome:
    """Return the outcome of an execution that has ended."""
    data = write_json(state.result)
    if state.status == "completed":
        return Outcome(data, None, state.execution_id)
    text = state.error or ("The execution was cancelled" if state.status == "cancelled" else "The execution failed")
    return Outcome(data, text, state.execution_id)
