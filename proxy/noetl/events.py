"""What the events of an execution prove: its end, its steps, what they returned, and why it failed. Pure.

Both servers record nearly the same events, in different order and with different envelopes around the same facts.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Iterator, Mapping, Sequence
from typing import Any, NamedTuple

Json = Mapping[str, Any]
_ENDINGS = {
    f"{what}.{word}": status
    for what in ("playbook", "workflow", "execution")
    for word, status in (("completed", "completed"), ("failed", "failed"), ("cancelled", "cancelled"))
}
_FAILED = frozenset({"failed", "error"})
_FAILURES = frozenset({"command.failed", "call.error", "step.failed"})
_SUCCESSES = frozenset({"command.completed", "step.exit", "loop.done"})
_BEGINNINGS = frozenset({"command.issued", "step.enter"})
_COMMAND_ENDS = frozenset({"command.completed", "command.failed", "command.cancelled"})
_BATCH_ENDS = frozenset({"batch.completed", "batch.failed"})
_ENVELOPE = frozenset({"command_id", "worker_id", "loop_event_id", "call_index"})
_OF_TASKS = ":task_sequence"


class Event(NamedTuple):
    """An event of an execution.

    Args:
        kind: the type, with a dot between its words on both servers.
        step: the step, or the playbook.
        status: the status, in lower case.
        at: the time, as sent by the server.
        data: the whole event, as sent.
    """

    kind: str
    step: str
    status: str
    at: str | None
    data: Json


class Ending(NamedTuple):
    """The end of an execution: `completed`, `failed` or `cancelled`, and when, as sent by the server."""

    status: str
    at: str | None


class Failure(NamedTuple):
    """A failed step. `followed`: a step has begun after it."""

    step: str
    text: str
    followed: bool


class Returned(NamedTuple):
    """What a step has returned, as its events tell it: the Python server leaves lists and long texts out of them."""

    step: str
    value: Any


def events_of(document: Json) -> list[Event]:
    """Return the events of a detail or a page of events, oldest first. What is not an object among them is left out."""
    raw = document.get("events")
    found = [event for event in raw if isinstance(event, Mapping)] if isinstance(raw, list) else []
    return in_order(found, newest_first="pagination" in document)


def in_order(raw: Sequence[Json], *, newest_first: bool) -> list[Event]:
    """Return events, oldest first. Their ids increase; without ids the order of the server counts."""
    numbers = [event_number(event) for event in raw]
    if all(number is not None for number in numbers):
        unique = dict(sorted(zip(numbers, raw, strict=True), key=lambda pair: pair[0] or 0))
        return [_event(event) for event in unique.values()]
    return [_event(event) for event in (reversed(raw) if newest_first else raw)]


def event_number(raw: Json) -> int | None:
    """Return the number that the id of an event is, which may be a text; None if it is no number."""
    value = raw.get("event_id")
    if isinstance(value, int):
        return value
    return int(value) if isinstance(value, str) and value.isdecimal() and len(value) <= 20 else None


def _event(raw: Json) -> Event:
    kind = str(raw.get("event_type")).lower().replace("_", ".")
    step = str(raw.get("node_name") or "").removesuffix(_OF_TASKS)
    at = raw.get("created_at")
    return Event(kind, step, str(raw.get("status")).lower(), at if isinstance(at, str) else None, raw)


def ending(events: Iterable[Event]) -> Ending | None:
    """Return the end that the events record; None if there is none."""
    found = None
    for event in events:
        status = _ENDINGS.get(event.kind)
        if status is not None:
            found = Ending(status, event.at)
    return found


def is_idle(events: Sequence[Event]) -> bool:
    """Return whether the Python server has nothing more to do for an execution, from all of its events.

    It records no end for an execution of one step. Then the end is that every command has ended, and that every batch
    of reports about them has been worked through: a next step would have been issued before that.
    """
    if not events or events[-1].kind not in _BATCH_ENDS:
        return False
    commands: Counter[str] = Counter()
    batches = 0
    for event in events:
        if event.kind == "command.issued":
            commands[event.step] += 1
        elif event.kind in _COMMAND_ENDS:
            commands[event.step] -= 1
        elif event.kind == "batch.accepted":
            batches += 1
        elif event.kind in _BATCH_ENDS:
            batches -= 1
    return batches <= 0 and all(count <= 0 for count in commands.values())


def completed_steps(events: Iterable[Event]) -> tuple[str, ...]:
    """Return the steps that have completed, in the order of their completion, without those that failed."""
    done: dict[str, None] = {}
    for event in events:
        outcome = _outcome(event)
        if outcome is not None:
            done.pop(event.step, None)
        if outcome:
            done[event.step] = None
    return tuple(done)


def failed_steps(events: Iterable[Event]) -> frozenset[str]:
    """Return the steps whose last outcome is a failure."""
    outcomes = {event.step: outcome for event in events if (outcome := _outcome(event)) is not None}
    return frozenset(step for step, succeeded in outcomes.items() if not succeeded)


def _outcome(event: Event) -> bool | None:
    """Return whether the step of an event succeeded; None for an event that is not an outcome."""
    if event.kind in _FAILURES:
        return False
    if event.kind in _SUCCESSES:
        return not _says_failed(event)
    return False if event.kind == "call.done" and _says_failed(event) else None


def _says_failed(event: Event) -> bool:
    """Return whether an event, or the tool's result in it, has the status of a failure; data of a user has none."""
    result = event.data.get("result")
    context = result.get("context") if isinstance(result, Mapping) else None
    of_tool = context.get("result") if isinstance(context, Mapping) and "call_index" in context else None
    parts = (part for part in (result, of_tool) if isinstance(part, Mapping))
    return event.status in _FAILED or any(str(part.get("status")).lower() in _FAILED for part in parts)


