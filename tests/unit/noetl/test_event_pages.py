"""Pages of events: which pages of a server are needed, and what is made of them."""

from __future__ import annotations

from typing import Any

import pytest

from proxy.errors import BadRequest
from proxy.noetl.event_pages import next_page, number_of_cursor, oldest_of

ID = 412345678901234567


def event(number: int, **more: Any) -> dict[str, Any]:
    return {"event_id": number, "event_type": "step.enter", **more}


@pytest.mark.parametrize(("cursor", "number"), [(None, 0), ("0", 0), (str(ID), ID), (str(2**63 - 1), 2**63 - 1)])
def test_cursor_is_the_id_of_an_event(cursor: str | None, number: int) -> None:
    assert number_of_cursor(cursor) == number


@pytest.mark.parametrize("cursor", ["", "x", "-1", "+1", " 1", "01", "1.0", "٣", str(2**63), "1" * 5000])
def test_anything_else_is_bad_request(cursor: str) -> None:
    with pytest.raises(BadRequest, match="after must be the id of an event"):
        number_of_cursor(cursor)


@pytest.mark.parametrize(
    ("total", "number", "size", "first", "expected"),
    [
        (0, 1, 100, 100, 0),
        (100, 1, 100, 100, 0),
        (101, 1, 100, 100, 2),
        (101, 1, 100, 1, 2),
        (950, 1, 100, 60, 9),
        (950, 9, 100, 60, 10),
        (950, 10, 100, 60, 0),
        (1001, 10, 100, 60, 11),
        (2000, 1, 500, 1000, 3),
        (2400, 3, 500, 1000, 4),
    ],
)
def test_pages_are_requested_from_the_one_with_the_newest_needed_event(
    total: int, number: int, size: int, first: int, expected: int
) -> None:
    assert next_page({"pagination": {"total_events": total}}, number, size, first) == expected


@pytest.mark.parametrize(
    "detail", [{}, {"pagination": None}, {"pagination": {}}, {"pagination": {"total_events": "9"}}]
)
def test_server_without_pages_gets_one_request(detail: dict[str, Any]) -> None:
    assert next_page(detail, 1, 100, 100) == 0


def test_events_are_sorted_by_their_ids_each_once() -> None:
    first, second = {"events": [event(ID + 3), event(ID + 1)]}, {"events": [event(ID + 1), event(ID), event(ID + 2)]}
    assert [item.id for item in oldest_of([first, second], ID, 2).events] == [str(ID + 1), str(ID + 2)]


def test_ids_may_be_texts_and_what_has_none_is_left_out() -> None:
    detail = {"events": [event(5, event_id=str(ID)), {"event_type": "x"}, event(5, event_id=1.5), None, "x", event(7)]}
    assert [item.id for item in oldest_of([detail], 0, 10).events] == ["7", str(ID)]
    assert oldest_of([{"events": None}], 0, 10).events == []


@pytest.mark.parametrize(
    ("sent", "at"),
    [
        ("2026-11-26T10:38:39Z", "2026-11-26T10:38:39.000000+00:00"),
        ("2026-11-26T10:38:39.412579Z", "2026-11-26T10:38:39.412579+00:00"),
        ("2026-11-26T12:38:39.4+02:00", "2026-11-26T10:38:39.400000+00:00"),
        ("2026-11-26 10:38:39", "2026-11-26T10:38:39.000000+00:00"),
        ("0001-01-01T00:00:00+14:00", None),
        ("yesterday", None),
        (None, None),
        (5, None),
    ],
)
def test_time_is_in_one_format(sent: Any, at: str | None) -> None:
    assert oldest_of([{"events": [event(1, created_at=sent)]}], 0, 1).events[0].at == at


def test_members_are_spelled_as_on_either_server() -> None:
    rust = event(1, event_type="playbook_started", node_name="", status="STARTED")
    python = event(2, event_type="call.done", node_name="a:task_sequence")
    first, second = oldest_of([{"events": [rust, python]}], 0, 2).events
    assert (first.type, first.step, first.status) == ("playbook.started", None, "started")
    assert (second.type, second.step, second.status) == ("call.done", "a", None)


def test_ids_in_results_are_texts_digit_for_digit() -> None:
    result = {"execution_id": ID, "event_ids": [ID], "rows": [{"parent_execution_id": ID, "number": ID}]}
    (found,) = oldest_of([{"events": [event(1, result=result)]}], 0, 1).events
    text = str(ID)
    rows = [{"parent_execution_id": text, "number": ID}]
    assert found.result == {"execution_id": text, "event_ids": [text], "rows": rows}


@pytest.mark.parametrize(
    ("count", "after", "truncated"), [(2000, 0, True), (2000, 99, True), (2000, 100, False), (1999, 0, False)]
)
def test_server_that_sends_only_the_newest_events_is_reported(count: int, after: int, truncated: bool) -> None:
    detail = {"events": [event(100 + number) for number in range(count)]}
    assert oldest_of([detail], after, 5).truncated is truncated
    assert not oldest_of([{**detail, "pagination": {}}], after, 5).truncated
