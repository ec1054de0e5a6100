"""The part of a list of executions after a cursor, from the pages of a server."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from proxy.errors import BadRequest
from proxy.noetl.execution_pages import Cursor, Listed, PartAfterCursor, read_cursor
from proxy.noetl.listings import ExecutionSummary


def listed(*numbers: int) -> list[Listed]:
    """Return a page of executions with these ids."""
    return [Listed(ExecutionSummary(str(n), "x", "running", None, None), place) for place, n in enumerate(numbers)]


def numbers(entries: list[Listed]) -> list[int]:
    return [entry.number for entry in entries]


@given(st.integers(0, 2**63 - 1), st.integers(0, 99_999))
def test_cursor_is_read_as_it_was_written(number: int, page: int) -> None:
    assert read_cursor(Cursor(number, page).text()) == Cursor(number, page)


@given(st.text(max_size=40))
def test_any_other_text_is_bad_request(text: str) -> None:
    with pytest.raises(BadRequest, match="after must be the cursor of an execution"):
        read_cursor(text)


def test_cursor_of_a_listed_execution_tells_the_page_of_the_server() -> None:
    entry = Listed(ExecutionSummary("412345678901234567", "x", "running", None, None), 399)
    assert read_cursor(entry.cursor) == Cursor(412345678901234567, 1)


def test_without_a_cursor_everything_follows() -> None:
    following = PartAfterCursor(None)
    assert not following.is_before(listed())
    assert numbers(following.select(listed(3, 2), is_last=False)) == [3, 2]


@pytest.mark.parametrize(
    ("cursor", "pages", "expected"),
    [
        (7, [(9, 8, 7, 6), (5,)], [[6], [5]]),
        (7, [(9, 8), (7,), (6,)], [[], [], [6]]),
        (7, [(9, 6, 5), (4, 3)], [[], [6, 5, 4, 3]]),
        (7, [(9, 6, 8), (7, 5)], [[], [5]]),
        (7, [(6, 7, 8, 5)], [[8, 5]]),
        (7, [(9, 8), (6, 5), (4,), (3,)], [[], [], [6, 5, 4], [3]]),
    ],
    ids=["in a page", "at its end", "gone", "on the next page", "older before it", "gone between pages"],
)
def test_executions_after_a_cursor(cursor: int, pages: list[tuple[int, ...]], expected: list[list[int]]) -> None:
    following = PartAfterCursor(Cursor(cursor, 0))
    assert [numbers(following.select(listed(*page), is_last=False)) for page in pages] == expected


def test_executions_that_were_held_follow_at_the_end_of_the_list() -> None:
    following = PartAfterCursor(Cursor(7, 0))
    assert following.select(listed(9, 6), is_last=False) == []
    assert numbers(following.select([], is_last=True)) == [6]


@pytest.mark.parametrize(("page", "is_before"), [((), True), ((6, 5), True), ((8, 6), False), ((7,), False)])
def test_list_has_become_shorter_if_its_page_begins_after_the_cursor(page: tuple[int, ...], is_before: bool) -> None:
    assert PartAfterCursor(Cursor(7, 3)).is_before(listed(*page)) is is_before
