"""Executions that are computed when somebody looks at them.

What a run of a closed program does follows from its start (see `closed.py`): the program, the variables, the seed and
the time. So nothing is done for it while nobody looks, and a look computes it up to now: with the same steps, at the
same times, as if timers had run. What was computed may be dropped, and is then computed again for the next look.

A run that takes long to compute is computed a little at a time in the background, and looks see how far that is.
"""

from __future__ import annotations

import asyncio
import logging
from collections import OrderedDict
from collections.abc import Callable
from time import monotonic, perf_counter

from mock_noetl.runs import Active, Run
from mock_noetl.template_limits import begin_budget, end_budget

MAX_UNFINISHED = 10_000
"""How many executions are kept half computed."""
MAX_BEHIND = 1_000
"""How many are computed in the background; others go on with the next look."""
RUN_SECONDS = 0.02
"""How long one execution is computed at one go."""
TURN_SECONDS = 0.25
"""How long executions are computed in one turn of the event loop."""
PAUSE_SECONDS = 0.005
"""The pause of the computation in the background, which is at least as long as the computation before it."""

_log = logging.getLogger("mock_noetl")


class Deferred:
    """The executions of closed programs.

    Args:
        begin: begins to compute one.
        drop: drops what was computed of one.
    """

    def __init__(self, begin: Callable[[Run], Active], drop: Callable[[Run], None]) -> None:
        self._begin = begin
        self._drop = drop
        self._unfinished: OrderedDict[int, Run] = OrderedDict()
        self._finished: OrderedDict[int, Run] = OrderedDict()
        self._behind: OrderedDict[int, Run] = OrderedDict()
        self._timer: asyncio.TimerHandle | None = None
        self._spent = 0.0

    def clear(self) -> None:
        """Forget all."""
        for kept in (self._unfinished, self._finished, self._behind):
            kept.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def compute(self, run: Run, *, known: bool) -> None:
        """Compute an execution up to now, or as far as there is time; `known`: it is not forgotten yet."""
        if run.run_id in self._behind:
            return
        begun = perf_counter()
        if not self._spent:
            asyncio.get_running_loop().call_soon(self._turn_over)
        is_done = self._advance(run, begun + min(RUN_SECONDS, TURN_SECONDS - self._spent))
        self._spent += perf_counter() - begun
        if not known:
            return
        if is_done or len(self._behind) >= MAX_BEHIND:
            self._keep(run)
        else:
            self.settled(run)
            self._behind[run.run_id] = run
            self._go_on()

    def _turn_over(self) -> None:
        self._spent = 0.0

    def _advance(self, run: Run, until: float) -> bool:
        """Compute an execution until a moment of `perf_counter`; return whether it is computed up to now."""
        active = run.active or self._begin(run)
        now = monotonic()
        while active.following is not None and active.following[0] <= now:
            if perf_counter() > until:
                return False
            active.at, call, values = active.following
            active.following = None
            begin_budget()
            try:
                call(*values)
            except Exception:
                _log.exception("an execution failed")
            end_budget()
        return True

    # In the background

    def _go_on(self, pause: float = PAUSE_SECONDS) -> None:
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(pause, self._work)

    def _work(self) -> None:
        self._timer = None
        begun = perf_counter()
        until = begun + RUN_SECONDS
        while self._behind and perf_counter() < until:
            run_id, run = self._behind.popitem(last=False)
            if self._advance(run, until):
                self._keep(run)
            else:
                self._behind[run_id] = run
        if self._behind:
            self._go_on(max(PAUSE_SECONDS, perf_counter() - begun))

    # What can be dropped

    def _keep(self, run: Run) -> None:
        """Note what can be dropped: executions that are half computed, and values that take memory."""
        self.settled(run)
        if not run.ended:
            self._unfinished[run.run_id] = run
            if len(self._unfinished) > MAX_UNFINISHED:
                self._drop(self._unfinished.popitem(last=False)[1])
        elif run.size > run.size_at_start:
            self._finished[run.run_id] = run

    def settled(self, run: Run) -> None:
        """Note that an execution is not to be computed again: it was cancelled, ended by force, or forgotten."""
        for kept in (self._unfinished, self._finished, self._behind):
            kept.pop(run.run_id, None)

    def drop_oldest(self, but: Run | None = None) -> bool:
        """Drop what was computed of the execution that was computed first, and return whether there was one."""
        for kept in (self._finished, self._unfinished):
            oldest = next((run for run in kept.values() if run is not but), None)
            if oldest is not None:
                del kept[oldest.run_id]
                self._drop(oldest)
                return True
        return False
