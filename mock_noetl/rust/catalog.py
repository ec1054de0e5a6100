"""The catalog: registration, lists, single entries, forms of workloads; and subscriptions, which are made from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from mock_noetl.catalog import KINDS, Entry
from mock_noetl.errors import FullError, PlaybookError
from mock_noetl.routes import Names
from mock_noetl.rust import shapes
from mock_noetl.rust.documents import check_subscription, decoded, loaded, member, path_of
from mock_noetl.rust.web import Query, Refused, answer, body, database, invalid, not_found, path_id, path_text, stored
from mock_noetl.state import State
from mock_noetl.ui_schema import fields_of
from mock_noetl.values import iso
from mock_server.messages import Request, Response

_UI = "/ui_schema"
MAX_VERSION = 32_767
MAX_SUBSCRIPTIONS = 10_000
_FROM = {
    "activate": ("activated", "ACTIVE", ("REGISTERED", "PAUSED", "DEACTIVATED", "ACTIVE")),
    "pause": ("paused", "PAUSED", ("ACTIVE", "PAUSED")),
    "resume": ("resumed", "ACTIVE", ("PAUSED", "ACTIVE")),
    "drain": ("draining", "DRAINING", ("ACTIVE", "PAUSED", "DRAINING")),
    "deactivate": ("deactivated", "DEACTIVATED", ("REGISTERED", "ACTIVE", "PAUSED", "DRAINING", "DEACTIVATED")),
}


@dataclass(slots=True)
class Subscription:
    """A subscription."""

    subscription_id: int
    path: str
    catalog_id: int
    state: str
    event: str
    updated: float

    def data(self) -> dict[str, Any]:
        """Return it as the server shows it."""
        return {
            "subscription_id": str(self.subscription_id), "path": self.path, "catalog_id": str(self.catalog_id),
            "state": self.state, "last_event_type": f"subscription.{self.event}", "updated_at": iso(self.updated),
        }  # fmt: skip


class CatalogEndpoints:
    """The endpoints of the catalog and of subscriptions."""

    def __init__(self, state: State) -> None:
        self._state = state
        self._subscriptions: dict[int, Subscription] = {}

    def clear(self) -> None:
        """Forget the subscriptions."""
        self._subscriptions.clear()

    def register(self, request: Request, names: Names) -> Response:
        """Register a resource."""
        wanted = body(request, shapes.REGISTER)
        content = decoded(wanted["content"])
        document = loaded(content)
        path = path_of(document)
        declared = member(document, "kind")
        kind = (declared if isinstance(declared, str) else wanted["resource_type"]).lower()
        if kind == "subscription":
            check_subscription(document)
        if kind not in KINDS:
            raise database('insert or update on table "catalog" violates foreign key constraint "catalog_kind_fkey"')
        self._check_steps(document)
        stored(path)
        try:
            entry = self._state.catalog.add(path, kind, content, document)
        except (PlaybookError, FullError) as error:
            raise invalid(str(error)) from None
        message = f"Resource '{path}' version '{entry.version}' registered."
        return answer({
            "status": "success", "message": message, "path": path, "version": entry.version,
            "catalog_id": str(entry.catalog_id), "kind": kind,
        })  # fmt: skip

    def _check_steps(self, document: Any) -> None:
        """Raise Refused for code that this server was told not to run."""
        tools = [member(step, "tool") for step in member(document, "workflow") or ()]
        if not self._state.settings.python_steps and any(member(tool, "kind") == "python" for tool in tools):
            raise invalid("this sandbox was started with --no-python-steps: it runs no code")

    def listed(self, request: Request, names: Names) -> Response:
        """Return the entries of a kind, newest first."""
        kind = body(request, shapes.CATALOG_LIST)["resource_type"]
        stored(kind)
        entries = self._state.catalog.newest_first()
        return answer({"entries": [shown(entry) for entry in entries if kind in (None, entry.kind)]})

    def resource(self, request: Request, names: Names) -> Response:
        """Return one entry."""
        wanted = body(request, shapes.CATALOG_ENTRY)
        catalog_id = wanted["catalog_id"]
        if catalog_id is None:
            return answer(shown(self._entry(wanted["path"], wanted["version"])))
        number = _integer(catalog_id, 2**63)
        if number is None:
            raise invalid("Invalid catalog_id")
        entry = self._state.catalog.by_id.get(number)
        if entry is None:
            raise not_found(f"Catalog entry '{catalog_id}' not found")
        return answer(shown(entry))

    def _entry(self, path: str | None, version: str | None) -> Entry:
        if path is None:
            raise invalid("Either 'catalog_id' or 'path' must be provided")
        number = None
        if version not in (None, "latest"):
            number = _integer(str(version), MAX_VERSION + 1)
            if number is None:
                raise invalid("Invalid version number")
        stored(path)
        entry = self._state.catalog.find(path, number)
        if entry is None:
            which = f" version {number}" if number is not None else ""
            raise not_found(f"Catalog entry '{path}'{which} not found")
        return entry

    def ui_schema(self, request: Request, tail: str) -> Response:
        """Return the form of a workload; `tail` is the path after the catalog's."""
        tail = path_text("tail", tail)
        version = Query(request, ("version",)).text("version")
        if not tail.endswith(_UI):
            raise not_found(f"no route matched GET /api/catalog/{tail}")
        path = tail.removesuffix(_UI)
        if not path:
            raise invalid("ui_schema path must not be empty")
        entry = self._entry(path, version or "latest")
        metadata = entry.metadata
        return answer({
            "path": entry.path, "version": entry.version, "kind": entry.kind, "title": _text(metadata.get("name")),
            "description_markdown": _text(metadata.get("description")),
            "exposed_in_ui": metadata.get("exposed_in_ui") is True,
            "fields": fields_of(entry.content, entry.document.get("workload")),
            "generated_at": iso(self._state.clock.now(), "Z"),
        })  # fmt: skip

    # Subscriptions

    def subscriptions(self, request: Request, names: Names) -> Response:
        """Return the subscriptions."""
        return answer({"subscriptions": [item.data() for item in self._subscriptions.values()]})

    def subscribe(self, request: Request, names: Names) -> Response:
        """Register a subscription; one that is there is returned."""
        path = body(request, shapes.SUBSCRIBE)["path"]
        entry = self._state.catalog.find(path)
        if entry is None:
            raise not_found(f"Subscription not found: {path}")
        if entry.kind != "subscription":
            raise invalid(f"Catalog entry '{path}' is kind '{entry.kind}', not 'subscription'")
        of_path = (item for item in self._subscriptions.values() if item.path == path)
        known = next((item for item in of_path if item.state != "DEACTIVATED"), None)
        if known is None:
            if len(self._subscriptions) >= MAX_SUBSCRIPTIONS:
                raise Refused(503, "Too many subscriptions")
            identity, now = self._state.ids.next(), self._state.clock.now()
            known = Subscription(identity, path, entry.catalog_id, "REGISTERED", "registered", now)
            self._subscriptions[identity] = known
        return answer(known.data())

    def subscription(self, request: Request, names: Names) -> Response:
        """Return a subscription."""
        return answer(self._subscription(path_id("id", names["id"])).data())

    def _subscription(self, identity: int) -> Subscription:
        found = self._subscriptions.get(identity)
        if found is None:
            raise not_found(f"Subscription {identity} not registered")
        return found

    def change(self, request: Request, names: Names) -> Response:
        """Change the state of a subscription."""
        identity, action = path_id("id", names["id"], 0), path_text("action", names["action"])
        if action not in _FROM:
            raise invalid(f"Unknown subscription action '{action}'")
        event, state, allowed = _FROM[action]
        found = self._subscription(identity)
        if found.state not in allowed:
            known = ", ".join(f'"{name}"' for name in allowed)
            raise invalid(f"Cannot '{action}' a subscription in state '{found.state}' (allowed from [{known}])")
        found.state, found.event, found.updated = state, event, self._state.clock.now()
        return answer(found.data())


def shown(entry: Entry) -> dict[str, Any]:
    """Return an entry as the server shows it."""
    return {
        "catalog_id": str(entry.catalog_id), "path": entry.path, "kind": entry.kind, "version": entry.version,
        "content": entry.content, "layout": entry.document.get("workflow"), "payload": entry.document.get("workload"),
        "meta": entry.metadata.get("labels"), "created_at": iso(entry.created, "Z"),
    }  # fmt: skip


def _integer(text: str, bound: int) -> int | None:
    digits = text[1:] if text[:1] in ("-", "+") else text
    if not (digits.isascii() and digits.isdigit()) or len(digits) > 20:
        return None
    number = int(text)
    return number if -bound <= number < bound else None


def _text(value: Any) -> str | None:
    return value if isinstance(value, str) else None
