"""The NoETL API as typed calls, for both dialects, which are recognized by their responses."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from typing import Any, NamedTuple, TypeVar

from proxy.errors import NotFound
from proxy.http.header_plan import text_lines
from proxy.http.json import read_json
from proxy.noetl.answers import checked_id, document_of, error_of, json_body, unexpected
from proxy.noetl.dialect import Dialect, dialect_of
from proxy.noetl.executions import normal_status
from proxy.noetl.known_facts import KnownFacts
from proxy.noetl.large_answers import beginning, leading_members
from proxy.noetl.listings import (
    CatalogEntry,
    ExecutionSummary,
    about_of,
    catalog_entry,
    content_to_read,
    execution_page,
    is_duplicate,
    is_id,
    newest_entries,
    started_ids,
)
from proxy.noetl.on_behalf import OnBehalf
from proxy.upstream.client import OutgoingRequest, UpstreamClient
from proxy.upstream.response import TooLarge
from proxy.upstream.retry import RetryState

MAX_ANSWER = 16 * 1024**2
MAX_LIST = 64 * 1024**2
"""The largest list of the catalog or of executions, in bytes."""
HEALTH, PAGE_SIZE = "/api/health", 200
"""The path of the health, and how many executions a page has: the most that the Python server sends."""
_ACCEPT = text_lines([("accept", "application/json")])
_ACCEPT_AND_SEND = _ACCEPT + text_lines([("content-type", "application/json")])
_IN_THREAD = 64 * 1024
Answer = tuple[int, bytes]
"""The status and the body of a response."""
T = TypeVar("T")


class Start(NamedTuple):
    """The response to a start. `is_new` is False for an execution that another request has started."""

    execution_id: str
    status: str
    is_new: bool


class NoetlApi:
    """Calls to one NoETL server. The argument `on_behalf` of a call identifies the user and the request."""

    def __init__(self, client: UpstreamClient, known: KnownFacts | None = None) -> None:
        """Use `client` for the calls, and `known` to share the cache of another `NoetlApi` for the same server."""
        self.client = client
        self.known = known or KnownFacts()

    def outgoing(self, method: str, target: str, body: Any, on_behalf: OnBehalf) -> OutgoingRequest:
        """Return a request with a JSON body, or without a body if `body` is None."""
        data = None if body is None else json_body(body)
        return OutgoingRequest(
            method,
            target,
            _ACCEPT if data is None else _ACCEPT_AND_SEND,
            on_behalf.identity,
            on_behalf.request_id,
            on_behalf.traceparent,
            data,
            session=on_behalf.session,
            user=on_behalf.user,
        )

    def send(self, method: str, target: str, on_behalf: OnBehalf, body: Any = None) -> Awaitable[Answer]:
        """Send a request with a JSON body; return an awaitable of the status and the body of the response.

        Raises:
            GatewayError: see `UpstreamClient.request`.
        """
        return self.exchange(self.outgoing(method, target, body, on_behalf), on_behalf, None)

    def apart(self, work: Coroutine[Any, Any, T]) -> Awaitable[T]:
        """Return an awaitable of the result of work that waits for something else than the upstream."""
        return work

    def in_thread(self, work: Callable[[], T]) -> Awaitable[T]:
        """Return an awaitable of the result of work that takes long, done in a thread."""
        return asyncio.to_thread(work)

    async def exchange(
        self, wanted: OutgoingRequest, on_behalf: OnBehalf, retry: RetryState | None, most: int = MAX_ANSWER
    ) -> Answer:
        """Send a request; return the status and the body of the response.

        Args:
            wanted: the request.
            on_behalf: the user and the request for which it is sent.
            retry: the state of a request that was sent before; None: it is sent for the first time.
            most: the largest body, in bytes.

        Raises:
            GatewayError: see `UpstreamClient.request`.
        """
        start = time.perf_counter()
        try:
            async with self.client.request(wanted, retry=retry) as response:
                return response.status, await response.read(most)
        finally:
            on_behalf.waited += time.perf_counter() - start

    async def call(self, method: str, target: str, on_behalf: OnBehalf, body: Any = None, *, missing: str = "") -> Any:
        """Send a request, and return the JSON of the response. A large response is parsed in a thread.

        Raises:
            GatewayError: see `UpstreamClient.request` and `document_of`; `missing` is the text of a 404.
        """
        status, data = await self.send(method, target, on_behalf, body)
        on_behalf.received += len(data)
        if len(data) <= _IN_THREAD:
            return document_of(status, data, missing)
        return await self.in_thread(lambda: document_of(status, data, missing))

    async def execute(
        self, path: str, workload: Any, kind: str, on_behalf: OnBehalf, version: Mapping[str, Any] | None = None
    ) -> Start:
        """Start a playbook.

        Args:
            path: the path of the playbook.
            workload: its variables.
            kind: `playbook` or `agent`.
            on_behalf: the user and the request for which it is started.
            version: the members of the request that name a version; None for the newest.

        Raises:
            NotFound: the playbook does not exist.
        """
        body: dict[str, Any] = {"path": path, "workload": workload, **(version or {})}
        if kind != "playbook":
            body["resource_kind"] = kind
        response = await self.call("POST", "/api/execute", on_behalf, body, missing="Playbook not found")
        return self._started(response, path)

    def _started(self, response: Any, path: str) -> Start:
        execution_id = response.get("execution_id") if isinstance(response, dict) else None
        if not is_id(execution_id):
            raise unexpected("no execution_id in the response to execute")
        is_new = not is_duplicate(response)
        if is_new:
            self.known.paths.put(str(execution_id), path)
        return Start(str(execution_id), normal_status(response.get("status", "started")), is_new)

    async def status(self, execution_id: str, on_behalf: OnBehalf, *, whole: bool = False) -> Mapping[str, Any]:
        """Return the status of an execution; `whole`: with variables of any size.

        Raises:
            NotFound: the execution does not exist.
        """
        target = f"/api/executions/{checked_id(execution_id)}/status{'?full=true' if whole else ''}"
        return self._noted(await self.call("GET", target, on_behalf, missing="Execution not found"), "status")

    async def detail(self, execution_id: str, on_behalf: OnBehalf, query: str = "page_size=10") -> Mapping[str, Any]:
        """Return the detail of an execution, with a page of its events.

        Raises:
            NotFound: the execution does not exist.
        """
        target = f"/api/executions/{checked_id(execution_id)}?{query}"
        response = self._noted(await self.call("GET", target, on_behalf, missing="Execution not found"), "detail")
        if isinstance(response.get("path"), str):
            self.known.paths.put(execution_id, response["path"])
        return response

    async def events(self, execution_id: str, page: int, size: int, on_behalf: OnBehalf) -> Mapping[str, Any]:
        """Return a page of the events of an execution, counted from 1; only the Python server has pages."""
        target = f"/api/executions/{checked_id(execution_id)}/events?page={page}&page_size={size}"
        return self._noted(await self.call("GET", target, on_behalf, missing="Execution not found"), "page of events")

    def _noted(self, response: Any, what: str) -> Mapping[str, Any]:
        if not isinstance(response, dict):
            raise unexpected(f"an execution's {what} is not an object")
        self.known.dialect = dialect_of(response) or self.known.dialect
        return response

    async def dialect(self, on_behalf: OnBehalf) -> Dialect | None:
        """Return the dialect of the server; None if it is unknown. One request is sent if no response has shown it.

        Raises:
            GatewayError: see `UpstreamClient.request`.
        """
        if self.known.dialect is None and not self.known.dialect_requested:
            await self._shared("dialect", lambda: self.plain.find_dialect(on_behalf))
        return self.known.dialect

    async def find_dialect(self, on_behalf: OnBehalf) -> None:
        """Ask the server for its health, which tells the dialect."""
        _, data = await self.send("GET", HEALTH, on_behalf)
        self.known.dialect_requested = True
        self.known.note_health(data)

    def known_path(self, execution_id: str) -> str | None:
        """Return the playbook of an execution, if it is in the cache."""
        return self.known.paths[execution_id]

    def known_catalog_path(self, catalog_id: str) -> str | None:
        """Return the path that a catalog id belongs to, if it is in the cache."""
        return self.known.catalog[catalog_id]

    def note_started(self, body: bytes, playbook: str | None) -> tuple[str, ...]:
        """Return the executions that the response to a start says it has started, and cache their playbook if known."""
        try:
            found = started_ids(read_json(body))
        except (ValueError, RecursionError):
            return ()
        if playbook is not None:
            for execution_id in found:
                self.known.paths.put(execution_id, playbook)
        return found

    async def path_of(self, execution_id: str, on_behalf: OnBehalf) -> str | None:
        """Return the playbook of an execution, which never changes.

        Concurrent calls for the same execution share one request to the upstream.

        Raises:
            NotFound: the execution does not exist.
        """
        known = self.known.paths[execution_id]
        if known is not None:
            return known
        return await self._shared(("path", execution_id), lambda: self.plain.find_path(execution_id, on_behalf))

    async def find_path(self, execution_id: str, on_behalf: OnBehalf) -> str | None:
        """Return the playbook of an execution from the upstream. Raises NotFound."""
        try:
            path = (await self.detail(execution_id, on_behalf)).get("path")
        except TooLarge:
            wanted = self.outgoing("GET", f"/api/executions/{checked_id(execution_id)}", None, on_behalf)
            path = leading_members(await beginning(self.client, wanted)).get("path")
            if isinstance(path, str):
                self.known.paths.put(execution_id, path)
        return path if isinstance(path, str) else None

    def _shared(self, key: object, call: Callable[[], Coroutine[Any, Any, T]]) -> Awaitable[T]:
        """Return an awaitable of the current call with this key, which is begun if there is none."""
        task = self.known.calls.get(key)
        if task is None:
            task = asyncio.get_running_loop().create_task(call())
            self.known.calls[key] = task
            task.add_done_callback(lambda done: self.known.call_ended(key, done))
        return self._wait_for(task)

    def _wait_for(self, task: asyncio.Task[T]) -> Awaitable[T]:
        return asyncio.shield(task)

    @property
    def plain(self) -> NoetlApi:
        """Return the API whose calls can wait in a task."""
        return self

    async def cancel(
        self, execution_id: str, reason: str | None, on_behalf: OnBehalf, *, cascade: bool = False
    ) -> None:
        """Cancel an execution. The Rust server refuses it for one that has ended, which is no error here."""
        body = {**({"reason": reason} if reason else {}), **({"cascade": True} if cascade else {})}
        target = f"/api/executions/{checked_id(execution_id)}/cancel"
        status, data = await self.send("POST", target, on_behalf, body)
        if status >= 300 and status not in (409, 422):
            raise error_of(status, data, "Execution not found")

    async def catalog(self, kind: str | None, on_behalf: OnBehalf) -> list[CatalogEntry]:
        """Return the newest version of each entry of the catalog, sorted by path; `kind` filters the entries.

        Concurrent calls of one user share one request to the upstream.

        Raises:
            BadGateway: the response is not a list of entries, each with its path.
        """
        key = ("catalog", kind, on_behalf.identity)
        return await self._shared(key, lambda: self.plain.find_catalog(kind, on_behalf))

    async def find_catalog(self, kind: str | None, on_behalf: OnBehalf) -> list[CatalogEntry]:
        """Return the same from the upstream. The list is not filtered there: the servers differ in how they compare."""
        wanted = self.outgoing("POST", "/api/catalog/list", {}, on_behalf)
        async with self.known.large:
            status, data = await self.exchange(wanted, on_behalf, None, MAX_LIST)
            if status >= 300:
                raise error_of(status, data, "")
            try:
                newest = await asyncio.to_thread(newest_entries, data, kind)
            except (ValueError, RecursionError):
                raise unexpected("the catalog has no list of entries, each with its path") from None
            del data
        for catalog_id, path in newest.paths.items():
            self.known.catalog.put(catalog_id, path)
        return await self._entries(newest.entries)

    async def _entries(self, raw: list[dict[str, Any]]) -> list[CatalogEntry]:
        """Return entries of the catalog. Contents that have to be read are read once, in a thread."""
        contents = [content_to_read(item) for item in raw]
        known = {content: self.known.contents[content] for content in contents if content is not None}
        unknown = [content for content, about in known.items() if about is None]
        if unknown:
            read = await self.in_thread(lambda: [about_of(content) for content in unknown])
            for content, about in zip(unknown, read, strict=True):
                known[content] = about
                self.known.contents.put(content, about, 2 * len(content))
        pairs = zip(raw, contents, strict=True)
        entries = [catalog_entry(item, known[content] if content is not None else None) for item, content in pairs]
        return [entry for entry in entries if entry is not None]

    async def entry(self, wanted: Mapping[str, str], on_behalf: OnBehalf) -> CatalogEntry | None:
        """Return the entry of the catalog with this `path` or `catalog_id`; None if it does not exist.

        Raises:
            BadGateway: the response is not an entry with its path.
        """
        try:
            response = await self.call("POST", "/api/catalog/resource", on_behalf, dict(wanted), missing="none")
        except NotFound:
            return None
        entries = await self._entries([response]) if isinstance(response, dict) else []
        if not entries:
            raise unexpected("an entry of the catalog has no path")
        return entries[0]

    async def version_of_catalog_id(self, catalog_id: str, on_behalf: OnBehalf) -> int:
        """Return the version of a catalog id, which never changes; 0 if the id does not exist.

        Concurrent calls for the same id share one request to the upstream.

        Raises:
            BadGateway: the server has answered with another entry, or without a version.
        """
        known = self.known.versions.of(catalog_id)
        if known is not None:
            return known
        return await self._shared(("version", catalog_id), lambda: self.plain.find_version(catalog_id, on_behalf))

    async def find_version(self, catalog_id: str, on_behalf: OnBehalf) -> int:
        """Return the version of a catalog id from the upstream."""
        entry = await self._entry_with_id(catalog_id, on_behalf)
        if entry is not None and entry.version is None:
            raise unexpected("an entry of the catalog has no version")
        version = entry.version or 0 if entry is not None else 0
        self.known.versions.put(catalog_id, version)
        return version

    async def _entry_with_id(self, catalog_id: str, on_behalf: OnBehalf) -> CatalogEntry | None:
        """Return the entry of the catalog with an id; None if it does not exist. Raises BadGateway."""
        entry = await self.entry({"catalog_id": catalog_id}, on_behalf)
        if entry is None:
            return None
        if entry.catalog_id is None or not entry.catalog_id.isdecimal() or int(entry.catalog_id) != int(catalog_id):
            raise unexpected("another entry of the catalog than the one with the id")
        self.known.catalog.put(catalog_id, entry.path)
        return entry

    async def path_of_catalog_id(self, catalog_id: str, on_behalf: OnBehalf) -> str:
        """Return the path of a catalog id, which never changes.

        Raises:
            NotFound: the catalog id does not exist.
            BadGateway: the server has answered with another entry.
        """
        path = self.known.catalog.get(catalog_id)
        if path is not None:
            return path
        entry = await self._entry_with_id(catalog_id, on_behalf)
        if entry is None:
            raise NotFound("Playbook not found")
        return entry.path

    async def executions(self, page: int, size: int, skip: int, on_behalf: OnBehalf) -> list[ExecutionSummary] | None:
        """Return a page of the list of executions; empty after the last page, None if the server has no page so deep.

        Args:
            page: the number of the page, counted from 0, for the Python server.
            size: how many executions a page has, at most `PAGE_SIZE`.
            skip: how many executions the pages before had, for the Rust server.
            on_behalf: the user and the request for which it is requested.

        Raises:
            BadGateway: the response is not a list of executions, each with its id.
        """
        query = f"page={page + 1}&page_size={size}&limit={size}&offset={skip}"
        status, data = await self.send("GET", f"/api/executions?{query}", on_behalf)
        if status == 422 and page:  # too deep
            return None
        if status >= 300:
            raise error_of(status, data, "")
        try:
            if len(data) <= _IN_THREAD:
                return execution_page(data)
            return await self.in_thread(lambda: execution_page(data))
        except (ValueError, RecursionError):
            raise unexpected("the executions are not a list, each with its id") from None
