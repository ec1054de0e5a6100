"""The access decision about a request: one way for GraphQL, the relay and `proxyRequest`.

Pure where the playbook is known (the request names it, or the execution is in the cache); else one call upstream.
"""

from __future__ import annotations

import asyncio
from typing import NamedTuple

from proxy.bounded import BoundedCache
from proxy.errors import Forbidden, NotFound, PayloadTooLarge
from proxy.http.json import parse_json
from proxy.http.request import RequestHead
from proxy.identity.principal import Principal
from proxy.noetl.api import NoetlApi
from proxy.noetl.known_facts import KnownFacts
from proxy.noetl.needs import About, Need, Needs
from proxy.noetl.on_behalf import OnBehalf
from proxy.noetl.surface import Judged, Listing, Starts, needs_of
from proxy.observe.tracing import Tracing
from proxy.policy.acl import AccessPolicy, Action, Decision, Permits
from proxy.sessions.store import SessionStore


class Authorized(NamedTuple):
    """The request may go on. `playbook` is the one that it runs; None for a request that runs none, or another one."""

    playbook: str | None


_ALLOWED = Authorized(None)
_PATH, _PLAYBOOK, _CATALOG_ID, _EXECUTION = About.PATH, About.PLAYBOOK, About.CATALOG_ID, About.EXECUTION
_OF_OWNERS = frozenset({Action.VIEW, Action.EXECUTE})
_NAMED = Starts.NAMED
_IN_THREAD = 64 * 1024
_AT_ONCE = 2
_KNOWN_LISTS = 256
_KNOWN_BYTES = 4 * 1024**2


