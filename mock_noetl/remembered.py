"""The executions that a server remembers: how many, and how much their values take."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from mock_noetl.deferred import Deferred
from mock_noetl.ended import Ended
from mock_noetl.errors import FullError
from mock_noetl.runs import Active, Run

MAX_KEPT = 1_000_000
MAX_RUNNING = 100_000
MAX_RUN_BYTES = 16 * 1024**2
"""How much the values of one execution may take."""
MAX_BYTES = 1024**3
"""How much those of all executions may take."""


class Remembered:
    """The executions by id, in the order of their starts.

    Args:
        max_kept: how many are remembered.
        begin: begins to compute an execution of a closed program.
        between: how many seconds a step takes, besides its own duration.
    """

    def __init__(self, max_kept: int, begin: Callable[[Run], Active], between: float) -> None:
        self.runs: dict[int, Run] = {}
        self.running = self.bytes_kept = 0
        self.deferred = Deferred(begin, self._drop)
        self.ended = Ended(self.knows, self._compute, between)
        self._max_kept = max_kept
        self._children: dict[int, list[int]] = {}

    def add(self, run: Run) -> None:
        """Remember an execution that starts."""
        self.runs[run.run_id] = run
        if run.closed is not None:
            self.ended.add_deferred(run)
        else:
            self.running += 1
        if run.parent in self.runs:
            self._children.setdefault(run.parent, []).append(run.run_id)

    def clear(self) -> None:
        """Forget all executions."""
        self.deferred.clear()
        self.runs.clear()
        self.ended.clear()
        self._children.clear()
        self.running = self.bytes_kept = 0

    # Looks

    def find(self, run_id: int) -> Run | None:
        """Return an execution, computed up to now; None if it is not known."""
        run = self.runs.get(run_id)
        return self.seen(run) if run is not None else None

    def seen(self, run: Run) -> Run:
        """Compute an execution up to now, if that is left to do, and return it."""
        if run.log is None or (run.active is not None and run.active.closed):
            self._compute(run)
        return run

    def _compute(self, run: Run) -> None:
        self.deferred.compute(run, known=self.knows(run))

    def knows(self, run: Run) -> bool:
        """Return whether an execution is not forgotten: it may be while it is looked at."""
        return self.runs.get(run.run_id) is run

    def newest_first(self) -> Iterator[Run]:
        """Yield the executions, newest first; see `seen`."""
        return reversed(self.runs.values())

    def with_children(self, run: Run) -> list[Run]:
        """Return an execution and all its descendants, each once."""
        family = {run.run_id: run}
        waiting = [run.run_id]
        while waiting:
            for child in self._children.get(waiting.pop(), ()):
                if child in self.runs and child not in family:
                    family[child] = self.seen(self.runs[child])
                    waiting.append(child)
        return list(family.values())

    # Room

    def make_room(self) -> None:
        """Make room for an execution that starts. Raises FullError if there is none."""
        if self.running >= MAX_RUNNING:
            raise FullError(f"Too many executions are running: {MAX_RUNNING}")
        while self.bytes_kept > MAX_BYTES and (self.deferred.drop_oldest() or self._forget_oldest()):
            pass
        while len(self.runs) >= self._max_kept and self._forget_oldest():
            pass
        if len(self.runs) >= self._max_kept and self.ended.is_examined:  # else some may have ended: one more may start
            raise FullError(f"All {self._max_kept} executions that --keep allows are running")
        if self.bytes_kept > MAX_BYTES:
            raise FullError(f"The values of the executions that run take more than {MAX_BYTES} bytes")
        if len(self.runs) > self._max_kept // 2:
            self.ended.examine()

    def grows(self, run: Run, size: int) -> None:
        """Count values that an execution gets."""
        run.size += size
        if self.knows(run):
            self.bytes_kept += size

    def too_large(self, run: Run) -> str:
        """Return why the values of an execution are too large; empty if they are not, also because others made room."""
        if run.size > MAX_RUN_BYTES:
            return f"the values of an execution take at most {MAX_RUN_BYTES} bytes"
        while self.bytes_kept > MAX_BYTES and (self.deferred.drop_oldest(run) or self._forget_oldest(run)):
            pass
        return f"the values of all executions take at most {MAX_BYTES} bytes" if self.bytes_kept > MAX_BYTES else ""

    def pack(self, run: Run) -> None:
        """Keep what an execution has done in little memory, now that it ends."""
        active, size = run.active, run.size
        run.pack()
        if self.knows(run):
            self.bytes_kept += run.size - size
            if active is not None and not active.closed:
                self.running -= 1
                self.ended.add(run)

    def settle(self, run: Run) -> None:
        """Note that an execution is about to end by force, and is not to be computed again."""
        if run.closed is not None:
            self.deferred.settled(run)
            if not run.ended:
                self.ended.add(run)

    def _drop(self, run: Run) -> None:
        """Drop what was computed of an execution."""
        size = run.size
        run.rewind()
        if self.knows(run):
            self.bytes_kept += run.size - size

    def _forget_oldest(self, but: Run | None = None) -> bool:
        """Forget the ended execution that was started first, but not the one that is being computed, if there is one.

        Returns whether there was one.
        """
        run = self.ended.pop(but)
        if run is None:
            return False
        del self.runs[run.run_id]
        self._children.pop(run.run_id, None)
        self.bytes_kept -= run.size
        if run.parent in self._children and run.run_id in self._children[run.parent]:
            self._children[run.parent].remove(run.run_id)
        if run.closed is not None:
            self.deferred.settled(run)
            self.ended.forgotten_early()
        return True
