"""The row `list`: the list of executions with the members and the parameters of both servers. Pure."""

from __future__ import annotations

from typing import Any

from proxy.http.json_elements import elements
from proxy.http.json_members import read_object
from proxy.noetl.bridge.messages import ClientRequest, Facts, JsonAnswer, Page, Wanted
from proxy.noetl.bridge.queries import parameters, query_of, whole_number
from proxy.noetl.bridge.requests import ChangedQuery
from proxy.noetl.bridge.text import json_of
from proxy.noetl.bridge.times import for_people, seconds_between
from proxy.noetl.dialect import Dialect, dialect_of
from proxy.noetl.executions import ENDED, normal_status
from proxy.noetl.needs import is_id

_MOST_OF_RUST = 100
"""The most executions that the Rust server sends at once: so many are searched for those of one playbook."""
_SCANNED_OF_PYTHON = 200
"""The same of the Python server, which sends no more at once."""
_PAGE_SIZE = 50


def executions_query(dialect: Dialect | None, query: str, restricted: bool = False) -> ChangedQuery:
    """`GET /executions`: return the query that the server understands, and what it does not do.

    `restricted`: the list is filtered for its user, so that its pages are made after that.
    """
    values = parameters(query)
    if dialect is Dialect.RUST:
        return _for_rust(query, values, restricted)
    ours = ("path", "status", "limit", "offset", *(("page", "page_size") if restricted else ()))
    if dialect is Dialect.PYTHON and not values.keys().isdisjoint(ours):
        return _for_python(values)
    return ChangedQuery(query)


def _for_rust(query: str, values: dict[str, str], restricted: bool) -> ChangedQuery:
    """The Rust server has `limit` and `offset`, applies them before `path`, and has `status` in capitals."""
    sent = {name: value for name, value in values.items() if name not in ("page", "page_size")}
    if "status" in sent:
        sent["status"] = sent["status"].upper()
    page = _page_of(values)
    if values.get("path") or (restricted and page != Page()):
        sent |= {"limit": str(_MOST_OF_RUST), "offset": "0"}
        return ChangedQuery(query_of(sent), Wanted(path=values.get("path", ""), page=page))
    if not {"page", "page_size"}.isdisjoint(values) and {"limit", "offset"}.isdisjoint(values):
        size = min(page.size or _PAGE_SIZE, _MOST_OF_RUST)  # so that no execution is between two pages
        sent |= {"limit": str(size), "offset": str((max(1, whole_number(values, "page", 1)) - 1) * size)}
    return ChangedQuery(query_of(sent) if sent != values else query)


def _for_python(values: dict[str, str]) -> ChangedQuery:
    """The Python server has `page` and `page_size` only: the newest executions are searched."""
    ours = ("path", "status", "limit", "offset", "page", "page_size")
    sent = {name: value for name, value in values.items() if name not in ours}
    sent |= {"page": "1", "page_size": str(_SCANNED_OF_PYTHON)}
    wanted = Wanted(path=values.get("path", ""), status=values.get("status", "").lower(), page=_page_of(values))
    return ChangedQuery(query_of(sent), wanted)


def _page_of(values: dict[str, str]) -> Page:
    """Return the part of a list that a query names, in the parameters of either server."""
    if "limit" in values or "offset" in values:
        size = whole_number(values, "limit", -1)
        return Page(whole_number(values, "offset", 0), None if size < 0 else size)
    if "page" in values or "page_size" in values:
        size = max(1, whole_number(values, "page_size", _PAGE_SIZE))
        return Page((max(1, whole_number(values, "page", 1)) - 1) * size, size)
    return Page()


def executions(request: ClientRequest, answer: JsonAnswer, facts: Facts) -> JsonAnswer:
    """`GET /executions`: the wanted executions, with the members of the Python server."""
    wanted = request.wanted
    found = []
    total = 0
    for value, text in elements(answer.text.encode("utf-8", "surrogatepass"), None):
        if not isinstance(value, dict):
            raise ValueError("an execution that is not an object")
        total += 1
        if _is_wanted(value, wanted):
            found.append((value, text))
    if wanted.page is not None:
        end = None if wanted.page.size is None else wanted.page.skip + wanted.page.size
        found = found[wanted.page.skip : end]
    texts = [_with_more(value, text, facts) for value, text in found]
    if len(texts) == total and all(text is before for text, (_, before) in zip(texts, found, strict=True)):
        return answer
    return answer._replace(text=f"[{','.join(texts)}]")


def _is_wanted(value: dict[str, Any], wanted: Wanted) -> bool:
    if wanted.path and wanted.path.lower() not in str(value.get("path")).lower():
        return False
    return not wanted.status or str(value.get("status")).lower() == wanted.status


def _with_more(value: dict[str, Any], text: str, facts: Facts) -> str:
    """Return the text of an execution of the Rust server with its version, and times as the Python server has them."""
    if "start_time" in value or dialect_of(value) is not Dialect.RUST:
        return text
    added = {**times_of(value), **version_of(value, facts)}
    return read_object(text).edited({}, {name: json_of(found) for name, found in added.items()})


def version_of(value: dict[str, Any], facts: Facts) -> dict[str, int]:
    """Return the member with the version of an execution of the Rust server, which names its catalog id only.

    Empty if the version is not known, or if the entry of the catalog does not exist any more.
    """
    catalog_id = value.get("catalog_id")
    version = facts.version_of(str(catalog_id)) if is_id(catalog_id) else None
    return {"version": version} if version else {}


def times_of(value: dict[str, Any]) -> dict[str, Any]:
    """Return the times of an execution of the Rust server, which names an end also while it runs."""
    ended = normal_status(value.get("status")) in ENDED
    start, end = value.get("started_at"), value.get("completed_at") if ended else None
    seconds = seconds_between(start, end)
    return {
        "start_time": start,
        "end_time": end,
        "duration_seconds": seconds,
        "duration_human": for_people(seconds),
        "progress": 100 if ended else 0,
    }