class Authorizer:
    """Applies the access rules of one configuration. `slow` bounds how many threads read bodies and lists at once.

    Args:
        policy: the rules.
        store: knows who started an execution.
        api: asks upstream which playbook an id belongs to; None without a NoETL upstream.
        outcomes: counts decisions as `allowed` and `denied`.
        tracing: records a span for each decision that may wait, if tracing is on.
        max_judged: the largest body that is judged, in bytes; with the content of a playbook ten times as much.
    """

    def __init__(
        self,
        policy: AccessPolicy,
        store: SessionStore,
        api: NoetlApi | None,
        outcomes: dict[str, int],
        tracing: Tracing | None = None,
        max_judged: int = 1024**2,
    ) -> None:
        self.policy = policy
        self._store = store
        self._api = api
        self._paths = api.known.paths if api is not None else KnownFacts().paths
        self._outcomes = outcomes
        self._tracing = tracing
        self._max_judged = max_judged
        self.slow = asyncio.Semaphore(_AT_ONCE)
        self.lists: BoundedCache[tuple[Permits, Listing, bytes], bytes] = BoundedCache(_KNOWN_LISTS, _KNOWN_BYTES)
        """Filtered lists by the rules of their user and their bytes; see `filtering`."""

    def using(self, api: NoetlApi) -> Authorizer:
        """Return the same authorizer with another way to call upstream."""
        return Authorizer(self.policy, self._store, api, self._outcomes, self._tracing, self._max_judged)

    def decide(self, who: Principal, action: Action, playbook: str) -> Decision:
        """Return the decision about a playbook, with its reason."""
        return self.policy.on_playbook(who.subject, action, playbook)

    def max_body(self, judged: Judged, otherwise: int) -> int:
        """Return the largest body of a request, in bytes; `otherwise` is that of its route."""
        return min(self._most(judged), otherwise) if judged.body is not None else otherwise

    def _most(self, judged: Judged) -> int:
        """Return the largest body that is judged, in bytes."""
        return self._max_judged * 10 if judged.content else self._max_judged

    def playbook(self, who: Principal, action: Action, playbook: str) -> Authorized:
        """Raise Forbidden unless the action on the playbook is allowed."""
        self._require(who, action, playbook)
        self._outcomes["allowed"] += 1
        return Authorized(playbook)

    def authorize_known(self, who: Principal, judged: Judged, request: RequestHead, body: bytes) -> Authorized | None:
        """Decide about a request without waiting; None if a call upstream, the store or a thread is needed first.

        Args:
            who: the signed-in user.
            judged: what the request is judged on.
            request: its head, with its own path, normalised.
            body: of a request that is judged by its body.

        Raises:
            Forbidden: no rule allows it.
            BadRequest: the query or the body names nothing, something malformed, or two where one is needed.
            PayloadTooLarge: the body is too large to be judged.
        """
        needs = judged.needs
        if judged.varies:
            if judged.content or len(body) > _IN_THREAD:
                return None
            needs = self._read(judged, request.query, body)
        playbook, unsettled = self._settle(who, needs, request)
        if unsettled:
            return None
        self._outcomes["allowed"] += 1
        return Authorized(playbook) if judged.starts is _NAMED else _ALLOWED

    async def authorize(
        self, who: Principal, judged: Judged, request: RequestHead, body: bytes, on_behalf: OnBehalf
    ) -> Authorized:
        """Decide about a request, with calls upstream where they are needed. Arguments as of `authorize_known`.

        Raises what `authorize_known` raises, and NotFound: there is no such execution or catalog entry.
        """
        if self._tracing is None:
            return await self._authorize(who, judged, request, body, on_behalf)
        with self._tracing.step("access"):
            return await self._authorize(who, judged, request, body, on_behalf)

    async def _authorize(
        self, who: Principal, judged: Judged, request: RequestHead, body: bytes, on_behalf: OnBehalf
    ) -> Authorized:
        if judged.body is not None and (judged.content or len(body) > _IN_THREAD):
            async with self.slow:
                needs = await asyncio.to_thread(self._read, judged, request.query, body)
        else:
            needs = self._read(judged, request.query, body)
        playbook, unsettled = self._settle(who, needs, request)
        for need in unsettled:
            playbook = await self._ask(who, need, on_behalf)
        self._outcomes["allowed"] += 1
        return Authorized(playbook) if judged.starts is _NAMED else _ALLOWED

    def _read(self, judged: Judged, query: str, body: bytes) -> Needs:
        """Return all that a request needs."""
        if judged.body is None:
            return needs_of(judged, query, None)
        if len(body) > self._max_judged and len(body) > self._most(judged):
            raise PayloadTooLarge(detail=f"{len(body)} bytes, {self._most(judged)} are judged")
        return needs_of(judged, query, parse_json(body))

    def _settle(self, who: Principal, needs: Needs, request: RequestHead) -> tuple[str | None, Needs]:
        """Decide about all needs that are known; return the playbook of the last one, and those that are not known.

        Raises Forbidden.
        """
        permits = who.permits
        playbook: str | None = None
        unsettled: Needs = ()
        for need in needs:
            about, action, name = need
            if about is _PATH:
                if not permits.allows(action, request.method, request.path):
                    raise self._denied_path(who, action, request)
                continue
            if about is _PLAYBOOK:
                playbook = name
            elif about is _CATALOG_ID:
                playbook = self._need_api().known_catalog_path(name)
            else:
                playbook = self._paths[name]
            if playbook is None:
                unsettled += (need,)
            elif not permits.allows_playbook(action, playbook):
                if about is not _EXECUTION:
                    self._require(who, action, playbook)
                unsettled += (need,)  # the user may have started it
        return playbook, unsettled

    async def _ask(self, who: Principal, need: Need, on_behalf: OnBehalf) -> str | None:
        """Return the playbook of a need that is allowed, after a call upstream or to the store. Raises likewise."""
        about, action, name = need
        if about is _CATALOG_ID:
            return self._require(who, action, await self._need_api().path_of_catalog_id(name, on_behalf))
        playbook = self._paths[name] or await self._need_api().path_of(name, on_behalf)
        refused = playbook is None or not who.permits.allows_playbook(action, playbook)
        if refused and about is _EXECUTION and action in _OF_OWNERS and await self.started(who, name, wait=True):
            return playbook
        if playbook is None:
            self._outcomes["denied"] += 1
            raise Forbidden(detail=f"execution {name} has no playbook")
        return self._require(who, action, playbook)

    def _require(self, who: Principal, action: Action, playbook: str) -> str:
        """Return the playbook, if the action on it is allowed. Raises Forbidden."""
        if who.permits.allows_playbook(action, playbook):
            return playbook
        self._outcomes["denied"] += 1
        decision = self.decide(who, action, playbook)
        raise Forbidden("No access to playbook", detail=f"{action.value} {playbook}: {decision.because}")

    def _denied_path(self, who: Principal, action: Action, request: RequestHead) -> Forbidden:
        self._outcomes["denied"] += 1
        decision = self.policy.on_path(who.subject, action, request.method, request.path)
        return Forbidden(detail=f"{action.value} {request.method} {request.path}: {decision.because}")

    async def execution(self, who: Principal, action: Action, execution_id: str, on_behalf: OnBehalf) -> Authorized:
        """Raise Forbidden unless the execution's playbook allows the action, or the user started the execution.

        Raises also NotFound.
        """
        playbook = await self._ask(who, Need(_EXECUTION, action, execution_id), on_behalf)
        self._outcomes["allowed"] += 1
        return Authorized(playbook)

    async def rerun(self, who: Principal, execution_id: str, on_behalf: OnBehalf) -> Authorized:
        """Raise Forbidden unless the user may run the execution's playbook again. Raises also NotFound."""
        playbook = await self._ask(who, Need(About.RUN, Action.EXECUTE, execution_id), on_behalf)
        self._outcomes["allowed"] += 1
        return Authorized(playbook)

    async def started(self, who: Principal, execution_id: str, *, wait: bool = False) -> bool:
        """Return whether the user is known to have started the execution; `wait` is that of `execution_owner`."""
        return await self._store.execution_owner(execution_id, wait=wait) == who.user_id

    def _need_api(self) -> NoetlApi:
        if self._api is None:
            raise NotFound
        return self._api
