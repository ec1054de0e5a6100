"""Pages of the events of an execution, oldest first, from either server.

Both servers send the newest events first, or only these. The Rust server sends its newest 2000 with the detail. The
Python server counts pages from the newest event, so that events move to later pages while the execution runs: pages are
requested in ascending order, in which none can be missed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC
from typing import Any, NamedTuple

from proxy.errors import BadGateway, BadRequest
from proxy.http.json import read_json
from proxy.noetl.answers import unexpected
from proxy.noetl.api import NoetlApi
from proxy.noetl.bridge.text import json_of, with_text_ids
from proxy.noetl.bridge.times import parsed
from proxy.noetl.events import Event, event_number, in_order
from proxy.noetl.needs import MAX_ID
from proxy.noetl.on_behalf import OnBehalf

_SMALL_PAGE, _LARGE_PAGE = 100, 500
_MAX_PAGES = 10
_SENT_BY_RUST = 2000
_IN_THREAD = 64 * 1024
Json = Mapping[str, Any]


class ExecutionEvent(NamedTuple):
    """An event of an execution.

    Args:
        id: the id, as text.
        type: the type, in lower case, with a dot between its words on both servers.
        step: the step, or the playbook; None if the event belongs to none.
        status: the status, in lower case.
        at: the time, in RFC 3339, in UTC and with microseconds; None if the server sends no time.
        result: the result as sent, with ids as texts; an error if JSON can't express it.
    """

    id: str
    type: str
    step: str | None
    status: str | None
    at: str | None
    result: Any


class EventPage(NamedTuple):
    """A page of events, oldest first. `truncated`: there are older ones that the server no longer sends."""

    events: list[ExecutionEvent]
    truncated: bool


def number_of_cursor(cursor: str | None) -> int:
    """Return the number of the event whose id is a cursor; 0, which is before all events, for None.

    Raises:
        BadRequest: it is not the id of an event.
    """
    if cursor is None:
        return 0
    if not cursor.isascii() or not cursor.isdecimal() or len(cursor) > len(str(MAX_ID)):
        raise BadRequest("after must be the id of an event")
    number = int(cursor)
    if str(number) != cursor or number > MAX_ID:
        raise BadRequest("after must be the id of an event")
    return number


async def page_of_events(api: NoetlApi, execution_id: str, after: int, first: int, on_behalf: OnBehalf) -> EventPage:
    """Return the first events after an event.

    Args:
        api: the NoETL API.
        execution_id: the execution.
        after: the number of the event; 0 for the oldest events.
        first: how many events, at least 1.
        on_behalf: the user and the request for which they are requested.

    Raises:
        NotFound: the execution does not exist.
        BadGateway: new events come faster than they are read.
    """
    size = min(max(first, _SMALL_PAGE), _LARGE_PAGE)
    since = f"&since_event_id={after}" if after else ""
    before, details, following = on_behalf.received, list[Json](), 1
    for _ in range(_MAX_PAGES):
        number = following
        details.append(await api.detail(execution_id, on_behalf, f"page={number}&page_size={size}{since}"))
        following = next_page(details[-1], number, size, first)
        if not following:
            break
        if following > number + 1:
            details.clear()  # the pages between are not requested
    else:
        raise unexpected(f"execution {execution_id} has new events faster than they are read")
    if on_behalf.received - before <= _IN_THREAD:
        return oldest_of(details, after, first)
    return await api.in_thread(lambda: oldest_of(details, after, first))


def next_page(detail: Json, number: int, size: int, first: int) -> int:
    """Return the number of the next page that is needed for the oldest `first` events; 0 if there is none.

    Args:
        detail: the response with page `number`. The Rust server has no pages.
        number: counted from 1 for the newest events.
        size: the number of events of a page.
        first: how many events are needed.
    """
    pagination = detail.get("pagination")
    total = pagination.get("total_events") if isinstance(pagination, Mapping) else 0
    if not isinstance(total, int) or number * size >= total:
        return 0
    return max(number + 1, (total - first) // size + 1)


def oldest_of(details: Sequence[Json], after: int, first: int) -> EventPage:
    """Return the oldest `first` events after an event, from the details that have them. Pure."""
    by_number: dict[int, Json] = {}
    listed = 0
    for detail in details:
        raw = detail.get("events")
        found = [event for event in raw if isinstance(event, Mapping)] if isinstance(raw, list) else []
        listed += len(found)
        by_number |= {number: event for event in found if (number := event_number(event)) is not None}
    numbers = sorted(number for number in by_number if number > after)[:first]
    is_cut = len(details) == 1 and "pagination" not in details[0] and listed >= _SENT_BY_RUST
    events = in_order([by_number[number] for number in numbers], newest_first=False)
    return EventPage([_shown(event) for event in events], is_cut and after < min(by_number, default=0))


def _shown(event: Event) -> ExecutionEvent:
    data = event.data
    return ExecutionEvent(
        id=str(event_number(data)),
        type=event.kind,
        step=event.step or None,
        status=event.status if data.get("status") is not None else None,
        at=_time(event.at),
        result=_with_text_ids(data.get("result")),
    )


def _time(value: str | None) -> str | None:
    """Return a time of a server in one format: RFC 3339, in UTC, with microseconds; None for anything else."""
    found = parsed(value)
    try:
        return None if found is None else found.astimezone(UTC).isoformat(timespec="microseconds")
    except OverflowError:
        return None


def _with_text_ids(value: Any) -> Any:
    """Return a JSON value with ids as texts, as the bridge writes them; an error for one that JSON can't express."""
    try:
        text = json_of(value)
        return read_json(with_text_ids(text).encode()) if isinstance(value, dict | list) else value
    except (ValueError, TypeError, RecursionError):
        return BadGateway("A value can't be written as JSON")
