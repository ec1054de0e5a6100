"""The access decision about a request: one way for GraphQL, the relay and `proxyRequest`.

Pure where the playbook is known (the request names it, or the execution is in the cache); else one call upstream.
"""

from __future__ import annotations

from typing import NamedTuple

from proxy.errors import Forbidden, NotFound
from proxy.http.json import parse_json
from proxy.identity.principal import Principal
from proxy.noetl.api import NoetlApi
from proxy.noetl.known_facts import KnownFacts
from proxy.noetl.on_behalf import OnBehalf
from proxy.noetl.surface import STARTS, Judged, Kind, named_playbook
from proxy.observe.tracing import Tracing
from proxy.policy.acl import AccessPolicy, Action, Decision
from proxy.sessions.store import SessionStore


class Authorized(NamedTuple):
    """The request may go on. `playbook` is the one that it was judged on; None for a request that starts none."""

    playbook: str | None


_ALLOWED = Authorized(None)
_PATH, _EXECUTE, _RESOURCE, _EXECUTION = Kind.PATH, Kind.EXECUTE, Kind.RESOURCE, Kind.EXECUTION


class Authorizer:
    """Applies the access rules of one configuration.

    Args:
        policy: the rules.
        store: knows who started an execution.
        api: asks upstream which playbook an id belongs to; None without a NoETL upstream.
        outcomes: counts decisions as `allowed` and `denied`.
        tracing: records a span for each decision that may wait, if tracing is on.
    """

    def __init__(
        self,
        policy: AccessPolicy,
        store: SessionStore,
        api: NoetlApi | None,
        outcomes: dict[str, int],
        tracing: Tracing | None = None,
    ) -> None:
        self.policy = policy
        self._store = store
        self._api = api
        self._paths = api.known.paths if api is not None else KnownFacts().paths
        self._outcomes = outcomes
        self._tracing = tracing

    def using(self, api: NoetlApi) -> Authorizer:
        """Return the same authorizer with another way to call upstream."""
        return Authorizer(self.policy, self._store, api, self._outcomes, self._tracing)

    def decide(self, who: Principal, action: Action, playbook: str) -> Decision:
        """Return the decision about a playbook, with its reason."""
        return self.policy.on_playbook(who.subject, action, playbook)

    def playbook(self, who: Principal, action: Action, playbook: str) -> Authorized:
        """Raise Forbidden unless the action on the playbook is allowed."""
        if not who.permits.allows_playbook(action, playbook):
            self._outcomes["denied"] += 1
            decision = self.decide(who, action, playbook)
            raise Forbidden("No access to playbook", detail=f"{action.value} {playbook}: {decision.because}")
        self._outcomes["allowed"] += 1
        return Authorized(playbook)

    def path(self, who: Principal, action: Action, method: str, path: str) -> Authorized:
        """Raise Forbidden unless the request is allowed by its path."""
        if not who.permits.allows(action, method, path):
            self._outcomes["denied"] += 1
            decision = self.policy.on_path(who.subject, action, method, path)
            raise Forbidden(detail=f"{action.value} {method} {path}: {decision.because}")
        self._outcomes["allowed"] += 1
        return _ALLOWED

    def authorize_known(self, who: Principal, judged: Judged, method: str, path: str, body: bytes) -> Authorized | None:
        """Decide about a request without waiting; None if a call upstream or to the store is needed first.

        Args:
            who: the signed-in user.
            judged: what the request is judged on.
            method: of the request.
            path: the request's own path, normalised.
            body: of a request that is judged by its body.

        Raises:
            Forbidden: no rule allows it.
            BadRequest: the body names no playbook, or more than one.
        """
        kind = judged.kind
        if kind is _PATH:
            return self.path(who, judged.action, method, path)
        if kind is _EXECUTE or kind is _RESOURCE:
            named = named_playbook(kind, parse_json(body))
            playbook = named.path or self._need_api().known_catalog_path(named.catalog_id or "")
        else:
            playbook = self._paths[judged.execution_id]
        if playbook is None:
            return None
        if who.permits.allows_playbook(judged.action, playbook):
            self._outcomes["allowed"] += 1
            return Authorized(playbook) if kind in STARTS else _ALLOWED
        if kind is _EXECUTION:
            return None  # the user may have started it
        return self.playbook(who, judged.action, playbook)

    async def authorize(
        self, who: Principal, judged: Judged, method: str, path: str, body: bytes, on_behalf: OnBehalf
    ) -> Authorized:
        """Decide about a request, with calls upstream where they are needed. Arguments as of `authorize_known`.

        Raises:
            Forbidden: no rule allows it.
            BadRequest: the body names no playbook, or more than one.
            NotFound: there is no such execution or catalog entry.
        """
        if self._tracing is None:
            return await self._authorize(who, judged, method, path, body, on_behalf)
        with self._tracing.step("access"):
            return await self._authorize(who, judged, method, path, body, on_behalf)

    async def _authorize(
        self, who: Principal, judged: Judged, method: str, path: str, body: bytes, on_behalf: OnBehalf
    ) -> Authorized:
        known = self.authorize_known(who, judged, method, path, body)
        if known is not None:
            return known
        if judged.kind is Kind.EXECUTION:
            return await self.execution(who, judged.action, judged.execution_id, on_behalf)
        if judged.kind is Kind.RERUN:
            return await self.rerun(who, judged.execution_id, on_behalf)
        named = named_playbook(judged.kind, parse_json(body))
        playbook = await self._need_api().path_of_catalog_id(named.catalog_id or "", on_behalf)
        return self.playbook(who, judged.action, playbook)

    async def execution(self, who: Principal, action: Action, execution_id: str, on_behalf: OnBehalf) -> Authorized:
        """Raise Forbidden unless the execution's playbook allows the action, or the user started the execution.

        Raises also NotFound.
        """
        playbook = self._paths[execution_id] or await self._need_api().path_of(execution_id, on_behalf)
        if playbook is not None and who.permits.allows_playbook(action, playbook):
            return self.playbook(who, action, playbook)
        if action in (Action.VIEW, Action.EXECUTE) and await self.started(who, execution_id, wait=True):
            self._outcomes["allowed"] += 1
            return Authorized(playbook)
        if playbook is None:
            raise Forbidden(detail=f"execution {execution_id} has no playbook")
        return self.playbook(who, action, playbook)

    async def rerun(self, who: Principal, execution_id: str, on_behalf: OnBehalf) -> Authorized:
        """Raise Forbidden unless the user may run the execution's playbook again. Raises also NotFound."""
        playbook = await self._need_api().path_of(execution_id, on_behalf)
        if playbook is None:
            raise Forbidden(detail=f"execution {execution_id} has no playbook")
        return self.playbook(who, Action.EXECUTE, playbook)

    async def started(self, who: Principal, execution_id: str, *, wait: bool = False) -> bool:
        """Return whether the user is known to have started the execution; `wait` is that of `execution_owner`."""
        return await self._store.execution_owner(execution_id, wait=wait) == who.user_id

    def _need_api(self) -> NoetlApi:
        if self._api is None:
            raise NotFound
        return self._api
