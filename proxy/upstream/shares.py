"""Who may have a connection next: requests wait in their order, and no user has more than a share of the connections.

A request of a user who has the whole share waits until another one of that user ends; it does not hold up the others.
Pure but for the futures of those who wait.
"""

from __future__ import annotations

import asyncio
import math
from collections import deque
from collections.abc import Hashable
from typing import Generic, TypeVar

C = TypeVar("C")
_KEPT_LOADS = 1000


class Waiter(Generic[C]):
    """A request that waits. `admitted`: it counts for the share of its user, and gets a connection in its turn."""

    __slots__ = ("admitted", "future", "load")

    def __init__(self, load: Load[C], future: asyncio.Future[C]) -> None:
        self.load = load
        self.future = future
        self.admitted = False


class Load(Generic[C]):
    """What one user has of a pool: `count` connections in use or promised, at most `most`; `held` are the requests that
    wait for one of these."""

    __slots__ = ("count", "held", "most")

    def __init__(self, most: float) -> None:
        self.count = 0
        self.most = most
        self.held: deque[Waiter[C]] = deque()

    def admits(self) -> bool:
        """Count one more connection, if that is within the share; return whether it is."""
        if self.count >= self.most:
            return False
        self.count += 1
        return True


class Shares(Generic[C]):
    """The load of each user, and the requests that wait.

    Args:
        connections: the number of connections.
        pending: the number of requests that may wait.
        share: the share of both that one user may have, from 0 to 1; at least one connection.
    """

    __slots__ = ("_held_count", "_most", "_most_pending", "_pending", "_remove_at", "first", "loads")

    def __init__(self, connections: int, pending: int, share: float) -> None:
        self._most = max(1, math.ceil(connections * share))
        self._pending = pending
        self._most_pending = math.ceil(pending * share)
        self.loads: dict[Hashable, Load[C]] = {None: Load(math.inf)}
        """The load of each user; None is the gateway itself, which has no limit."""
        self.first: deque[Waiter[C]] = deque()
        """The admitted requests that wait, in their order."""
        self._held_count = 0
        self._remove_at = _KEPT_LOADS

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return len(self.first) + self._held_count

    def load(self, user: Hashable) -> Load[C]:
        """Return the load of a user."""
        return self.loads.get(user) or self.new_load(user)

    def new_load(self, user: Hashable) -> Load[C]:
        """Return the load of a user who has none yet; if there are many, those with nothing in use are removed."""
        if len(self.loads) >= self._remove_at:
            self.loads = {name: load for name, load in self.loads.items() if load.count or name is None}
            self._remove_at = max(_KEPT_LOADS, 2 * len(self.loads))
        made = self.loads[user] = Load(self._most)
        return made

    def refusal(self, load: Load[C]) -> str:
        """Return why one more request of a user may not wait; an empty text if it may."""
        if len(self) >= self._pending:
            return f"{len(self)} requests wait"
        if load.count >= load.most and len(load.held) >= self._most_pending:
            return f"{len(load.held)} requests of the user wait; see user_share"
        return ""

    def wait(self, waiter: Waiter[C]) -> None:
        """Let a request wait, in the order of all, or until another one of its user ends."""
        if waiter.load.admits():
            waiter.admitted = True
            self.first.append(waiter)
        else:
            waiter.load.held.append(waiter)
            self._held_count += 1

    def next(self) -> Waiter[C] | None:
        """Return the first request that waits, without it; None if it does not wait any more."""
        waiter = self.first.popleft()
        return None if waiter.future.done() else waiter

    def remove(self, waiter: Waiter[C]) -> None:
        """Remove a request that does not wait any more."""
        if waiter in self.first:
            self.first.remove(waiter)
        elif waiter in waiter.load.held:
            waiter.load.held.remove(waiter)
            self._held_count -= 1

    def leave(self, load: Load[C]) -> bool:
        """Count one connection of a user less; return True if a request of the user that waits for that is admitted."""
        load.count -= 1
        while load.held:
            waiter = load.held.popleft()
            self._held_count -= 1
            if not waiter.future.done():
                self.wait(waiter)
                return True
        return False

    def cancel(self) -> None:
        """Cancel all requests that wait."""
        for waiter in [*self.first, *(waiter for load in self.loads.values() for waiter in load.held)]:
            waiter.future.cancel()
