"""Executions as records: what happened when, from which each dialect makes its events and its status.

While an execution runs, its moments are a list. Once it has ended they are packed: the times as bytes, and the rest as
JSON, of which equal ones of one playbook are kept once. So each of a million remembered executions needs few bytes.
One of a closed program has no moments before somebody looks at it (see `deferred.py`).
"""

from __future__ import annotations

import asyncio
import random
from array import array
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Any, NamedTuple

from mock_noetl.catalog import Entry
from mock_noetl.closed import Closed
from mock_noetl.values import packed, unpacked
from mock_server.messages import Response

INIT, STARTED, DONE, PROCESSED, CANCELLED, FINALIZED = range(6)
OK, RAISED, SOFT, BROKEN = "ok", "raised", "soft", "broken"
RUNNING, COMPLETED, FAILED = "RUNNING", "COMPLETED", "FAILED"
MAX_BLOBS = 256
MAX_SHARED = 65_536
MAX_KEPT = 4_096
MAX_KEPT_BYTES = 16_384
MAX_PARSED_BYTES = 4_096
"""Larger records are not kept in a parsed form."""


class Moment(NamedTuple):
    """Something that happened.

    Args:
        code: what: the start, a step that has started, is done, or was followed; a cancel; a forced end.
        at: when, in seconds since 1970.
        step: the number of the step; -1 for none.
        data: of DONE its outcome, of PROCESSED what follows, of FINALIZED status and error, of CANCELLED the reason.
    """

    code: int
    at: float
    step: int
    data: Any


class Outcome(NamedTuple):
    """How a step has ended.

    Args:
        kind: `ok`; `raised`: an exception; `soft`: its result says that it has failed; `broken`: its tool can't run.
        value: what it returned.
        error: the error.
        sets: the variables that it has set.
        stdout: what a script printed.
        stderr: the same, for its errors.
        exit_code: of a script.
    """

    kind: str
    value: Any = None
    error: str | None = None
    sets: Mapping[str, Any] | None = None
    stdout: str = ""
    stderr: str = ""
    exit_code: int = 0


class Followed(NamedTuple):
    """What followed a step: the next steps, those whose condition did not hold, and the end, if it was the last."""

    steps: tuple[int, ...] = ()
    skipped: tuple[str, ...] = ()
    end: str | None = None


@dataclass(slots=True, eq=False, weakref_slot=True)
class Active:
    """What only an execution that runs has.

    Args:
        request: the variables that the start has given.
        variables: the variables now.
        source: its own random source, so that with a seed the order of other executions does not matter.
        steps: how many of its steps are issued and not done yet.
        executed: how many steps were issued.
        answer: the status and the data that the last `accounts` step gave.
        timers: how many of its timers wait.
        tasks: the tasks of its steps that wait for something else.
        stopped: whether it was stopped: its timers and tasks do nothing more.
        on_end: what is called when it ends.
        closed: whether its program is closed: it has no timers and no tasks, but one call that is next.
        at: how far a closed one is computed, by `time.monotonic`.
        following: what a closed one does next: when, and the call.
    """

    request: Mapping[str, Any]
    variables: dict[str, Any]
    source: random.Random
    steps: int = 0
    executed: int = 0
    answer: tuple[str, dict[str, Any]] = ("error", {"message": "no accounts step has run"})
    timers: int = 0
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    stopped: bool = False
    on_end: list[Callable[[], None]] = field(default_factory=list)
    closed: bool = False
    at: float = 0.0
    following: tuple[float, Callable[..., None], tuple[Any, ...]] | None = None


