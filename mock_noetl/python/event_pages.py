"""Pages of the events of an execution, as the Python server shows them."""

from __future__ import annotations

from typing import Any

from mock_noetl.python.web import BOOL, OPTIONAL_INT, PAGE, PAGE_SIZE, TEXT, Problems
from mock_noetl.values import iso
from mock_server.messages import Request


class EventPage:
    """What a request wants of the events."""

    def __init__(self, request: Request, *, with_events: bool) -> None:
        self.included, self._page, self._size, self._since, self._kind = True, 1, 100, None, None
        if "?" not in request.target:
            return
        problems = Problems()
        self._page = problems.query(request, "page", PAGE, 1)
        self._size = problems.query(request, "page_size", PAGE_SIZE, 100)
        self._since = problems.query(request, "since_event_id", OPTIONAL_INT, None)
        self._kind = problems.query(request, "event_type", TEXT, None)
        if with_events:
            self.included = problems.query(request, "include_events", BOOL, default=True)
        problems.check()

    def of(self, events: list[dict[str, Any]]) -> tuple[list[dict[str, Any]], dict[str, Any]]:
        """Return the events of the page, newest first, and its place among the others."""
        if self._since is not None:
            events = [event for event in events if event["event_id"] > self._since]
        if self._kind:
            events = [event for event in events if event["event_type"] == self._kind]
        total, page, size = len(events), self._page, self._size
        pages = max(1, -(-total // size))
        place = {"page": page, "page_size": size, "total_events": total, "total_pages": pages}
        place |= {"has_next": page < pages, "has_prev": page > 1}
        return events[::-1][(page - 1) * size : page * size], place


def typed(event: dict[str, Any], execution_id: str) -> dict[str, Any]:
    """Return an event as the detail shows it: ids are texts, but for its own."""
    at = iso(event["created_at"], "Z")
    return {
        **event,
        "execution_id": execution_id,
        "created_at": at,
        "timestamp": at,
        "catalog_id": _text(event["catalog_id"]),
        "parent_execution_id": _text(event["parent_execution_id"]),
        "parent_event_id": _text(event["parent_event_id"]),
    }


def _text(number: int | None) -> str | None:
    return None if number is None else str(number)


def plain(event: dict[str, Any], execution_id: str) -> dict[str, Any]:
    """Return an event as the list of events shows it: ids are numbers."""
    at = iso(event["created_at"])
    return {**event, "execution_id": execution_id, "created_at": at, "timestamp": at}
