"""Polls of executions that somebody waits for, until they end: one poll per execution, however many wait.

Requests of clients wait for a result, also from playbooks that send no callbacks; subscriptions wait for every new
state. Polls are adaptive: four a second at first, then fewer, down to one in five seconds; progress makes them frequent
again. An execution whose server does not respond for the lifetime of requests is given up.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime

from proxy.errors import GatewayError, GatewayTimeout, Unavailable
from proxy.http.json import write_json
from proxy.live.hub import Hub, Outcome
from proxy.live.watchers import Subscriber, Watcher, on_behalf_of
from proxy.noetl.api import NoetlApi
from proxy.noetl.executions import ENDED, ExecutionState
from proxy.noetl.on_behalf import OnBehalf
from proxy.noetl.truth import state_of
from proxy.observe.logs import get_logger
from proxy.observe.metrics import POLL_FAILED, POLL_OK
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
    """Follows executions; each one once, on behalf of the first who waits for it.

    `polls` counts them by outcome. A reload replaces `api`, the API of the NoETL server.
    """

    def __init__(self, hub: Hub, polls: dict[str, int]) -> None:
        self.hub = hub
        self.polls = polls
        self.api: NoetlApi | None = None
        self._watches: dict[str, Watch] = {}

    @property
    def followed(self) -> int:
        """Return the number of executions that are followed."""
        return len(self._watches)

    def follow(self, request: StoredRequest, api: NoetlApi) -> None:
        """Follow the execution of a request, on behalf of the user who started it."""
        if not self.hub.settings.follow:
            return
        watch = self._watch(request.execution_id, api)
        if watch is None:
            get_logger().warning("live.not_followed", execution_id=request.execution_id, followed=self.followed)
        else:
            watch.add(Requested(self.hub, request))

    async def subscribe(self, execution_id: str, api: NoetlApi, on_behalf: OnBehalf) -> Subscriber:
        """Return a subscriber to an execution, which has its current state. Close it at the end.

        Raises:
            GatewayError: the state is not known now, or too many executions are followed.
        """
        watch = self._watch(execution_id, api)
        if watch is None:
            raise Unavailable("Too many executions are watched", detail=f"{self.followed} executions are followed")
        subscriber = Subscriber(on_behalf.identity, on_behalf.user, watch.remove)
        watch.add(subscriber)
        try:
            await subscriber.report(await watch.fresh_state(on_behalf))
        except BaseException:
            subscriber.close()
            raise
        return subscriber

    def _watch(self, execution_id: str, api: NoetlApi) -> Watch | None:
        """Return the watch of an execution, a new one if there is none; None if there are too many."""
        watch = self._watches.get(execution_id)
        if watch is None and self.followed < MAX_FOLLOWED:
            watch = self._watches[execution_id] = Watch(self, execution_id, api)
        return watch

    def ended(self, watch: Watch) -> None:
        """Remove a watch that has ended."""
        if self._watches.get(watch.execution_id) is watch:
            del self._watches[watch.execution_id]

    async def resume(self, api: NoetlApi) -> None:
        """Follow again what an earlier process of this name has followed. Raises StoreError."""
        for request in await self.hub.store.followed_by(self.hub.process):
            self.follow(request, api)

    def adopt(self, requests: Sequence[StoredRequest]) -> None:
        """Follow what a process that is dead has followed."""
        if self.api is not None:
            for request in requests:
                self.follow(request, self.api)

    async def close(self) -> None:
        """End all polls."""
        tasks = [watch.task for watch in list(self._watches.values())]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Watch:
    """One execution that is followed: its watchers, and its last state."""

    def __init__(self, follower: Follower, execution_id: str, api: NoetlApi) -> None:
        self.execution_id = execution_id
        self._follower = follower
        self._api = api
        self._watchers: dict[Watcher, None] = {}
        self._state: ExecutionState | None = None
        self._seen_at = 0.0
        self._polling = asyncio.Lock()
        self._again = asyncio.Event()
        self._pauses = delays()
        self.task = asyncio.get_running_loop().create_task(self._run())

    def add(self, watcher: Watcher) -> None:
        """Add a watcher, and let polls be frequent again."""
        self._watchers[watcher] = None
        self._pauses = delays()
        self._again.set()

    def remove(self, watcher: Watcher) -> None:
        """Remove a watcher that does not wait any more; the last one ends the watch."""
        self._watchers.pop(watcher, None)
        if not self._watchers:
            self._follower.ended(self)
            self.task.cancel()

    async def fresh_state(self, on_behalf: OnBehalf) -> ExecutionState:
        """Return a state that is at most as old as the shortest time between two polls. Raises GatewayError."""
        wanted = time.monotonic() - FIRST
        async with self._polling:
            if self._state is not None and self._seen_at >= wanted:
                return self._state
            state = await self._poll(on_behalf)
        await self._tell(state)
        return state

    async def _poll(self, on_behalf: OnBehalf) -> ExecutionState:
        outcome = POLL_FAILED
        try:
            async with asyncio.timeout(_LONGEST_POLL):
                state = await state_of(self._follower.api or self._api, self.execution_id, on_behalf)
            outcome = POLL_OK
        except TimeoutError:
            raise GatewayTimeout(detail=f"a poll of {self.execution_id} over {_LONGEST_POLL:g} s") from None
        finally:
            self._follower.polls[outcome] += 1
        self._state, self._seen_at = state, time.monotonic()
        return state

    async def _run(self) -> None:
        try:
            await self._follow()
        finally:
            self._follower.ended(self)

    async def _follow(self) -> None:
        lifetime = self._follower.hub.settings.request_lifetime
        self._seen_at = time.monotonic()
        progress = ("", 0)
        while time.monotonic() - self._seen_at < lifetime:
            await self._pause(min(next(self._pauses), lifetime / 4))  # requests live while polls show that they go on
            await self._remove_served()
            if not self._watchers:
                return
            first = next(iter(self._watchers))
            try:
                async with self._polling:
                    state = await self._poll(on_behalf_of(first.identity, first.user))
            except GatewayError as error:
                get_logger().debug("live.poll_failed", execution_id=self.execution_id, reason=str(error))
                continue
            await self._tell(state)
            if not self._watchers:
                return
            found = (state.status, len(state.completed_steps))
            if found != progress:
                progress, self._pauses = found, delays()
        for watcher in list(self._watchers):
            watcher.give_up()

    async def _pause(self, seconds: float) -> None:
        """Wait for the next poll, with a random part, so that polls are spread over time."""
        spread = 1 + random.uniform(-_SPREAD, _SPREAD)  # noqa: S311 - jitter
        try:
            async with asyncio.timeout(seconds * spread):
                await self._again.wait()
        except TimeoutError:
            return
        self._again.clear()
        await asyncio.sleep(min(FIRST, seconds) * spread)

    async def _remove_served(self) -> None:
        """Remove the watchers that have what they waited for."""
        for watcher in list(self._watchers):
            try:
                if not await watcher.is_waiting():
                    self._watchers.pop(watcher, None)
            except StoreError as error:
                get_logger().debug("live.poll_failed", execution_id=self.execution_id, reason=str(error))

    async def _tell(self, state: ExecutionState) -> None:
        """Report a state to all watchers. At the end those leave that have it; the others get it again."""
        for watcher in list(self._watchers):
            try:
                await watcher.report(state)
            except (GatewayError, StoreError) as error:
                get_logger().debug("live.poll_failed", execution_id=self.execution_id, reason=str(error))
                continue
            if state.status in ENDED:
                self._watchers.pop(watcher, None)


class Requested(Watcher):
    """A request of a client: its ended steps and its result become events."""

    def __init__(self, hub: Hub, request: StoredRequest) -> None:
        super().__init__(request.identity.encode("latin-1"), request.user_id)
        self._hub = hub
        self._request = request
        self._reported = 0
        self._kept_at = time.monotonic()

    async def is_waiting(self) -> bool:
        stored = await self._hub.store.request(self._request.request_id)
        return stored is not None and not stored.is_over and stored.process == self._hub.process

    async def report(self, state: ExecutionState) -> None:
        hub, request, steps = self._hub, self._request, state.completed_steps
        if steps[self._reported :]:
            await hub.steps_ended(request, steps[self._reported :], datetime.now(UTC).isoformat())
        self._reported = len(steps)
        if state.status in ENDED:
            await hub.finish(request, outcome_of(state))
            return
        now = time.monotonic()
        if now - self._kept_at > hub.settings.request_lifetime / 4:
            self._kept_at = now
            await hub.store.keep(request.request_id, time.time())


def outcome_of(state: ExecutionState) -> Outcome:
    """Return the outcome of an execution that has ended."""
    try:
        data = write_json(state.result)
    except (ValueError, TypeError):
        return Outcome(b"null", "The result can't be written as JSON", state.execution_id)
    if state.status == "completed":
        return Outcome(data, None, state.execution_id)
    text = state.error or ("The execution was cancelled" if state.status == "cancelled" else "The execution failed")
    return Outcome(data, text, state.execution_id)
