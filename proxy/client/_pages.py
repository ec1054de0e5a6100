"""The client's lists as pages: the documents, how to parse a page, and what to request after it. Without I/O.

Private to `proxy.client`, whose two clients request the pages.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from datetime import datetime
from typing import Any, Generic, NamedTuple, TypeVar

from proxy.client._types import ExecutionEvent, ExecutionSummary, IncompleteList

T = TypeVar("T")

MAX_PAGE = 1000
"""The largest page that the gateway accepts."""
EXECUTIONS = (
    "query ListExecutions($path: String, $status: String, $first: Int!, $after: String) "
    "{ executions(path: $path, status: $status, first: $first, after: $after) "
    "{ executionId path status startTime endTime cursor } }"
)
EVENTS = (
    "query ListEvents($id: ID!, $first: Int!, $after: String) "
    "{ execution(id: $id) { events(first: $first, after: $after) { id type step status at result } } }"
)


class Page(NamedTuple, Generic[T]):
    """A page of a list.

    Args:
        entries: its entries.
        after: the argument `after` of the next page; None if there is none.
        is_incomplete: True if there are entries that the server does not list.
    """

    entries: tuple[T, ...]
    after: str | None
    is_incomplete: bool = False


class Paging:
    """The state of an iteration over pages. `after` is the argument `after` of the next page."""

    def __init__(self, after: str | None = None) -> None:
        self.after = after
        self._is_incomplete = False

    def advance(self, page: Page[Any]) -> bool:
        """Go to the page after this one, and return whether there is one.

        Raises:
            IncompleteList: there is none, and there are entries that the server does not list.
        """
        self._is_incomplete = self._is_incomplete or page.is_incomplete
        if page.after is None and self._is_incomplete:
            raise IncompleteList("There are more entries than the NoETL server lists")
        self.after = page.after
        return page.after is not None


def checked_size(page_size: int) -> int:
    """Return the size of a page. Raises ValueError for one that the gateway does not accept."""
    if not 1 <= page_size <= MAX_PAGE:
        raise ValueError(f"page_size must be from 1 to {MAX_PAGE}")
    return page_size


def executions_page(page_size: int) -> Callable[[Mapping[str, Any]], Page[ExecutionSummary]]:
    """Return how to parse a page of executions from the JSON of a response."""

    def read(content: Mapping[str, Any]) -> Page[ExecutionSummary]:
        listed = content["data"]["executions"]
        entries = tuple(_summary(entry) for entry in listed)
        if len(listed) >= page_size:
            return Page(entries, listed[-1]["cursor"])
        after = (content.get("extensions") or {}).get("cursor")
        return Page(entries, after, is_incomplete=after is None and _is_truncated(content))

    return read


def events_page(page_size: int) -> Callable[[Mapping[str, Any]], Page[ExecutionEvent]]:
    """Return how to parse a page of events from the JSON of a response."""

    def read(content: Mapping[str, Any]) -> Page[ExecutionEvent]:
        entries = tuple(_event(entry) for entry in content["data"]["execution"]["events"])
        return Page(entries, entries[-1].id if len(entries) >= page_size else None, _is_truncated(content))

    return read


def _is_truncated(content: Mapping[str, Any]) -> bool:
    return (content.get("extensions") or {}).get("truncated") is True


def _summary(data: Mapping[str, Any]) -> ExecutionSummary:
    start, end = _time(data.get("startTime")), _time(data.get("endTime"))
    return ExecutionSummary(str(data["executionId"]), data["status"], data.get("path"), start, end)


def _event(data: Mapping[str, Any]) -> ExecutionEvent:
    return ExecutionEvent(
        id=str(data["id"]),
        type=data["type"],
        step=data.get("step"),
        status=data.get("status"),
        at=_time(data.get("at")),
        result=data.get("result"),
    )


def _time(text: str | None) -> datetime | None:
    return None if text is None else datetime.fromisoformat(text)
