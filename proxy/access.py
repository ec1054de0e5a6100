"""What a request to the NoETL API is judged on, and the judgement: one way for GraphQL, relays and `proxyRequest`.

Running a playbook, however it is asked for, is judged on that playbook; reading or changing an execution on its
playbook, or on who started it; anything else on its path.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from proxy.errors import BadRequest, Forbidden, NotFound
from proxy.jsontext import json_text
from proxy.observe.tracing import Tracing
from proxy.policy.acl import AccessPolicy, Action, Decision, Permits, Subject
from proxy.sessions.store import Session, SessionStore
from proxy.upstream.noetl import NoetlApi

Headers = list[tuple[str, str]]
_ID = re.compile(r"[0-9]{1,20}")
_WORD = re.compile(r"[A-Za-z_-]+")
_BAD_NAME = re.compile(r"[\x00-\x1f\x7f\\\ud800-\udfff]|(?:^|/)\.\.?(?:/|$)|^/|/$|//|^\s|\s$")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who is asking, with the session that says so."""

    key: bytes
    session: Session
    subject: Subject
    permits: Permits

    @property
    def user_id(self) -> int:
        """The stable id of the user."""
        return self.session.user_id


class Kind(StrEnum):
    """What is asked of the NoETL API."""

    EXECUTE = "execute"
    RERUN = "rerun"
    EXECUTION = "execution"
    RESOURCE = "resource"
    PATH = "path"


@dataclass(frozen=True, slots=True)
class Asked:
    """A classified request: its kind, the action it needs, and the execution it is about."""

    kind: Kind
    action: Action
    execution_id: str = ""


def classify(method: str, api_path: str, action: Action | None) -> Asked:
    """What a request to an upstream path (`/api/…`, normalised) is judged on; `action` is the route's own, if any.

    Spelling variants that a server may take for the same endpoint are treated as that endpoint. Raises NotFound for
    execution ids that are none.
    """
    wanted = action or Action.of_method(method)
    segments = [segment.lower() for segment in api_path.split("/") if segment]
    if segments[:1] != ["api"]:
        return Asked(Kind.PATH, wanted)
    rest = segments[1:]
    if method == "POST" and rest == ["execute"]:
        return Asked(Kind.EXECUTE, Action.EXECUTE)
    if method == "POST" and rest == ["catalog", "resource"]:
        return Asked(Kind.RESOURCE, Action.VIEW)
    if len(rest) >= 2 and rest[0] == "executions":
        return _execution(method, rest[1:], action)
    return Asked(Kind.PATH, wanted)


def _execution(method: str, rest: list[str], action: Action | None) -> Asked:
    execution_id = rest[0]
    if not _ID.fullmatch(execution_id):
        if _WORD.fullmatch(execution_id):
            return Asked(Kind.PATH, action or Action.of_method(method))
        raise NotFound("Execution not found")
    if method == "POST" and rest[1:] == ["rerun"]:
        return Asked(Kind.RERUN, Action.EXECUTE, execution_id)
    if method == "POST" and rest[1:] == ["cancel"]:
        return Asked(Kind.EXECUTION, Action.EXECUTE, execution_id)
    return Asked(Kind.EXECUTION, Action.of_method(method), execution_id)


