"""The NoETL API as typed calls, for both dialects, which are recognized by their responses."""

from __future__ import annotations

import asyncio
import json
import re
import time
from collections.abc import Awaitable, Mapping
from typing import Any, NamedTuple

from proxy.errors import BadGateway, BadRequest, GatewayError, NotFound
from proxy.http.header_plan import text_lines
from proxy.http.json import read_json, write_json
from proxy.noetl.executions import ENDED, ExecutionState, normal_status, state_of, status_of, workload_of
from proxy.noetl.known_facts import KnownFacts
from proxy.noetl.listings import (
    CatalogEntry,
    ExecutionSummary,
    catalog_entry,
    execution_summary,
    is_duplicate,
    is_id,
    started_ids,
)
from proxy.noetl.on_behalf import OnBehalf
from proxy.upstream.client import OutgoingRequest, UpstreamClient
from proxy.upstream.retry import RetryState

_EXECUTION_ID = re.compile(r"[0-9]{1,20}")
MAX_ANSWER = 16 * 1024**2
_ACCEPT = text_lines([("accept", "application/json")])
_ACCEPT_AND_SEND = _ACCEPT + text_lines([("content-type", "application/json")])
Answer = tuple[int, bytes]
"""The status and the body of a response."""
_PAGE = 100
_MAX_PAGES = 10


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

    async def exchange(self, wanted: OutgoingRequest, on_behalf: OnBehalf, retry: RetryState | None) -> Answer:
        """Send a request; return the status and the body of the response.

        Args:
            wanted: the request.
            on_behalf: the user and the request for which it is sent.
            retry: the state of a request that was sent before; None: it is sent for the first time.

        Raises:
            GatewayError: see `UpstreamClient.request`.
        """
        start = time.perf_counter()
        try:
            async with self.client.request(wanted, retry=retry) as response:
                return response.status, await response.read(MAX_ANSWER)
        finally:
            on_behalf.waited += time.perf_counter() - start

    async def _call(self, method: str, target: str, on_behalf: OnBehalf, body: Any = None, *, missing: str = "") -> Any:
        status, data = await self.send(method, target, on_behalf, body)
        document = _json(data, status)
        if status < 300:
            return document
        raise _error_of(status, document, missing)

    async def execute(self, path: str, workload: Any, kind: str, on_behalf: OnBehalf) -> Start:
        """Start a playbook.

        Args:
            path: the path of the playbook.
            workload: its variables.
            kind: `playbook` or `agent`.
            on_behalf: the user and the request for which it is started.

        Raises:
            NotFound: the playbook does not exist.
        """
        body: dict[str, Any] = {"path": path, "workload": workload}
        if kind != "playbook":
            body["resource_kind"] = kind
        response = await self._call("POST", "/api/execute", on_behalf, body, missing="Playbook not found")
        return self._started(response, path)

    def _started(self, response: Any, path: str) -> Start:
        execution_id = response.get("execution_id") if isinstance(response, dict) else None
        if not is_id(execution_id):
            raise _unexpected("no execution_id in the response to execute")
        is_new = not is_duplicate(response)
        if is_new:
            self.known.paths.put(str(execution_id), path)
        return Start(str(execution_id), normal_status(response.get("status", "started")), is_new)

    async def detail(self, execution_id: str, on_behalf: OnBehalf) -> Mapping[str, Any]:
        """Return the detail of an execution.

        Raises:
            NotFound: the execution does not exist.
        """
        if not _EXECUTION_ID.fullmatch(execution_id):
            raise NotFound("Execution not found")
        target = f"/api/executions/{execution_id}?page_size=10"
        response = await self._call("GET", target, on_behalf, missing="Execution not found")
        if not isinstance(response, dict):
            raise _unexpected("an execution's detail is not an object")
        if isinstance(response.get("path"), str):
            self.known.paths.put(execution_id, response["path"])
        return response

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
        return await self._wait_for(self.lookup(execution_id, on_behalf))

    def lookup(self, execution_id: str, on_behalf: OnBehalf) -> asyncio.Task[str | None]:
        """Return the current call for the playbook of an execution; start it if there is none."""
        task = self.known.lookups.get(execution_id)
        if task is None:
            task = asyncio.get_running_loop().create_task(self._find_path(execution_id, on_behalf))
            self.known.lookups[execution_id] = task
            task.add_done_callback(lambda done: self.known.lookup_ended(execution_id, done))
        return task

    def _wait_for(self, task: asyncio.Task[str | None]) -> Awaitable[str | None]:
        return asyncio.shield(task)

    async def _find_path(self, execution_id: str, on_behalf: OnBehalf) -> str | None:
        detail = await NoetlApi.detail(self.plain, execution_id, on_behalf)
        path = detail.get("path")
        return path if isinstance(path, str) else None

    @property
    def plain(self) -> NoetlApi:
        """Return the API whose calls can wait in a task."""
        return self

    async def state(self, execution_id: str, on_behalf: OnBehalf) -> ExecutionState:
        """Return the state of an execution.

        Raises:
            NotFound: the execution does not exist.
        """
        if not _EXECUTION_ID.fullmatch(execution_id):
            raise NotFound("Execution not found")
        code, data = await self.send("GET", f"/api/executions/{execution_id}/status", on_behalf)
        status = _json(data, code)
        if code >= 300:
            raise _error_of(code, status, "Execution not found")
        if not isinstance(status, dict):
            raise _unexpected("an execution's status is not an object")
        word = status_of(status)
        ended = word is None or word in ENDED
        detail = await self.detail(execution_id, on_behalf) if ended or "variables" not in status else None
        return state_of(execution_id, status, detail, self.known.paths[execution_id])

    async def cancel(self, execution_id: str, reason: str | None, on_behalf: OnBehalf) -> None:
        """Cancel an execution. Do nothing if it has already ended."""
        body = {"reason": reason} if reason else {}
        status, data = await self.send("POST", f"/api/executions/{execution_id}/cancel", on_behalf, body)
        if status >= 300 and status not in (409, 422):
            raise _error_of(status, _json(data, status), "Execution not found")

    async def rerun(
        self, execution_id: str, path: str, variables: Mapping[str, Any] | None, on_behalf: OnBehalf
    ) -> Start:
        """Start the playbook of an execution again, with its workload changed by `variables`."""
        body = {"workload": dict(variables or {})}
        status, data = await self.send("POST", f"/api/executions/{execution_id}/rerun", on_behalf, body)
        if status == 404:
            workload = workload_of(await self.detail(execution_id, on_behalf))
            return await self.execute(path, {**workload, **(variables or {})}, "playbook", on_behalf)
        response = _json(data, status)
        if status >= 300:
            raise _error_of(status, response, "Execution not found")
        return self._started(response, path)

    async def catalog(self, kind: str | None, on_behalf: OnBehalf) -> list[CatalogEntry]:
        """Return the newest version of each entry of the catalog, sorted by path; `kind` filters the entries.

        Raises:
            BadGateway: the response is not a list of entries, each with its path.
        """
        body = {"resource_type": kind.capitalize()} if kind else {}
        response = await self._call("POST", "/api/catalog/list", on_behalf, body)
        entries = response.get("entries") if isinstance(response, dict) else None
        if not isinstance(entries, list):
            raise _unexpected("the catalog has no list of entries")
        found: dict[str, CatalogEntry] = {}
        for raw in entries:
            entry = catalog_entry(raw)
            if entry is None:
                raise _unexpected("an entry of the catalog has no path")
            if entry.catalog_id is not None:
                self.known.catalog.put(entry.catalog_id, entry.path)
            have = found.get(entry.path)
            if have is None or (entry.version or 0) >= (have.version or 0):
                found[entry.path] = entry
        return [found[path] for path in sorted(found)]

    async def entry(self, path: str, on_behalf: OnBehalf) -> CatalogEntry | None:
        """Return the entry of the catalog with this path; None if it does not exist.

        Raises:
            BadGateway: the response is not an entry with its path.
        """
        try:
            response = await self._call("POST", "/api/catalog/resource", on_behalf, {"path": path}, missing="none")
        except NotFound:
            return None
        entry = catalog_entry(response)
        if entry is None:
            raise _unexpected("an entry of the catalog has no path")
        return entry

    async def path_of_catalog_id(self, catalog_id: str, on_behalf: OnBehalf) -> str:
        """Return the path of a catalog id, which never changes.

        Raises:
            NotFound: the catalog id does not exist.
        """
        path = self.known.catalog.get(catalog_id)
        if path is None:
            await self.catalog(None, on_behalf)
            path = self.known.catalog.get(catalog_id)
        if path is None:
            raise NotFound("Playbook not found")
        return path

    async def executions(self, page: int, on_behalf: OnBehalf) -> list[ExecutionSummary]:
        """Return a page of the list of executions; empty after the last page. Pages are counted from 0.

        Raises:
            BadGateway: the response is not a list of executions, each with its id.
        """
        query = f"page={page + 1}&page_size={_PAGE}&limit={_PAGE}&offset={page * _PAGE}"
        response = await self._call("GET", f"/api/executions?{query}", on_behalf)
        if not isinstance(response, list):
            raise _unexpected("the executions are not a list")
        if not all(isinstance(item, dict) and is_id(item.get("execution_id")) for item in response):
            raise _unexpected("an entry of the list of executions has no execution_id")
        return [execution_summary(item) for item in response] if page < _MAX_PAGES else []


