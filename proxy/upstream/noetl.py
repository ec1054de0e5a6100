"""The NoETL API as typed calls. Serves either server; which one it is shows in its answers, not in a setting."""

from __future__ import annotations

import json
import re
import time
from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from proxy.errors import BadGateway, BadRequest, GatewayError, NotFound
from proxy.jsontext import read_json
from proxy.upstream.client import UpstreamClient
from proxy.upstream.executions import ENDED, ExecutionState, normal_status, state_of, status_of, workload_of

Headers = list[tuple[str, str]]
_EXECUTION_ID = re.compile(r"[0-9]{1,20}")
MAX_ANSWER = 16 * 1024**2
_CACHED = 10_000
_PAGE = 100
_MAX_PAGES = 10


@dataclass(frozen=True, slots=True)
class CatalogEntry:
    """A playbook or agent of the catalog."""

    path: str
    catalog_id: str
    version: int | None
    kind: str | None
    description: str | None
    workload: Any


@dataclass(frozen=True, slots=True)
class ExecutionSummary:
    """A line of the list of executions."""

    execution_id: str
    path: str | None
    status: str
    start_time: str | None
    end_time: str | None


class OnBehalf(list[tuple[str, str]]):
    """Headers that say on whose behalf a call is made, with the session that `hash_on: session` looks at.

    `waited` adds up the seconds that calls took.
    """

    __slots__ = ("session", "waited")

    def __init__(self, headers: Iterable[tuple[str, str]], session: bytes) -> None:
        super().__init__(headers)
        self.session = session
        self.waited = 0.0


class NoetlApi:
    """Calls to one NoETL server. `headers` of every call say on whose behalf it is made."""

    def __init__(self, client: UpstreamClient) -> None:
        self.client = client
        self._paths: OrderedDict[str, str] = OrderedDict()
        self._catalog: OrderedDict[str, str] = OrderedDict()

    async def send(
        self, method: str, target: str, headers: Headers, body: Any = None, *, spent: int = 0
    ) -> tuple[int, bytes]:
        """Any request with a JSON body; its status and answer. Raises what the client raises.

        `spent` is how often it was sent before.
        """
        data = None if body is None else json.dumps(body).encode()
        sent = [*headers, ("accept", "application/json"), *([("content-type", "application/json")] if data else [])]
        session = headers.session if isinstance(headers, OnBehalf) else b""
        start = time.perf_counter()
        try:
            async with self.client.request(method, target, sent, data, session=session, spent=spent) as response:
                return response.status, await response.read(MAX_ANSWER)
        finally:
            if isinstance(headers, OnBehalf):
                headers.waited += time.perf_counter() - start

    async def _call(self, method: str, target: str, headers: Headers, body: Any = None, *, missing: str = "") -> Any:
        status, data = await self.send(method, target, headers, body)
        document = _json(data, status)
        if status < 300:
            return document
        raise _refusal(status, document, missing)

    async def execute(self, path: str, workload: Any, kind: str, headers: Headers) -> tuple[str, str]:
        """Start a playbook; its execution id and status. Raises NotFound."""
        body: dict[str, Any] = {"path": path, "workload": workload}
        if kind != "playbook":
            body["resource_kind"] = kind
        answer = await self._call("POST", "/api/execute", headers, body, missing="Playbook not found")
        return self._started(answer, path)

    def _started(self, answer: Any, path: str | None) -> tuple[str, str]:
        execution_id = answer.get("execution_id") if isinstance(answer, dict) else None
        if execution_id is None:
            raise BadGateway("NoETL server answered unexpectedly", detail="no execution_id in the answer to execute")
        if path is not None:
            self._keep(self._paths, str(execution_id), path)
        return str(execution_id), normal_status(answer.get("status", "started"))

    async def detail(self, execution_id: str, headers: Headers) -> Mapping[str, Any]:
        """All that upstream says of an execution. Raises NotFound."""
        if not _EXECUTION_ID.fullmatch(execution_id):
            raise NotFound("Execution not found")
        target = f"/api/executions/{execution_id}?page_size=10"
        answer = await self._call("GET", target, headers, missing="Execution not found")
        if not isinstance(answer, dict):
            raise BadGateway("NoETL server answered unexpectedly", detail="an execution's detail is not an object")
        if isinstance(answer.get("path"), str):
            self._keep(self._paths, execution_id, answer["path"])
        return answer

    def known_path(self, execution_id: str) -> str | None:
        """The playbook of an execution, if it was asked before."""
        return self._paths.get(execution_id)

    async def path_of(self, execution_id: str, headers: Headers) -> str | None:
        """The playbook of an execution, which never changes. Raises NotFound."""
        known = self._paths.get(execution_id)
        if known is None:
            await self.detail(execution_id, headers)
            known = self._paths.get(execution_id)
        return known

    async def state(self, execution_id: str, headers: Headers) -> ExecutionState:
        """Where an execution stands. Raises NotFound."""
        if not _EXECUTION_ID.fullmatch(execution_id):
            raise NotFound("Execution not found")
        code, data = await self.send("GET", f"/api/executions/{execution_id}/status", headers)
        status = _json(data, code)
        if code >= 300:
            raise _refusal(code, status, "Execution not found")
        if not isinstance(status, dict):
            raise BadGateway("NoETL server answered unexpectedly", detail="an execution's status is not an object")
        word = status_of(status)
        ended = word is None or word in ENDED
        detail = await self.detail(execution_id, headers) if ended or "variables" not in status else None
        return state_of(execution_id, status, detail, self._paths.get(execution_id))

    async def cancel(self, execution_id: str, reason: str | None, headers: Headers) -> None:
        """Cancel an execution; one that has ended already stays as it is."""
        body = {"reason": reason} if reason else {}
        status, data = await self.send("POST", f"/api/executions/{execution_id}/cancel", headers, body)
        if status >= 300 and status not in (409, 422):
            raise _refusal(status, _json(data, status), "Execution not found")

    async def rerun(
        self, execution_id: str, path: str, variables: Mapping[str, Any] | None, headers: Headers
    ) -> tuple[str, str]:
        """Start an execution's playbook again with its workload, changed by `variables`."""
        body = {"workload": dict(variables or {})}
        status, data = await self.send("POST", f"/api/executions/{execution_id}/rerun", headers, body)
        if status == 404:
            workload = workload_of(await self.detail(execution_id, headers))
            return await self.execute(path, {**workload, **(variables or {})}, "playbook", headers)
        answer = _json(data, status)
        if status >= 300:
            raise _refusal(status, answer, "Execution not found")
        return self._started(answer, path)

    async def catalog(self, kind: str | None, headers: Headers) -> list[CatalogEntry]:
        """The catalog, the newest version of each path, by path."""
        body = {"resource_type": kind.capitalize()} if kind else {}
        answer = await self._call("POST", "/api/catalog/list", headers, body)
        entries = answer.get("entries") if isinstance(answer, dict) else None
        found: dict[str, CatalogEntry] = {}
        for raw in entries or ():
            entry = _entry(raw)
            if entry is None:
                continue
            self._keep(self._catalog, entry.catalog_id, entry.path)
            have = found.get(entry.path)
            if have is None or (entry.version or 0) >= (have.version or 0):
                found[entry.path] = entry
        return [found[path] for path in sorted(found)]

    async def entry(self, path: str, headers: Headers) -> CatalogEntry | None:
        """One entry of the catalog; None if there is none of this path."""
        try:
            answer = await self._call("POST", "/api/catalog/resource", headers, {"path": path}, missing="none")
        except NotFound:
            return None
        return _entry(answer)

    async def path_of_catalog_id(self, catalog_id: str, headers: Headers) -> str:
        """The path that a catalog id stands for, which never changes. Raises NotFound."""
        if catalog_id not in self._catalog:
            await self.catalog(None, headers)
        path = self._catalog.get(catalog_id)
        if path is None:
            raise NotFound("Playbook not found")
        return path

    async def executions(self, page: int, headers: Headers) -> list[ExecutionSummary]:
        """A page of the list of executions, counted from 0; empty after the last."""
        query = f"page={page + 1}&page_size={_PAGE}&limit={_PAGE}&offset={page * _PAGE}"
        answer = await self._call("GET", f"/api/executions?{query}", headers)
        if page >= _MAX_PAGES or not isinstance(answer, list):
            return []
        return [_summary(item) for item in answer if isinstance(item, dict)]

    def _keep(self, cache: OrderedDict[str, str], name: str, value: str) -> None:
        cache[name] = value
        if len(cache) > _CACHED:
            cache.popitem(last=False)