@dataclass(slots=True, eq=False)
class Run:
    """An execution; only the engine changes it.

    Args:
        run_id: the id.
        entry: the version of the playbook.
        workload: the variables at the start, or their JSON; None: the playbook's own.
        parent: the id of the parent execution.
        started: the time of the start.
        log: the moments; a pair of packed times and the rest, once it has ended; None: not computed yet.
        failed: whether a step has failed.
        over: whether its end is recorded.
        verdict: the status of the last event that ends an execution; empty without one.
        verdict_at: the time of that event.
        error: the error of that event.
        cancelled: whether it was cancelled.
        size: about how many bytes its values take.
        active: what it has while it runs.
        began: the time of the start by `time.monotonic`, of a closed program.
        seed: the seed of its random source, of a closed program; None: not drawn yet.
    """

    run_id: int
    entry: Entry
    workload: Mapping[str, Any] | bytes | None
    parent: int | None
    started: float
    log: list[Moment] | tuple[bytes, bytes] | None
    failed: bool = False
    over: bool = False
    verdict: str = ""
    verdict_at: float = 0.0
    error: str | None = None
    cancelled: bool = False
    size: int = 0
    active: Active | None = None
    began: float = 0.0
    seed: int | None = None

    @property
    def closed(self) -> Closed | None:
        """What is known of it if its program is closed, and it is computed when somebody looks; else None."""
        program = self.entry.program
        return program.closed if self.began and program is not None else None

    @property
    def ended(self) -> bool:
        """Whether it is computed to its end: nothing more will happen, but for a cancel."""
        return isinstance(self.log, tuple)

    @property
    def given(self) -> Mapping[str, Any]:
        """The variables at the start."""
        if self.workload is None:
            return self.entry.program.workload if self.entry.program else {}
        found: Mapping[str, Any] = unpacked(self.workload) if isinstance(self.workload, bytes) else self.workload
        return found

    @property
    def moments(self) -> list[Moment]:
        """What has happened, oldest first."""
        if isinstance(self.log, list):
            return self.log
        if self.log is None:
            return []
        times, rest = self.log
        parsed = parsed_once(rest) if len(rest) <= MAX_PARSED_BYTES else _parsed(rest)
        return [Moment(code, at, step, data) for at, (code, step, data) in zip(_times(times), parsed, strict=True)]

    @property
    def last(self) -> Moment:
        """What happened last."""
        return self.log[-1] if isinstance(self.log, list) else self.moments[-1]

    def name(self, step: int) -> str:
        """Return the name of a step."""
        program = self.entry.program
        return program.steps[step].name if program is not None and 0 <= step < len(program.steps) else ""

    def add(self, code: int, at: float, step: int, data: Any = None) -> None:
        """Note what happened."""
        if not isinstance(self.log, list):
            self.log = self.moments
        self.log.append(Moment(code, at, step, data))

    def rewind(self) -> None:
        """Drop what was computed."""
        if self.active is not None:
            self.active.following = None  # which refers to it
        self.log = self.active = self.error = None
        self.failed = self.over = False
        self.verdict, self.verdict_at = "", 0.0
        self.size = self.size_at_start

    @property
    def size_at_start(self) -> int:
        """About how many bytes the variables at the start take, as JSON."""
        return len(self.workload) if isinstance(self.workload, bytes) else 0

    def pack(self) -> None:
        """Keep the record in little memory: nothing more will happen, but for a cancel."""
        self.active = None
        if isinstance(self.workload, dict):
            self.workload = packed(self.workload) if self.workload else None
        if not isinstance(self.log, list):
            return
        times = array("d", [moment[1] for moment in self.log]).tobytes()
        rest = packed([(code, step, data) for code, _, step, data in self.log])
        blobs = self.entry.blobs
        known = blobs.get(rest)
        if known is None and len(blobs) < MAX_BLOBS and len(rest) <= MAX_SHARED:
            blobs[rest] = known = rest
        self.size = len(self.workload or b"") + (len(rest) if known is None else 0)
        self.log = (times, known or rest)


class Kept:
    """Responses about ended executions, of which a limited number is kept; one that changes is made anew."""

    def __init__(self) -> None:
        self._found: dict[int, tuple[object, Response]] = {}

    def get(self, run: Run) -> Response | None:
        """Return the response; None if there is none, or if the execution has changed since."""
        found = self._found.get(run.run_id)
        return found[1] if found is not None and found[0] is run.log else None

    def put(self, run: Run, response: Response) -> None:
        """Keep a response, unless the execution runs, or it or its record is large."""
        if not isinstance(run.log, tuple) or len(response.body) + len(run.log[1]) > MAX_KEPT_BYTES:
            return
        if len(self._found) >= MAX_KEPT:
            self._found.clear()
        self._found[run.run_id] = (run.log, response)


def _times(data: bytes) -> Iterator[float]:
    found = array("d")
    found.frombytes(data)
    return iter(found)


@lru_cache(maxsize=2048)
def parsed_once(data: bytes) -> tuple[tuple[int, int, Any], ...]:
    """Return the rest of packed moments, which is kept."""
    return _parsed(data)


def _parsed(data: bytes) -> tuple[tuple[int, int, Any], ...]:
    """Return the rest of packed moments. It is shared: nobody may change it."""
    return tuple((code, step, _restored(code, found)) for code, step, found in unpacked(data))


def _restored(code: int, data: Any) -> Any:
    if code == DONE:
        return Outcome(*data)
    if code == PROCESSED:
        steps, skipped, end = data
        return Followed(tuple(steps), tuple(skipped), end)
    return data


def scope_of(run: Run, active: Active) -> dict[str, Any]:
    """Return the names that templates and conditions know."""
    known = active.variables
    identity = str(run.run_id)
    about = {"id": identity, "uuid": identity, "execution_id": identity}
    return {**known, "workload": known, "ctx": known, "execution_id": identity, "job": about}


def known_value(value: Any) -> tuple[Any] | None:
    """Return what a step's result is as a variable, as a tuple of one; None: it becomes none.

    The Python server adds `context` to mappings, and leaves out those that have a status.
    """
    if not isinstance(value, dict):
        return (value,)
    return None if "status" in value else ({**value, "context": value},)
