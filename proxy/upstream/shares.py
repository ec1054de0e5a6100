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


class Waiter(Generic[C]):
    """A request that waits. `admitted`: it counts for the share of its user, and gets a connection in its turn."""

    __slots__ = ("admitted", "future", "user")

    def __init__(self, user: Hashable, future: asyncio.Future[C]) -> None:
        self.user = user
        self.future = future
        self.admitted = False


class Shares(Generic[C]):
    """The connections that each user has or is about to get, and the requests that wait.

    Args:
        connections: the number of connections.
        pending: the number of requests that may wait.
        share: the share of both that one user may have, from 0 to 1; at least one connection.

    Requests without a user (None) have no limit.
    """

    __slots__ = ("_held", "_held_count", "_most", "_most_pending", "_pending", "_used", "first")

    def __init__(self, connections: int, pending: int, share: float) -> None:
        self._most = max(1, math.ceil(connections * share))
        self._pending = pending
        self._most_pending = math.ceil(pending * share)
        self._used: dict[Hashable, int] = {}
        self.first: deque[Waiter[C]] = deque()
        """The admitted requests that wait, in their order."""
        self._held: dict[Hashable, deque[Waiter[C]]] = {}
        self._held_count = 0

    def __len__(self) -> int:
        """Return the number of requests that wait."""
        return len(self.first) + self._held_count

    def has_room(self, user: Hashable) -> bool:
        """Return True if a user has less than the share."""
        return user is None or self._used.get(user, 0) < self._most

    def admits(self, user: Hashable) -> bool:
        """Count one more connection of a user, if that is within the share; return whether it is."""
        if user is None:
            return True
        used = self._used.get(user, 0)
        if used >= self._most:
            return False
        self._used[user] = used + 1
        return True

    def refusal(self, user: Hashable) -> str:
        """Return why one more request of a user may not wait; an empty text if it may."""
        if len(self) >= self._pending:
            return f"{len(self)} requests wait"
        held = len(self._held.get(user, ()))
        if not self.has_room(user) and held >= self._most_pending:
            return f"{held} requests of the user wait; see user_share"
        return ""

    def wait(self, waiter: Waiter[C]) -> None:
        """Let a request wait, in the order of all, or until another one of its user ends."""
        if self.admits(waiter.user):
            waiter.admitted = True
            self.first.append(waiter)
        else:
            self._held.setdefault(waiter.user, deque()).append(waiter)
            self._held_count += 1

    def next(self) -> Waiter[C] | None:
        """Return the first request that waits, without it; None if it does not wait any more."""
        waiter = self.first.popleft()
        return None if waiter.future.done() else waiter

    def remove(self, waiter: Waiter[C]) -> None:
        """Remove a request that does not wait any more."""
        if waiter in self.first:
            self.first.remove(waiter)
        held = self._held.get(waiter.user)
        if held is not None and waiter in held:
            held.remove(waiter)
            self._held_count -= 1
            if not held:
                del self._held[waiter.user]

    def leave(self, user: Hashable) -> bool:
        """Count one connection of a user less; return True if a request of the user that waits for that is admitted."""
        if user is None:
            return False
        left = self._used[user] - 1
        if left:
            self._used[user] = left
        else:
            del self._used[user]
        held = self._held.get(user) if self._held else None
        while held:
            waiter = held.popleft()
            self._held_count -= 1
            if not held:
                del self._held[user]
            if not waiter.future.done():
                self.wait(waiter)
                return True
        return False

    def cancel(self) -> None:
        """Cancel all requests that wait."""
        for waiter in [*self.first, *(waiter for held in self._held.values() for waiter in held)]:
            waiter.future.cancel()