def _unexpected(detail: str) -> BadGateway:
    """Return the error for a response of another shape than NoETL's; `detail` is for the access log."""
    return BadGateway("NoETL server sent an unexpected response", detail=detail)


def json_body(document: Any) -> bytes:
    """Return a document as the JSON body of a request.

    Raises:
        BadRequest: the document has values that JSON does not support, such as NaN.
    """
    try:
        return write_json(document)
    except (ValueError, TypeError):
        pass
    try:
        return json.dumps(document, allow_nan=False).encode()
    except (ValueError, RecursionError):
        raise BadRequest("A value can't be written as JSON") from None


def _json(data: bytes, status: int) -> Any:
    try:
        return read_json(data) if data else None
    except (ValueError, RecursionError):
        raise _unexpected(f"status {status}, not JSON") from None


def _error_of(status: int, document: Any, missing: str) -> GatewayError:
    text = _reason(document)
    if status == 404:
        return NotFound(missing or "Not found", detail=text)
    if status in (400, 409, 422):
        return BadRequest(text or None, detail=f"upstream status {status}")
    return BadGateway("NoETL server failed", detail=f"upstream status {status}: {text}")


def _reason(document: Any) -> str:
    if not isinstance(document, dict):
        return ""
    reason = document.get("detail") or document.get("error") or document.get("message")
    if isinstance(reason, list):
        parts = (item for item in reason if isinstance(item, dict))
        reason = "; ".join(f"{'.'.join(map(str, p.get('loc', ())))}: {p.get('msg')}" for p in parts)
    return str(reason)[:300] if reason else ""
