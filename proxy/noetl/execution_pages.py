"""Pages of the list of executions that a user may view, on either server, which go on after a cursor.

The servers list the executions with the latest start first, and count pages from there. New executions move the others
down, so a cursor is the last execution of a page and the page of the server that it was on: from there it is searched.
"""

from __future__ import annotations

import binascii
import re
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from dataclasses import replace
from typing import NamedTuple

from proxy.errors import BadRequest
from proxy.identity.principal import Principal
from proxy.noetl.api import PAGE_SIZE, NoetlApi
from proxy.noetl.authorize import Authorizer
from proxy.noetl.filtering import Named, shown, viewable
from proxy.noetl.listings import ExecutionSummary
from proxy.noetl.needs import MAX_ID
from proxy.noetl.on_behalf import OnBehalf

_MAX_PAGES = 50
"""How many pages of the server are searched for one page of a client."""
_SMALL_PAGE = 100
_CURSOR = re.compile(r"1:(0|[1-9][0-9]{0,18}):(0|[1-9][0-9]{0,4})")
_SAME_MOMENT = 2**22 - 1
"""The bits of an id that do not depend on its time."""


class Cursor(NamedTuple):
    """A place in the list of executions: after an execution, which was on a page of `PAGE_SIZE` counted from 0."""

    number: int
    page: int

    def text(self) -> str:
        """Return the cursor as clients get it."""
        return urlsafe_b64encode(f"1:{self.number}:{self.page}".encode()).decode().rstrip("=")


def read_cursor(text: str) -> Cursor:
    """Return the cursor that a client has sent.

    Raises:
        BadRequest: it is not a cursor.
    """
    try:
        found = _CURSOR.fullmatch(urlsafe_b64decode(text + "=" * (-len(text) % 4)).decode("ascii"))
    except (binascii.Error, ValueError):
        found = None
    cursor = Cursor(int(found[1]), int(found[2])) if found is not None else None
    if cursor is None or cursor.number > MAX_ID or cursor.text() != text:
        raise BadRequest("after must be the cursor of an execution")
    return cursor


class WantedExecutions(NamedTuple):
    """What a user wants of the list of executions.

    Args:
        path: only executions of this playbook; None for all.
        status: only executions with this status, in any case; None for all.
        first: how many executions.
        after: where the page begins; None for the beginning of the list.
    """

    path: str | None
    status: str | None
    first: int
    after: Cursor | None = None


