"""The rows `detail` and `events`: an execution of the Rust server as the Python server sends it. Pure.

The Rust server sends the newest 2,000 events with the detail, in no certain order; pages are made of these.
"""

from __future__ import annotations

from typing import Any

from proxy.http.json_elements import elements
from proxy.http.json_members import JsonObject, read_object
from proxy.noetl.bridge.listed import times_of, version_of
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer, Page, Wanted
from proxy.noetl.bridge.queries import least_id, parameters, query_of, whole_number
from proxy.noetl.bridge.requests import ChangedQuery
from proxy.noetl.bridge.text import json_of
from proxy.noetl.dialect import Dialect, dialect_of
from proxy.noetl.events import events_of
from proxy.noetl.executions import ENDED, ExecutionState, claimed, end_of, ended_state, running_state

_PAGE_SIZE = 100
_MAX_PAGE_SIZE = 500


def detail_query(dialect: Dialect | None, query: str, restricted: bool = False) -> ChangedQuery:
    """`GET /executions/{id}` and its events: return what the Rust server ignores; the query remains.

    The GUI rounds the id in `since_event_id`: it gets a few events too many rather than too few, from either server.
    """
    values = parameters(query)
    since = whole_number(values, "since_event_id", 0)
    if dialect is not Dialect.RUST:
        is_rounded = dialect is Dialect.PYTHON and least_id(since) != since
        return ChangedQuery(query_of({**values, "since_event_id": str(least_id(since))}) if is_rounded else query)
    size = min(max(1, whole_number(values, "page_size", _PAGE_SIZE)), _MAX_PAGE_SIZE)
    number = max(1, whole_number(values, "page", 1))
    return ChangedQuery(
        query,
        Wanted(
            page=Page((number - 1) * size, size),
            number=number,
            since=least_id(since),
            with_events=values.get("include_events", "true").lower() not in ("false", "0", "no"),
        ),
    )


def detail(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """`GET /executions/{id}`: add what the Rust server does not have; a page of events, the newest first."""
    document = read_object(answer.text)
    value = document.values
    if dialect_of(value) is not Dialect.RUST:
        return answer
    events, pagination = _page_of_events(request, document)
    state = _state(request.execution_id, value)
    more = {"result": state.result, "error": state.error, "pagination": pagination}
    added = {**times_of(value), **version_of(value, facts), **more}
    texts = {name: json_of(found) for name, found in added.items()}
    return answer._replace(text=document.edited({"events": events}, texts))


def events(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """`GET /executions/{id}/events`: made from the detail of the Rust server."""
    document = read_object(answer.text)
    if dialect_of(document.values) is not Dialect.RUST:
        return answer
    page, pagination = _page_of_events(request, document)
    kept = ((name, document.text_of(name) or "null") for name in ("execution_id", "path", "status"))
    members = (*kept, ("events", page), ("pagination", json_of(pagination)))
    return answer._replace(text="{" + ",".join(f"{json_of(name)}:{text}" for name, text in members) + "}")


def _state(execution_id: str, value: dict[str, Any]) -> ExecutionState:
    """Return the state of an execution of the Rust server from its detail, which has all that its status has."""
    status = {"status": str(value.get("status"))}
    found = events_of(value)
    end = end_of(status, value, found, all_of_them=True) if claimed(status) in ENDED else None
    if end is None:
        return running_state(execution_id, status, value, None)
    return ended_state(execution_id, status, value, found, end, None)


def _page_of_events(request: ClientRequest, document: JsonObject) -> tuple[str, dict[str, Any]]:
    """Return the text of a page of events, and what the Python server says about the page. Raises ValueError."""
    text = document.text_of("events") or "[]"
    found = [_Event(value, own) for value, own in elements(text.encode("utf-8", "surrogatepass"), None)]
    found.sort(key=lambda event: event.number, reverse=True)
    wanted = request.wanted
    found = [event for event in found if event.number > wanted.since]
    page = wanted.page or Page(0, _PAGE_SIZE)
    size = page.size or _PAGE_SIZE
    pages = max(1, -(-len(found) // size))
    shown = found[page.skip : page.skip + size] if wanted.with_events else []
    pagination = {
        "page": wanted.number,
        "page_size": size,
        "total_events": len(found),
        "total_pages": pages,
        "has_next": wanted.number < pages,
        "has_prev": wanted.number > 1,
    }
    return f"[{','.join(event.shown(request.execution_id) for event in shown)}]", pagination


class _Event:
    """An event, its text and its number. Raises ValueError for one without an id."""

    __slots__ = ("number", "text", "value")

    def __init__(self, value: Any, text: str) -> None:
        if not isinstance(value, dict) or not str(value.get("event_id")).isdecimal():
            raise ValueError("an event without an id")
        self.value = value
        self.text = text
        self.number = int(value["event_id"])

    def shown(self, execution_id: str) -> str:
        """Return the text with the members that the Python server has besides."""
        added = {
            "timestamp": self.value.get("created_at"),
            "node_id": self.value.get("node_name"),
            "execution_id": execution_id,
        }
        return read_object(self.text).edited({}, {name: json_of(found) for name, found in added.items()})
