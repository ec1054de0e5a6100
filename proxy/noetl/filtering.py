"""Lists of the NoETL API, reduced to what a user may view: for the relay, `proxyRequest` and GraphQL.

The text of each entry that remains is that of the server. A list that is not as expected is an error of the upstream:
what can't be read can't be filtered.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from typing import Any, NamedTuple

from proxy.errors import BadGateway
from proxy.http.header_plan import field_line
from proxy.http.json_elements import elements
from proxy.identity.principal import Principal
from proxy.noetl.authorize import Authorizer
from proxy.noetl.listings import is_id
from proxy.noetl.surface import Listing
from proxy.policy.acl import Action, Permits
from proxy.upstream.heads import RawHeaders, ResponseHead

MAX_LISTING = 64 * 1024**2
"""The largest list that is filtered, in bytes."""
_IN_THREAD = 64 * 1024
_IN_TURN = 256
_CONDITIONS = (b"accept-encoding:", b"if-", b"range:")
_WHOLE_LIST = field_line(b"accept-encoding", b"identity")
_OF_WHOLE_LIST = frozenset(
    {
        *(b"content-length", b"content-encoding", b"content-md5", b"content-digest", b"repr-digest", b"digest"),
        *(b"etag", b"last-modified", b"accept-ranges", b"content-range", b"cache-control", b"expires", b"age"),
    }
)


class Named(NamedTuple):
    """What decides whether an entry is shown: its playbook, and its id if it is an execution."""

    path: str | None
    execution_id: str | None = None


class Entry(NamedTuple):
    """An entry of a list, and its JSON text."""

    named: Named
    text: str


def viewable(permits: Permits, named: Iterable[Named]) -> frozenset[str]:
    """Return the playbooks that a user may view. Safe in a thread, as it caches nothing."""
    paths = {path for path, _ in named if path is not None}
    return frozenset(path for path in paths if permits.decides_playbook(Action.VIEW, path))


async def shown(authorizer: Authorizer, who: Principal, named: Sequence[Named], allowed: frozenset[str]) -> list[bool]:
    """Return for each entry whether the user may view it: by its playbook, or as the user who started it."""
    return [
        path in allowed or (execution_id is not None and await authorizer.started(who, execution_id))
        for path, execution_id in named
    ]


async def filtered(authorizer: Authorizer, who: Principal, listing: Listing, head: ResponseHead, data: bytes) -> bytes:
    """Return the body of a list with what the user may view.

    Raises:
        BadGateway: the list can't be filtered.
    """
    _check_head(head)
    if len(data) <= _IN_THREAD:
        entries = _entries(listing, data)
        named = [entry.named for entry in entries]
        allowed = viewable(who.permits, named)
        part = _written(listing, entries, await shown(authorizer, who, named, allowed))
        if listing is Listing.CATALOG or all(path in allowed for path, _ in named):
            authorizer.lists.put((who.permits, listing, data), part, len(data) + len(part))
        return part
    async with authorizer.slow:
        entries = await asyncio.to_thread(_entries, listing, data)
        named = [entry.named for entry in entries]
        allowed = await asyncio.to_thread(viewable, who.permits, named)
        flags: list[bool] = []
        for start in range(0, len(named), _IN_TURN):
            flags += await shown(authorizer, who, named[start : start + _IN_TURN], allowed)
            await asyncio.sleep(0)
        return await asyncio.to_thread(_written, listing, entries, flags)


def known_part(
    authorizer: Authorizer, who: Principal, listing: Listing, head: ResponseHead, data: bytes
) -> bytes | None:
    """Return what `filtered` returns, without waiting; None if the list has to be read.

    Clients poll the same small lists again and again. What a user may view of one depends on its bytes and on the rules
    for the user alone, unless executions are shown because the user started them: those lists are not kept.

    Raises:
        BadGateway: the list can't be filtered.
    """
    _check_head(head)
    return authorizer.lists[who.permits, listing, data] if len(data) <= _IN_THREAD else None


def _check_head(head: ResponseHead) -> None:
    codings = [value.strip().lower() for name, value in head.headers if name == b"content-encoding"]
    if head.status != 200 or any(coding != b"identity" for coding in codings):
        raise _unexpected(f"a list with status {head.status} and content-encoding {codings}")


def request_lines(lines: bytes) -> bytes:
    """Return the fields of a request for a list that is to be filtered: for the whole list, without a coding."""
    kept = (line for line in lines.splitlines(keepends=True) if not line.lower().startswith(_CONDITIONS))
    return b"".join(kept) + _WHOLE_LIST


def fields_of_part(fields: RawHeaders) -> RawHeaders:
    """Return the fields of a response without those that describe the whole list, or let it be stored."""
    return [(name, value) for name, value in fields if name not in _OF_WHOLE_LIST]


def _unexpected(detail: str) -> BadGateway:
    return BadGateway("NoETL server sent an unexpected response", detail=detail)


def _entries(listing: Listing, data: bytes) -> list[Entry]:
    """Return the entries of a list. They are parsed one by one, so that other threads get their turn."""
    try:
        found = elements(data, None if listing is Listing.EXECUTIONS else "entries")
        return [Entry(_named(listing, value), text) for value, text in found]
    except (ValueError, RecursionError):
        raise _unexpected("a list that is not as expected") from None


def _named(listing: Listing, value: Any) -> Named:
    """Return what an entry names. Raises ValueError."""
    if not isinstance(value, dict):
        raise ValueError("an entry that is not an object")
    path, execution_id = value.get("path"), value.get("execution_id")
    if listing is Listing.CATALOG:
        if not isinstance(path, str):
            raise ValueError("an entry without a path")
        return Named(path)
    if not is_id(execution_id):
        raise ValueError("an entry without an execution_id")
    return Named(path if isinstance(path, str) else None, str(execution_id))


def _written(listing: Listing, entries: list[Entry], flags: list[bool]) -> bytes:
    texts = ",".join(entry.text for entry, is_shown in zip(entries, flags, strict=True) if is_shown)
    text = f"[{texts}]" if listing is Listing.EXECUTIONS else f'{{"entries":[{texts}]}}'
    return text.encode("utf-8", "surrogatepass")