class Listed(NamedTuple):
    """An execution of the list, and its place in the list of the server, counted from 0."""

    summary: ExecutionSummary
    place: int

    @property
    def number(self) -> int:
        """The number that the id is; 0 for a text that is no number."""
        return int(self.summary.execution_id) if self.summary.execution_id.isdecimal() else 0

    @property
    def cursor(self) -> str:
        """The cursor of what follows the execution."""
        return Cursor(self.number, self.place // PAGE_SIZE).text()


class ExecutionPage(NamedTuple):
    """A page of the list.

    Args:
        executions: the executions, newest first.
        truncated: there may be more that fit.
        cursor: where the search goes on, if it has ended before the list; None if the server lists no more.
    """

    executions: list[Listed]
    truncated: bool = False
    cursor: str | None = None


class PartAfterCursor:
    """The part of the list after a cursor, from the pages of the server as they come. Pure.

    An execution that has the cursor's id ends the part before. If it is not listed any more, those with a lower id
    follow: ids grow with time. It may come on the next page all the same, since the servers sort by the start.
    """

    def __init__(self, cursor: Cursor | None) -> None:
        self._number = cursor.number if cursor is not None else 0
        self._is_passed = cursor is None
        self._held: list[Listed] = []

    def is_before(self, page: Sequence[Listed]) -> bool:
        """Return whether the cursor is before the first page that was requested: the list has become shorter."""
        return not self._is_passed and all(entry.number < self._number for entry in page)

    def select(self, page: Sequence[Listed], *, is_last: bool) -> list[Listed]:
        """Return the executions after the cursor that are known with this page."""
        if self._is_passed:
            return list(page)
        for index, entry in enumerate(page):
            if entry.number == self._number:
                self._is_passed = True
                return list(page[index + 1 :])
        older = [entry for entry in page if entry.number < self._number]
        if not self._held and not is_last:
            self._held = older
            return []
        self._is_passed = True
        return [*self._held, *older]


class _Search:
    """The pages of the server, each execution once, from the page of a cursor on."""

    def __init__(self, api: NoetlApi, wanted: WantedExecutions, on_behalf: OnBehalf) -> None:
        self._api = api
        self._on_behalf = on_behalf
        is_small = (wanted.path, wanted.status, wanted.after) == (None, None, None) and wanted.first <= _SMALL_PAGE
        self._size = _SMALL_PAGE if is_small else PAGE_SIZE
        self._page = wanted.after.page if wanted.after is not None else 0
        self._skip = self._page * PAGE_SIZE
        self._following = PartAfterCursor(wanted.after)
        self._seen: set[str] = set()
        self.last: Listed | None = None
        self.has_ended = False

    async def request_page(self) -> list[Listed] | None:
        """Request the next page; return its executions after the cursor, or None if the server has no page so deep."""
        summaries = await self._api.executions(self._page, self._size, self._skip, self._on_behalf)
        if summaries is None:
            return None
        listed = [Listed(summary, place) for place, summary in enumerate(summaries, self._skip)]
        if self._page and self.last is None and self._following.is_before(listed):
            self._page = self._skip = 0
            return []
        fresh = [entry for entry in listed if entry.summary.execution_id not in self._seen]
        self._seen.update(entry.summary.execution_id for entry in fresh)
        self._page += 1
        self._skip += len(listed)
        self.has_ended = not fresh
        self.last = fresh[-1] if fresh else self.last
        return self._following.select(fresh, is_last=self.has_ended)


async def page_of_executions(
    api: NoetlApi, authorizer: Authorizer, who: Principal, wanted: WantedExecutions, on_behalf: OnBehalf
) -> ExecutionPage:
    """Return a page of the executions that a user may view. At most 50 pages of the server are requested for it.

    Raises:
        GatewayError: the server can't be reached, or sends no list.
    """
    search = _Search(api, wanted, on_behalf)
    found: list[Listed] = []
    for _ in range(_MAX_PAGES):
        page = await search.request_page()
        if page is None:
            return ExecutionPage(found, truncated=True)
        known = [entry._replace(summary=_with_known_end(api, entry.summary, on_behalf)) for entry in page]
        fitting = [entry for entry in known if _fits(entry.summary, wanted)]
        named = [Named(entry.summary.path, entry.summary.execution_id) for entry in fitting]
        flags = await shown(authorizer, who, named, viewable(who.permits, named))
        found += [entry for entry, is_shown in zip(fitting, flags, strict=True) if is_shown]
        if len(found) >= wanted.first or search.has_ended:
            return ExecutionPage(found[: wanted.first])
    return ExecutionPage(found, truncated=True, cursor=_end_of_search(search.last, found, wanted.after))


def _with_known_end(api: NoetlApi, item: ExecutionSummary, on_behalf: OnBehalf) -> ExecutionSummary:
    """Return an entry of the list of executions with its true end, if that is known."""
    ended = api.known.ended[item.execution_id, on_behalf.identity]
    return item if ended is None else replace(item, status=ended.status, end_time=ended.end_time)


def _fits(item: ExecutionSummary, wanted: WantedExecutions) -> bool:
    return wanted.path in (None, item.path) and (wanted.status is None or item.status == wanted.status.lower())


def _end_of_search(last: Listed | None, found: Sequence[Listed], after: Cursor | None) -> str | None:
    """Return the cursor at which a search goes on. It does not have the id of an execution that is not shown.

    A page before the last one is named: the last execution may be the first of its page.
    """
    if last is None:
        return None
    newest = found[-1].number if found else after.number if after is not None else MAX_ID
    return Cursor(min(last.number | _SAME_MOMENT, newest), max(0, last.place // PAGE_SIZE - 1)).text()