def _envelopes(event: Event) -> Iterator[Json]:
    """Yield an event and the envelopes in it, from the outside in: the result, its context, and those within."""
    yield event.data
    part: Any = event.data.get("result")
    for name in ("context", "result", "context", ""):
        if not isinstance(part, Mapping):
            return
        yield part
        part = part.get(name)


def failure(events: Iterable[Event]) -> Failure | None:
    """Return the last failure; None if no step failed."""
    found: Failure | None = None
    again = False
    for event in events:
        if event.kind in _BEGINNINGS and found is not None:
            again = again or event.step == found.step
            found = found._replace(followed=True)
        elif _outcome(event) is False:
            if found is None or again or event.step != found.step:
                found, again = Failure(event.step, _text_of_failure(event), followed=False), False
            elif not found.text:
                found = found._replace(text=_text_of_failure(event))
    return found


def _text_of_failure(event: Event) -> str:
    """Return the text of a failure, with the last line of what a script has written; empty if there is none."""
    for part in reversed(list(_envelopes(event))):
        text = error_text(part.get("error"))
        if text is not None:
            written = str(part.get("stderr") or "").strip().splitlines()
            return f"{text}: {written[-1].strip()}" if written else text
    context = event.data.get("context")
    return (error_text(context.get("error")) if isinstance(context, Mapping) else None) or ""


def error_text(value: Any) -> str | None:
    """Return the text of an error, which may be an object with a message; None if there is none."""
    if isinstance(value, Mapping):
        value = value.get("message") or value.get("error")
    return None if value is None or value == "" else str(value)


def returned(events: Sequence[Event]) -> Returned | None:
    """Return what the last step returned; None if none has returned, or the last one failed."""
    for event in reversed(events):
        if event.kind in _FAILURES or (event.kind == "call.done" and _says_failed(event)):
            return None
        if event.kind == "call.done":
            return Returned(event.step, _returned_in(event))
    return None


def _returned_in(event: Event) -> Any:
    result = event.data.get("result")
    context = result.get("context") if isinstance(result, Mapping) else None
    if not isinstance(context, Mapping):
        return None
    inner = context.get("result")
    if "call_index" in context and isinstance(inner, Mapping) and "context" in inner:  # the Rust server
        of_tool = inner["context"]
        return of_tool["data"] if isinstance(of_tool, Mapping) and "data" in of_tool else of_tool
    rest = {name: value for name, value in context.items() if name not in _ENVELOPE}
    return None if rest in ({}, {"status": "COMPLETED"}) else rest


def returned_by_steps(events: Iterable[Event]) -> dict[str, Any]:
    """Return what each step has returned last, for the events of the Rust server."""
    done = (event for event in events if event.kind == "call.done" and not _says_failed(event))
    return {event.step: _returned_in(event) for event in done}


def first_workload(events: Iterable[Event]) -> dict[str, Any] | None:
    """Return the workload with which an execution was started; None if no event has it."""
    for event in events:
        context = event.data.get("context")
        result = context.get("result") if isinstance(context, Mapping) else None
        for part in (result, context):
            workload = part.get("workload") if isinstance(part, Mapping) else None
            if event.kind != "command.issued" and isinstance(workload, Mapping):
                return dict(workload)
    return None
