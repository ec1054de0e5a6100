"""The resolvers of the schema: each authorizes the request, and then makes a typed call to the NoETL API."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol

from proxy import __version__
from proxy.errors import BadRequest, GatewayError
from proxy.identity.principal import Principal
from proxy.live.start import Begin, LiveStarts
from proxy.live.watchers import Subscriber
from proxy.noetl import truth
from proxy.noetl.api import NoetlApi, Start
from proxy.noetl.authorize import Authorizer
from proxy.noetl.event_pages import number_of_cursor, page_of_events
from proxy.noetl.execution_pages import Listed, WantedExecutions, page_of_executions, read_cursor
from proxy.noetl.executions import ENDED, ExecutionState
from proxy.noetl.filtering import Named, shown, viewable
from proxy.noetl.listings import CatalogEntry
from proxy.noetl.needs import playbook_name
from proxy.noetl.on_behalf import OnBehalf
from proxy.policy.acl import Action
from proxy.sessions.store import SessionStore

DEFAULT_EXECUTIONS, DEFAULT_EVENTS = 50, 100
MAX_ITEMS = 1000
"""The highest value of the argument `first`."""
_VIEW, _EXECUTE = Action.VIEW, Action.EXECUTE
_METHOD = re.compile(r"GET|HEAD|POST|PUT|PATCH|DELETE")


class ProxyCall(Protocol):
    """Sends the request of `proxyRequest`, authorized like the same request under /noetl/."""

    async def __call__(self, method: str, endpoint: str, body: Any) -> tuple[int, Any]:
        """Return the status and the JSON body of the response."""


@dataclass(slots=True)
class Context:
    """The context of a request's resolvers.

    Args:
        who: the user.
        api: the calls to the NoETL API.
        authorizer: checks the access rules.
        store: the session store, which also stores the owners of executions.
        proxy: sends the request of `proxyRequest`.
        on_behalf: identifies the user and the request in calls to the upstream.
        live: the starts of executions whose result a client receives as an event, and subscriptions.
        extensions: what the response says besides data and errors.
        watched: the execution that a subscription watches.
    """

    who: Principal
    api: NoetlApi
    authorizer: Authorizer
    store: SessionStore
    proxy: ProxyCall
    on_behalf: OnBehalf
    live: LiveStarts
    extensions: dict[str, Any] = field(default_factory=dict)
    watched: str = ""

    def report_truncated(self, cursor: str | None) -> None:
        """Report in the extensions that a list is not complete, and its cursor, unless there are several such lists."""
        is_first = "truncated" not in self.extensions
        self.extensions["truncated"] = True
        self.extensions.pop("cursor", None)
        if is_first and cursor is not None:
            self.extensions["cursor"] = cursor


class Info(Protocol):
    """The resolve info that a resolver uses: that of graphql-core, or that of a plan."""

    @property
    def context(self) -> Context:
        """Return the context of the request."""


async def health(_: Any, info: Info) -> str:
    context = info.context
    failure = await context.api.client.failure("/api/health", 5.0)
    return "upstream unreachable" if failure else "ok"


def version(_: Any, info: Info) -> str:
    return __version__


def me(_: Any, info: Info) -> dict[str, Any]:
    return user_fields(info.context.who)


def user_fields(who: Principal) -> dict[str, Any]:
    """Return the fields of the GraphQL type `User`."""
    identity = who.session.identity
    return {
        "userId": who.user_id,
        "email": identity.email,
        "displayName": identity.display_name,
        "roles": sorted(who.subject.roles),
    }


def _first(first: int | None, otherwise: int) -> int:
    if first is None:
        return otherwise
    if not 0 <= first <= MAX_ITEMS:
        raise BadRequest(f"first must be from 0 to {MAX_ITEMS}")
    return first


async def playbooks(
    _: Any, info: Info, kind: str | None = None, prefix: str | None = None, first: int | None = MAX_ITEMS
) -> list[dict[str, Any]]:
    context = info.context
    most = _first(first, MAX_ITEMS)
    entries = await context.api.catalog(kind or "playbook", context.on_behalf)
    wanted = [entry for entry in entries if entry.path.startswith(prefix or "")]
    flags = await _shown(context, [Named(entry.path) for entry in wanted])
    return [_playbook(entry) for entry, is_shown in zip(wanted, flags, strict=True) if is_shown][:most]


async def playbook(_: Any, info: Info, name: str) -> dict[str, Any] | None:
    context = info.context
    context.authorizer.playbook(context.who, _VIEW, playbook_name(name, "name"))
    entry = await context.api.entry({"path": name}, context.on_behalf)
    return None if entry is None else _playbook(entry)


def _playbook(entry: CatalogEntry) -> dict[str, Any]:
    return {
        "name": entry.path,
        "description": entry.description,
        "variables": entry.workload,
        "version": entry.version,
        "kind": entry.kind,
    }


async def execution_status(_: Any, info: Info, executionId: str) -> dict[str, Any]:
    context = info.context
    await context.authorizer.execution(context.who, _VIEW, executionId, context.on_behalf)
    return _state(await truth.state_of(context.api, executionId, context.on_behalf))


async def execution(_: Any, info: Info, id: str) -> dict[str, Any]:
    return await execution_status(_, info, id)


def _state(state: ExecutionState) -> dict[str, Any]:
    execution_id, path, status, step, steps, variables, result, error, start, end, duration = state
    return {
        "id": execution_id,
        "executionId": execution_id,
        "path": path,
        "status": status,
        "completed": status in ENDED,
        "failed": status == "failed",
        "cancelled": status == "cancelled",
        "currentStep": step,
        "completedSteps": steps,
        "variables": variables,
        "result": result,
        "error": error,
        "startTime": start,
        "endTime": end,
        "durationSeconds": duration,
    }


async def events(
    state: Mapping[str, Any], info: Info, first: int | None = DEFAULT_EVENTS, after: str | None = None
) -> list[dict[str, Any]]:
    context, execution_id = info.context, str(state["executionId"])
    most, number = _first(first, DEFAULT_EVENTS), number_of_cursor(after)
    await context.authorizer.execution(context.who, _VIEW, execution_id, context.on_behalf)
    if most == 0:
        return []
    page = await page_of_events(context.api, execution_id, number, most, context.on_behalf)
    if page.truncated:
        context.report_truncated(None)
    return [event._asdict() for event in page.events]


async def executions(
    _: Any,
    info: Info,
    path: str | None = None,
    status: str | None = None,
    first: int | None = DEFAULT_EXECUTIONS,
    after: str | None = None,
) -> list[dict[str, Any]]:
    context = info.context
    cursor = None if after is None else read_cursor(after)
    wanted = WantedExecutions(path, status, _first(first, DEFAULT_EXECUTIONS), cursor)
    page = await page_of_executions(context.api, context.authorizer, context.who, wanted, context.on_behalf)
    if page.truncated:
        context.report_truncated(page.cursor)
    return [_summary(listed) for listed in page.executions]


async def _shown(context: Context, named: list[Named]) -> list[bool]:
    """Return for each entry of a list whether the user may view it, as the relay decides it."""
    return await shown(context.authorizer, context.who, named, viewable(context.who.permits, named))


def _summary(listed: Listed) -> dict[str, Any]:
    item = listed.summary
    return {
        "id": item.execution_id,
        "executionId": item.execution_id,
        "path": item.path,
        "status": item.status,
        "startTime": item.start_time,
        "endTime": item.end_time,
        "cursor": listed.cursor,
    }


def _workload(variables: Any) -> Mapping[str, Any]:
    if variables is None:
        return {}
    if not isinstance(variables, dict):
        raise BadRequest("variables must be a JSON object")
    return variables


async def execute_playbook(
    _: Any,
    info: Info,
    name: str,
    variables: Any = None,
    resourceKind: str | None = "playbook",
    clientId: str | None = None,
) -> dict[str, Any]:
    context = info.context
    context.authorizer.playbook(context.who, _EXECUTE, playbook_name(name, "name"))
    workload, kind = _workload(variables), resourceKind or "playbook"
    if clientId is None:
        return _started(context, await context.api.execute(name, workload, kind, context.on_behalf), name)

    async def begin(more: Mapping[str, Any]) -> Start:
        return await context.api.execute(name, {**workload, **more}, kind, context.on_behalf)

    return await _started_for(context, name, clientId, begin)


async def rerun_execution(
    _: Any,
    info: Info,
    executionId: str,
    variables: Any = None,
    clientId: str | None = None,
) -> dict[str, Any]:
    context = info.context
    path = (await context.authorizer.rerun(context.who, executionId, context.on_behalf)).playbook or ""
    workload = _workload(variables)
    if clientId is None:
        return _started(context, await truth.rerun(context.api, executionId, path, workload, context.on_behalf), path)

    async def begin(more: Mapping[str, Any]) -> Start:
        return await truth.rerun(context.api, executionId, path, {**workload, **more}, context.on_behalf)

    return await _started_for(context, path, clientId, begin)


async def _started_for(context: Context, name: str, client_id: str, begin: Begin) -> dict[str, Any]:
    """Start a playbook whose result a client receives, and return the fields of `ExecuteResult`."""
    user_id, api, on_behalf = context.who.user_id, context.api, context.on_behalf
    started, request_id = await context.live.start(client_id, user_id, name, api, on_behalf, begin)
    return _started(context, started, name, request_id)


def _started(context: Context, started: Start, name: str, request_id: str | None = None) -> dict[str, Any]:
    """Note who has started an execution, and return the fields of `ExecuteResult`."""
    execution_id, status, is_new = started
    if is_new:
        context.store.store_execution_owner(execution_id, context.who.user_id, time.time())
    return {
        "id": execution_id,
        "executionId": execution_id,
        "name": name,
        "status": status,
        "requestId": request_id,
    }


async def cancel_execution(
    _: Any,
    info: Info,
    executionId: str,
    reason: str | None = None,
) -> dict[str, Any]:
    context = info.context
    await context.authorizer.execution(context.who, _EXECUTE, executionId, context.on_behalf)
    return _state(await truth.cancel(context.api, executionId, reason, context.on_behalf))


async def proxy_request(_: Any, info: Info, input: dict[str, Any]) -> dict[str, Any]:
    context = info.context
    method = input["method"].upper()
    if not _METHOD.fullmatch(method):
        raise BadRequest("method must be GET, HEAD, POST, PUT, PATCH or DELETE")
    status, data = await context.proxy(method, input["endpoint"], input.get("body"))
    success = status < 400
    text = None if success else _error_text(data, status)
    return {"success": success, "status": status, "data": data, "error": text}


def _error_text(data: Any, status: int) -> str:
    if isinstance(data, dict):
        found = data.get("error") or data.get("detail")
        if isinstance(found, str):
            return found
    return f"status {status}"


async def subscribe_execution(_: Any, info: Info, executionId: str) -> Subscriber:
    context = info.context
    context.watched = executionId
    await authorize_watched(context)
    return await context.live.follower.subscribe(executionId, context.api, context.on_behalf)


async def authorize_watched(context: Context) -> None:
    """Raise Forbidden unless the user may view the execution that a subscription watches. Raises also NotFound."""
    await context.authorizer.execution(context.who, _VIEW, context.watched, context.on_behalf)


def subscribed(state: ExecutionState) -> dict[str, Any]:
    """Return the root value of a subscription for a state."""
    return {"execution": _state(state)}


QUERY = {
    "health": health,
    "version": version,
    "me": me,
    "playbooks": playbooks,
    "playbook": playbook,
    "executionStatus": execution_status,
    "execution": execution,
    "executions": executions,
}
MUTATION = {
    "executePlaybook": execute_playbook,
    "rerunExecution": rerun_execution,
    "cancelExecution": cancel_execution,
    "proxyRequest": proxy_request,
}
SUBSCRIPTION = {"execution": subscribe_execution}
NESTED: dict[str, dict[str, Any]] = {"ExecutionStatus": {"events": events}}
"""Fields below the root that have a resolver, by their type. Only types of root fields have some."""
LOCAL = frozenset({"version", "me"})
"""Root fields that make no upstream call."""

__all__ = [
    "LOCAL",
    "MAX_ITEMS",
    "MUTATION",
    "NESTED",
    "QUERY",
    "SUBSCRIPTION",
    "Context",
    "GatewayError",
    "authorize_watched",
    "subscribed",
    "user_fields",
]
