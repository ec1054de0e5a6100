"""Who waits for the states of an execution that is followed: the base of all, and a subscription."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Hashable

from proxy.errors import Unavailable
from proxy.http.request_id import new_request_id
from proxy.http.traceparent import new_traceparent
from proxy.noetl.executions import ENDED, ExecutionState
from proxy.noetl.on_behalf import OnBehalf


def on_behalf_of(identity: bytes, user: Hashable) -> OnBehalf:
    """Return for whom a poll is made: a request of its own."""
    request_id = new_request_id()
    return OnBehalf(identity, request_id, new_traceparent(request_id), b"", user)


class Watcher:
    """Waits for the states of an execution.

    Args:
        identity: the lines of the identity headers of its user.
        user: for whose share of the upstream's connections the polls count.
    """

    def __init__(self, identity: bytes, user: Hashable) -> None:
        self.identity = identity
        self.user = user

    async def is_waiting(self) -> bool:
        """Return whether it still waits. Raises StoreError."""
        return True

    async def report(self, state: ExecutionState) -> None:
        """Note a state, which may be the same as before. Raises GatewayError or StoreError if that failed."""
        raise NotImplementedError

    def give_up(self) -> None:
        """Note that there will be no more states: the server does not respond."""


class Subscriber(Watcher, AsyncIterator[ExecutionState | None]):
    """The states of one execution as an iterator: the current one, and each that differs from the one before.

    A consumer that is slow skips states: only the newest is kept. It ends with the execution. None means that `wake`
    was called.
    """

    def __init__(self, identity: bytes, user: Hashable, remove: Callable[[Watcher], None]) -> None:
        super().__init__(identity, user)
        self._remove = remove
        self._newest: ExecutionState | None = None
        self._taken: ExecutionState | None = None
        self._changed = asyncio.Event()
        self._woken = self._given_up = False

    async def report(self, state: ExecutionState) -> None:
        if self._newest is None or not _same(self._newest, state):
            self._newest = state
            self._changed.set()

    def give_up(self) -> None:
        self._given_up = True
        self._changed.set()

    def wake(self) -> None:
        """Let the iteration return None once, as soon as possible."""
        self._woken = True
        self._changed.set()

    async def __anext__(self) -> ExecutionState | None:
        if self._taken is not None and self._taken.status in ENDED:
            raise StopAsyncIteration
        await self._changed.wait()
        self._changed.clear()
        if self._woken:
            self._woken = False
            if self._newest is not self._taken or self._given_up:
                self._changed.set()
            return None
        if self._newest is self._taken:
            raise Unavailable("NoETL server unreachable", detail="a subscription was given up")
        self._taken = self._newest
        return self._taken

    def close(self) -> None:
        """End the subscription."""
        self._remove(self)


def _same(one: ExecutionState, other: ExecutionState) -> bool:
    """Return whether two states are the same for a client; values that differ from themselves, such as NaN, too."""
    return one == other or repr(one) == repr(other)
