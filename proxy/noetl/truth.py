"""Questions to a NoETL server until the truth about an execution is known: see `executions.py` for what that is.

A poll of a running execution is one request in the common case. The end of an execution is requested once, and cached.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from proxy.errors import BadGateway, NotFound
from proxy.noetl.api import NoetlApi, Start
from proxy.noetl.dialect import Dialect, dialect_of
from proxy.noetl.events import Event, ending, events_of, in_order
from proxy.noetl.executions import (
    ENDED,
    ExecutionState,
    claimed,
    end_of,
    ended_state,
    has_all_events,
    in_order_of,
    mark_of,
    merged_steps,
    needs_proof,
    running_state,
    workload_of,
)
from proxy.noetl.known_facts import ForUser
from proxy.noetl.on_behalf import OnBehalf

_NEWEST = "page_size=100"
_FIRST = "event_type=playbook.initialized&page_size=10"
_PAGE = 500
_MAX_PAGES = 10
_MAX_KEPT = 1024**2
Json = Mapping[str, Any]


async def state_of(api: NoetlApi, execution_id: str, on_behalf: OnBehalf) -> ExecutionState:
    """Return the state of an execution.

    Raises:
        NotFound: the execution does not exist.
    """
    known = api.known.ended[execution_id, on_behalf.identity]
    if known is not None:
        return known
    return await state_with(api, execution_id, await api.status(execution_id, on_behalf), on_behalf)


async def state_with(api: NoetlApi, execution_id: str, status: Json, on_behalf: OnBehalf) -> ExecutionState:
    """Return the state of an execution whose status is there; ask for what is missing.

    Raises:
        NotFound: the execution does not exist.
    """
    known = state_at_hand(api, execution_id, status, on_behalf.identity)
    if known is not None:
        return known
    if claimed(status) in ENDED:
        return await _maybe_ended(api, execution_id, status, on_behalf)
    return await _running(api, execution_id, status, on_behalf)


def state_at_hand(api: NoetlApi, execution_id: str, status: Json, identity: bytes) -> ExecutionState | None:
    """Return the state of an execution whose status is there; None if a further request is needed.

    `identity` is that of the user to whom the server has answered.
    """
    key = (execution_id, identity)
    ended = api.known.ended[key]
    if ended is not None:
        return ended
    listed, has_ended = status.get("completed_steps"), claimed(status) in ENDED
    if isinstance(listed, list) and not has_ended:
        return _running_with_steps(api, key, status, listed)
    before = api.known.polled[key]
    if before is None or before[0] != mark_of(status):
        return None
    if has_ended:  # nothing has happened since the claim was disproved
        return before[1]._replace(variables=status.get("variables", before[1].variables))
    return before[1]


def _running_with_steps(api: NoetlApi, key: ForUser, status: Json, listed: Sequence[Any]) -> ExecutionState | None:
    """Return the state of an execution whose status has its steps; None if their order is not known."""
    before = api.known.steps[key] or ()
    steps = merged_steps(before, listed)
    if steps is None:
        return None
    if steps != before:
        api.known.steps.put(key, steps, sum(map(len, steps)))
    return running_state(key[0], status, None, api.known.paths[key[0]], steps)


async def _running(api: NoetlApi, execution_id: str, status: Json, on_behalf: OnBehalf) -> ExecutionState:
    """Return the state of an execution whose status claims no end; its detail has the steps, and their order."""
    path, listed, key = api.known.paths[execution_id], status.get("completed_steps"), (execution_id, on_behalf.identity)
    detail = await api.detail(execution_id, on_behalf, _NEWEST)
    if isinstance(listed, list):
        steps = in_order_of(listed, events_of(detail))
        api.known.steps.put(key, steps, sum(map(len, steps)))
        return running_state(execution_id, status, None, path, steps)
    state = running_state(execution_id, status, detail, path)
    if on_behalf.received <= _MAX_KEPT:
        api.known.polled.put(key, (mark_of(status), state), on_behalf.received)
    return state


async def _maybe_ended(api: NoetlApi, execution_id: str, status: Json, on_behalf: OnBehalf) -> ExecutionState:
    """Return the state of an execution whose status claims an end, which its events prove or not."""
    key, path, mark = (execution_id, on_behalf.identity), api.known.paths[execution_id], mark_of(status)
    detail = await api.detail(execution_id, on_behalf, _NEWEST)
    events, whole = events_of(detail), has_all_events(detail)
    end = end_of(status, detail, events, all_of_them=whole)
    if not whole and needs_proof(status) and (end is not None or ending(events) is None):
        events, whole = await _all_events(api, execution_id, on_behalf)
        end = end_of(status, detail, events, all_of_them=whole)
    if end is None:
        listed = status.get("completed_steps")
        steps = in_order_of(listed, events) if isinstance(listed, list) else None
        state = running_state(execution_id, status, detail, path, steps)
        if on_behalf.received <= _MAX_KEPT:
            api.known.polled.put(key, (mark, state), on_behalf.received)
        return state
    if needs_proof(status):  # it may be older than the end: the last step's variables are in a newer one
        status = await api.status(execution_id, on_behalf, whole=True)
    state = ended_state(execution_id, status, detail, events, end, path)
    if on_behalf.received <= _MAX_KEPT:
        api.known.ended.put(key, state, on_behalf.received)
    return state


async def _all_events(api: NoetlApi, execution_id: str, on_behalf: OnBehalf) -> tuple[list[Event], bool]:
    """Return the events of an execution, oldest first, and whether these are all."""
    raw: list[Json] = []
    for page in range(1, _MAX_PAGES + 1):
        document = await api.events(execution_id, page, _PAGE, on_behalf)
        listed = document.get("events")
        found = [event for event in listed if isinstance(event, Mapping)] if isinstance(listed, list) else []
        raw += found
        if len(found) < _PAGE:
            return in_order(raw, newest_first=True), True
    return in_order(raw, newest_first=True), False


async def cancel(api: NoetlApi, execution_id: str, reason: str | None, on_behalf: OnBehalf) -> ExecutionState:
    """Cancel an execution, and return its state. One that has ended stays as it is: the Python server would change it.

    Raises:
        NotFound: the execution does not exist.
    """
    state = await state_of(api, execution_id, on_behalf)
    if state.status in ENDED:
        return state
    await api.cancel(execution_id, reason, on_behalf)
    return await state_of(api, execution_id, on_behalf)


async def left_as_it_is(api: NoetlApi, execution_id: str, on_behalf: OnBehalf) -> dict[str, Any] | None:
    """Return the response to the cancellation of an execution that has ended, in the words of the Python server.

    Returns None if the request is to be forwarded: the execution has not ended, there is none, or the server is the
    Rust server, which leaves an ended execution as it is.
    """
    try:
        state = await state_of(api, execution_id, on_behalf)
    except NotFound:
        return None
    if state.status not in ENDED or api.known.dialect is not Dialect.PYTHON:
        return None
    return already_ended(execution_id, state.status)


def already_ended(execution_id: str, status: str) -> dict[str, Any]:
    """Return the response to the cancellation of an execution that ended with a status, as of the Python server."""
    message = f"Execution {execution_id} is already {status.upper()}"
    return {"status": "already_completed", "execution_id": execution_id, "cancelled_executions": [], "message": message}


async def rerun(
    api: NoetlApi,
    execution_id: str,
    path: str,
    variables: Mapping[str, Any],
    on_behalf: OnBehalf,
    *,
    same_version: bool = False,
) -> Start:
    """Start the playbook of an execution again, with the workload of its first start changed by `variables`.

    `same_version`: not the newest version of the playbook, but the one of the execution.

    Raises:
        NotFound: the execution does not exist.
        BadGateway: the server does not tell its workload.
    """
    detail = await api.detail(execution_id, on_behalf, _FIRST)
    workload = workload_of(detail, events_of(detail))
    if workload is None:
        events, _ = await _all_events(api, execution_id, on_behalf)
        workload = workload_of(detail, events)
    if workload is None:
        raise BadGateway("NoETL server does not tell the execution's workload", detail=f"rerun of {execution_id}")
    version = _version_of(detail) if same_version else None
    return await api.execute(path, {**workload, **variables}, "playbook", on_behalf, version)


def _version_of(detail: Json) -> Json | None:
    """Return the members that name the version of an execution in a start; None if its detail does not tell it.

    The Rust server ignores `version`, and takes a catalog id as a number.
    """
    version, catalog_id = detail.get("version"), detail.get("catalog_id")
    if dialect_of(detail) is Dialect.RUST:
        return {"catalog_id": catalog_id} if isinstance(catalog_id, int) else None
    return {"version": version} if isinstance(version, int) else None
