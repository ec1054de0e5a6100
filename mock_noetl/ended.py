"""Which executions have ended: the one that was started first makes room for a new one.

Executions of closed programs wait here, too, until they can have ended. Whether they have is known for sure after the
longest time that their program takes; before, they have to be computed. That is done for a few at each start, as soon
as half of the room is taken, so that no start takes long.
"""

from __future__ import annotations

from collections.abc import Callable
from heapq import heapify, heappop, heappush
from time import monotonic

from mock_noetl.runs import Run

AT_ONCE = 4
"""How many executions are examined at each start."""
MAX_AT_ONCE = 10_000
"""How many are examined if one that has ended is needed."""
MAX_STALE = 1_000
"""How many entries of forgotten executions are kept, if they are not more than half of all."""
LATER_SECONDS = 0.1
"""When an execution is examined again that is computed in the background."""


class Ended:
    """The executions that have ended, and those of closed programs that may have.

    Args:
        known: whether an execution is not forgotten yet.
        compute: computes an execution up to now.
        between: how many seconds a step takes, besides its own duration.
    """

    def __init__(self, known: Callable[[Run], bool], compute: Callable[[Run], None], between: float) -> None:
        self._known = known
        self._compute = compute
        self._between = between
        self._ended: list[tuple[int, Run]] = []
        self._waiting: list[tuple[float, int, Run]] = []
        self._stale = 0

    def __len__(self) -> int:
        """Return how many entries there are, also of those that are forgotten."""
        return len(self._ended) + len(self._waiting)

    def clear(self) -> None:
        """Forget all."""
        self._ended.clear()
        self._waiting.clear()
        self._stale = 0

    def add(self, run: Run) -> None:
        """Take an execution that has ended. One of a closed program that waits here may be added, too."""
        heappush(self._ended, (run.run_id, run))

    def add_deferred(self, run: Run) -> None:
        """Take an execution of a closed program that has just started."""
        closed = run.closed
        assert closed is not None  # noqa: S101 - only executions of closed programs are deferred
        heappush(self._waiting, (run.began + closed.shortest, run.run_id, run))

    def examine(self, most: int = AT_ONCE, *, compute: bool = True) -> None:
        """Examine executions of closed programs that can have ended by now, at most so many."""
        now = monotonic()
        while most > 0 and self._waiting and self._waiting[0][0] <= now:
            most -= 1
            _, run_id, run = heappop(self._waiting)
            if not self._known(run):
                self._stale -= 1
            elif self._has_ended(run, now, compute=compute):
                heappush(self._ended, (run_id, run))
            else:
                following = run.active.following if run.active is not None else None
                is_known = following is not None and following[0] > now
                next_at = following[0] if following is not None and is_known else now + LATER_SECONDS
                heappush(self._waiting, (next_at, run_id, run))

    @property
    def is_examined(self) -> bool:
        """Whether it is known of all executions whether they have ended."""
        return not self._waiting or self._waiting[0][0] > monotonic()

    def pop(self, but: Run | None = None) -> Run | None:
        """Return the ended execution that was started first, which is forgotten now; None if none has ended.

        Args:
            but: one that is being computed: another one is returned, and no other one is computed.
        """
        self.examine(MAX_AT_ONCE, compute=but is None)
        kept = None
        found = None
        while self._ended and found is None:
            entry = heappop(self._ended)
            if entry[1] is but:
                kept = entry
            elif self._known(entry[1]):
                found = entry[1]
        if kept is not None:
            heappush(self._ended, kept)
        return found

    def forgotten_early(self) -> None:
        """Note that an execution was forgotten, which may still wait here: it ended before its time."""
        self._stale += 1
        if self._stale > MAX_STALE and self._stale > len(self._waiting) // 2:
            self._waiting = [entry for entry in self._waiting if self._known(entry[2])]
            heapify(self._waiting)
            self._stale = 0

    def _has_ended(self, run: Run, now: float, *, compute: bool) -> bool:
        closed = run.closed
        if run.ended or closed is None or now - run.began > closed.longest + closed.steps * self._between:
            return True
        if compute:
            self._compute(run)
        return run.ended