def _json(data: bytes, status: int) -> Any:
    try:
        return read_json(data) if data else None
    except (ValueError, RecursionError):
        raise BadGateway("NoETL server answered unexpectedly", detail=f"status {status}, not JSON") from None


def _refusal(status: int, document: Any, missing: str) -> GatewayError:
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


def _entry(raw: Any) -> CatalogEntry | None:
    if not isinstance(raw, dict) or not isinstance(raw.get("path"), str):
        return None
    payload = raw.get("payload")
    document = payload if isinstance(payload, dict) else _parse(raw.get("content"))
    metadata = document.get("metadata")
    description = metadata.get("description") if isinstance(metadata, dict) else None
    version = raw.get("version")
    return CatalogEntry(
        path=raw["path"],
        catalog_id=str(raw.get("catalog_id")),
        version=version if isinstance(version, int) else None,
        kind=str(raw["kind"]) if raw.get("kind") else None,
        description=str(description) if description else None,
        workload=document.get("workload"),
    )


def _parse(content: Any) -> dict[str, Any]:
    if not isinstance(content, str):
        return {}
    try:
        document = yaml.safe_load(content)
    except (yaml.YAMLError, RecursionError):
        return {}
    return document if isinstance(document, dict) else {}


def _summary(item: dict[str, Any]) -> ExecutionSummary:
    def text(*names: str) -> str | None:
        return next((str(item[name]) for name in names if item.get(name)), None)

    return ExecutionSummary(
        execution_id=str(item.get("execution_id")),
        path=text("path"),
        status=normal_status(item.get("status")),
        start_time=text("start_time", "started_at"),
        end_time=text("end_time", "completed_at"),
    )
