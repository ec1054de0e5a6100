"""What goes upstream instead of a client's body: the members that the Rust server takes in one way only. Pure."""

from __future__ import annotations

from typing import Any, NamedTuple

from proxy.http.json import write_json
from proxy.http.json_members import read_object
from proxy.noetl.bridge.messages import Wanted
from proxy.noetl.needs import is_id

AGENT = "agent"


class Version(NamedTuple):
    """A version of a playbook, in digits, which the Rust server starts by its catalog id only."""

    path: str
    version: str


class ChangedBody(NamedTuple):
    """A body for the Rust server, what the client wants besides, and the version to start; see `started_by_id`.

    `refusal` is why the Rust server must not get the request; empty if it may.
    """

    text: str
    wanted: Wanted = Wanted()
    version: Version | None = None
    refusal: str = ""


class ChangedQuery(NamedTuple):
    """A query for the server, with its question mark or empty, and what the client wants besides."""

    query: str
    wanted: Wanted = Wanted()


def _edited(text: str, changed: dict[str, str]) -> str:
    return read_object(text).edited(changed, {}) if changed else text


def _written(value: Any) -> str:
    return write_json(value).decode()


def catalog_list(document: Any, text: str) -> ChangedBody:
    """`POST /catalog/list`: the Rust server has kinds in lower case, compares them exactly, and ignores `path`."""
    kind, path = document.get("resource_type"), document.get("path")
    lower = isinstance(kind, str) and kind != kind.lower()
    changed = {"resource_type": _written(str(kind).lower())} if lower else {}
    return ChangedBody(_edited(text, changed), Wanted(path=path if isinstance(path, str) else ""))


def agents_list(document: Any, text: str) -> ChangedBody:
    """`POST /catalog/agents/list`: a list of the kind `agent` for the Rust server, which has no such endpoint."""
    path = document.get("path")
    wanted = Wanted(path=path if isinstance(path, str) else "")
    return ChangedBody(_edited(text, {"resource_type": _written(AGENT)}), wanted)


def resource(document: Any, text: str) -> ChangedBody:
    """`POST /catalog/resource`: the Rust server takes `catalog_id` and `version` as texts."""
    numbers = (name for name in ("catalog_id", "version") if type(document.get(name)) is int)
    return ChangedBody(_edited(text, {name: f'"{document[name]}"' for name in numbers}))


def execute(document: Any, text: str) -> ChangedBody:
    """`POST /execute`: the Rust server takes `catalog_id` as a number, and ignores `version`.

    The digits of ids never go through a float.
    """
    found, path, version = document.get("catalog_id"), document.get("path"), document.get("version")
    if found is None and isinstance(path, str) and version is not None:
        digits = _digits(version)
        if not digits:
            return ChangedBody(text, refusal="version must be a whole number of at least 1")
        return ChangedBody(text, version=Version(path, digits))
    changed = {"catalog_id": str(int(found))} if isinstance(found, str) and is_id(found) else {}
    return ChangedBody(_edited(text, changed))


def _digits(version: Any) -> str:
    """Return the digits of a version that the Python server takes, in any of its forms; empty for another value."""
    whole = version.is_integer() if isinstance(version, float) else isinstance(version, int | str)
    text = str(int(version)) if whole and not isinstance(version, bool | str) else str(version).strip()
    return text.lstrip("0") if whole and is_id(text) else ""


def started_by_id(text: str, catalog_id: str) -> str:
    """Return the body of a start with the catalog id of its playbook's version instead of the path."""
    return _edited(text, {"path": "null", "catalog_id": str(int(catalog_id))})
