"""What goes upstream for a request, for each dialect that the server may have: for `noetl-edge explain`. Pure."""

from __future__ import annotations

from typing import NamedTuple

from proxy.http.json import write_json
from proxy.noetl.bridge.table import BridgedPath
from proxy.noetl.dialect import Dialect


class PlannedRequest(NamedTuple):
    """What goes upstream for a request.

    Args:
        dialects: the dialects of the servers that get it.
        requests: the methods and targets; none if the gateway makes the response without the server.
        own: the gateway makes the response, after these requests.
        body: how the body is changed; empty if it is not.
    """

    dialects: tuple[Dialect, ...]
    requests: tuple[str, ...]
    own: bool = False
    body: str = ""


def planned(
    found: BridgedPath, method: str, path: str, query: str, body: object, *, restricted: bool = False
) -> tuple[PlannedRequest, ...]:
    """Return what goes upstream for a request: one for both dialects, or one for each if they differ.

    Args:
        found: the row that names it, and its execution.
        method: its method.
        path: its upstream path, as without the bridge.
        query: its query, with its question mark or empty.
        body: its JSON body; None if it is not known.
        restricted: its user may not view everything, so that lists are filtered.
    """
    if found.row.own:
        calls = (call.replace("{id}", found.execution_id).replace(" ", " /api/", 1) for call in found.row.calls)
        return (PlannedRequest(tuple(Dialect), tuple(calls), own=True),)
    data = write_json(body) if body is not None else b""
    each = [_planned(found, dialect, method, path, query, data, restricted) for dialect in Dialect]
    if len({one._replace(dialects=()) for one in each}) == 1:
        return (each[0]._replace(dialects=tuple(Dialect)),)
    return tuple(each)


def _planned(
    found: BridgedPath, dialect: Dialect, method: str, path: str, query: str, body: bytes, restricted: bool
) -> PlannedRequest:
    row = found.row
    sent = row.query(dialect, query, restricted).query if row.query is not None else query
    target = f"{method} {found.path(path, dialect)}{sent}"
    changed = row.changed_body(body) if dialect is Dialect.RUST else None
    text = ""
    if changed is not None and changed.refusal:
        return PlannedRequest((dialect,), (), own=True)
    if changed is not None and changed.version is not None:
        text = f"the catalog_id of version {changed.version.version} instead of the path"
    elif changed is not None:
        text = changed.text
    return PlannedRequest((dialect,), (target,), body=text)