def _unique(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    names = dict(pairs)
    if len(names) != len(pairs):
        raise BadRequest("The body has the same key twice")
    return names


def _no_constant(name: str) -> Any:
    raise BadRequest(f"The body is not JSON: {name} is not a value")


_DECODER = json.JSONDecoder(object_pairs_hook=_unique, parse_constant=_no_constant)


def parse_json(data: bytes) -> Any:
    """A request's JSON, without the ambiguities that two parsers might read differently. Raises BadRequest."""
    try:
        return _DECODER.decode(json_text(data))
    except (ValueError, RecursionError):
        raise BadRequest("The body is not JSON") from None


def playbook_name(value: Any, field: str) -> str:
    """A playbook's path as a client gave it. Raises BadRequest for what could be read in two ways."""
    if not isinstance(value, str) or not value:
        raise BadRequest(f"{field} is required: the path of a playbook")
    if len(value) > 512 or _BAD_NAME.search(value):
        raise BadRequest(f"{field} is not the path of a playbook")
    return value


class AccessJudge:
    """Applies the access rules; asks upstream which playbook an id stands for."""

    def __init__(
        self, policy: AccessPolicy, store: SessionStore, api: NoetlApi | None, outcomes: dict[str, int]
    ) -> None:
        """`outcomes` counts what is `allowed` and `denied`."""
        self.policy = policy
        self._outcomes = outcomes
        self._store = store
        self._api = api

    def asking(self, api: NoetlApi) -> AccessJudge:
        """The same judge, that asks upstream in another way."""
        return AccessJudge(self.policy, self._store, api, self._outcomes)

    def may(self, who: Principal, action: Action, playbook: str) -> Decision:
        """The decision about a playbook."""
        return self.policy.on_playbook(who.subject, action, playbook)

    def playbook(self, who: Principal, action: Action, playbook: str) -> None:
        """Raise Forbidden unless the playbook may be executed, viewed, modified or deleted."""
        if who.permits.allows_playbook(action, playbook):
            self._outcomes["allowed"] += 1
            return
        decision = self._counted(self.may(who, action, playbook))
        if not decision.allowed:
            raise Forbidden("No access to playbook", detail=f"{action.value} {playbook}: {decision.because}")

    def _counted(self, decision: Decision) -> Decision:
        self._outcomes["allowed" if decision.allowed else "denied"] += 1
        return decision

    def path(self, who: Principal, action: Action, method: str, path: str) -> None:
        """Raise Forbidden unless the path may be requested."""
        decision = self._counted(self.policy.on_path(who.subject, action, method, path))
        if not decision.allowed:
            raise Forbidden(detail=f"{action.value} {method} {path}: {decision.because}")

    async def execution(self, who: Principal, action: Action, execution_id: str, headers: Headers) -> str:
        """The playbook of an execution that the user may view or cancel; raises Forbidden, or NotFound."""
        api = self._need_api()
        path = api.known_path(execution_id) or await api.path_of(execution_id, headers)
        if path is not None and who.permits.allows_playbook(action, path):
            self._outcomes["allowed"] += 1
            return path
        if action in (Action.VIEW, Action.EXECUTE) and await self._started(who, execution_id):
            self._outcomes["allowed"] += 1
            return path or ""
        if path is None:
            raise Forbidden(detail=f"execution {execution_id} has no playbook")
        self.playbook(who, action, path)
        return path

    async def rerun(self, who: Principal, execution_id: str, headers: Headers) -> str:
        """The playbook of an execution that the user may run again."""
        path = await self._need_api().path_of(execution_id, headers)
        if path is None:
            raise Forbidden(detail=f"execution {execution_id} has no playbook")
        self.playbook(who, Action.EXECUTE, path)
        return path

    async def execute_body(self, who: Principal, body: Any, headers: Headers) -> str:
        """The playbook that the body of `/api/execute` runs, if the user may."""
        if not isinstance(body, Mapping):
            raise BadRequest("The body must be a JSON object")
        path, catalog_id = body.get("path"), body.get("catalog_id")
        if path is not None and catalog_id is not None:
            raise BadRequest("Give path or catalog_id, not both")
        if catalog_id is None:
            name = playbook_name(path, "path")
        elif isinstance(catalog_id, str | int) and _ID.fullmatch(str(catalog_id)):
            name = await self._need_api().path_of_catalog_id(str(catalog_id), headers)
        else:
            raise BadRequest("catalog_id must be a number")
        self.playbook(who, Action.EXECUTE, name)
        return name

    async def asked(self, who: Principal, asked: Asked, body: bytes, headers: Headers) -> None:
        """Judge a classified request that has a playbook behind it."""
        if asked.kind is Kind.EXECUTE:
            await self.execute_body(who, parse_json(body), headers)
        elif asked.kind is Kind.RESOURCE:
            document = parse_json(body)
            name = document.get("path") if isinstance(document, Mapping) else None
            self.playbook(who, Action.VIEW, playbook_name(name, "path"))
        elif asked.kind is Kind.RERUN:
            await self.rerun(who, asked.execution_id, headers)
        elif asked.kind is Kind.EXECUTION:
            await self.execution(who, asked.action, asked.execution_id, headers)

    async def owns(self, who: Principal, execution_id: str) -> bool:
        """Whether the user is known to have started the execution."""
        return await self._started(who, execution_id)

    async def _started(self, who: Principal, execution_id: str) -> bool:
        return await self._store.execution_owner(execution_id) == who.user_id

    def _need_api(self) -> NoetlApi:
        if self._api is None:
            raise NotFound
        return self._api


class TracedJudge(AccessJudge):
    """As AccessJudge, with a span for each decision that a request needs."""

    def __init__(
        self,
        policy: AccessPolicy,
        store: SessionStore,
        api: NoetlApi | None,
        outcomes: dict[str, int],
        tracing: Tracing,
    ) -> None:
        super().__init__(policy, store, api, outcomes)
        self._tracing = tracing

    def path(self, who: Principal, action: Action, method: str, path: str) -> None:
        with self._tracing.step("access"):
            super().path(who, action, method, path)

    async def asked(self, who: Principal, asked: Asked, body: bytes, headers: Headers) -> None:
        with self._tracing.step("access"):
            await super().asked(who, asked, body, headers)

    async def execution(self, who: Principal, action: Action, execution_id: str, headers: Headers) -> str:
        with self._tracing.step("access"):
            return await super().execution(who, action, execution_id, headers)
