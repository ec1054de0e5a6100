"""What both transports know of one relayed route, compiled."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from http import HTTPStatus

from proxy.config.compile import RouteSpec
from proxy.http.header_plan import PlannedHead, RequestPlan, ResponsePlan, request_start, text_lines
from proxy.http.request import RequestFields, RequestHead
from proxy.http.target import KnownPath
from proxy.identity.principal import Principal
from proxy.noetl.api import NoetlApi
from proxy.noetl.authorize import Authorized, Authorizer
from proxy.noetl.bridge.bridge import Bridge, Bridged
from proxy.noetl.bridge.table import BridgedPath, row_of
from proxy.noetl.filtering import fields_of_part, request_lines
from proxy.noetl.surface import Judged, by_path, classify
from proxy.policy.acl import Action
from proxy.policy.cors import CorsPolicy
from proxy.relay.event_streams import Drain
from proxy.rewrite import Rewrite
from proxy.sessions.store import SessionStore
from proxy.upstream.client import UpstreamClient
from proxy.upstream.heads import ResponseHead


class UpstreamPath:
    """What one route makes of a request's path: `path` goes upstream, `start` begins the head that is sent there.

    `judged` is what the request is judged on; None until that is needed. `bridged` is the row of the bridge that names
    the request, if there is one: the path is that of the request that the server gets.
    """

    __slots__ = ("bridged", "judged", "path", "start")

    def __init__(self, method: str, path: str, bridged: BridgedPath | None = None) -> None:
        self.bridged = bridged
        self.path = path = path if bridged is None else bridged.path(path, None)
        self.start = request_start(method, path)
        self.judged: Judged | None = None


@dataclass(frozen=True, slots=True, eq=False)
class RelayedRoute:
    """One relayed route.

    Args:
        spec: the route.
        upstream: where it leads.
        api: the NoETL API of that upstream; None for an upstream that is not NoETL, whose requests are judged by path.
        authorizer: decides about its requests.
        store: learns who started an execution.
        rewrite: makes the upstream path.
        request_plan: which of a client's fields go upstream.
        response_plan: what becomes of a response's fields.
        drain: ends event streams and tunnels with the process or their session.
        timeout: seconds until the response's head.
        max_started: the most bytes of a start's response that are read for the execution's id.
        bridge: makes requests and responses right for clients of either generation; None: they remain as they are.
    """

    spec: RouteSpec
    upstream: UpstreamClient
    api: NoetlApi | None
    authorizer: Authorizer
    store: SessionStore
    rewrite: Rewrite
    request_plan: RequestPlan
    response_plan: ResponsePlan
    drain: Drain
    timeout: float
    max_started: int = 1024 * 1024
    bridge: Bridge | None = None

    def upstream_path(self, known: KnownPath, params: Mapping[str, str]) -> UpstreamPath:
        """Return what the route makes of a path, which depends on nothing else. Raises BadRequest."""
        found: UpstreamPath | None = known.derived.get(self)
        if found is None:
            path = self.rewrite.apply(known.path, params)
            found = known.derived[self] = UpstreamPath(known.method, path, self.bridged_path(known.method, path))
        return found

    def bridged_path(self, method: str, path: str) -> BridgedPath | None:
        """Return the row of the bridge that names a request, if there is one; `path` is the upstream path."""
        return None if self.bridge is None else row_of(method, path)

    def judge(self, method: str, path: str) -> Judged:
        """Return what a request is judged on; `path` is the upstream path. Raises NotFound or BadRequest."""
        if self.api is None:
            return by_path(self.spec.action or Action.of_method(method))
        return classify(method, path, self.spec.action)

    def balance_key(self, target: str, lines: bytes, principal: Principal | None, body: bytes) -> bytes | None:
        """Return what the upstream balances by, if it does."""
        key = self.upstream.balancer.key
        return None if key is None else key(target, lines, principal.key if principal is not None else b"", body)

    def cors_lines(self, head: RequestHead) -> bytes:
        """Return the fields that let a page of the request's origin read the response."""
        return cors_lines(self.spec.cors, head)

    def note_started(self, who: Principal, body: bytes, authorized: Authorized) -> None:
        """Note who started the executions that a response names, and their playbook."""
        if self.api is not None:
            for execution_id in self.api.note_started(body, authorized.playbook):
                self.store.store_execution_owner(execution_id, who.user_id, time.time())


def cors_lines(cors: CorsPolicy, head: RequestHead) -> bytes:
    """Return the fields that let a page of the request's origin read a response, but for `vary`."""
    origin = head.fields.origin
    if origin is None:
        return b""
    lines = head.fields.derived.get(cors)
    if lines is None:
        lines = head.fields.derived[cors] = text_lines(cors.response_headers(origin))
    return lines


def own_cors_lines(cors: CorsPolicy, head: RequestHead) -> bytes:
    """Return the same fields for a response of the gateway's own, with `vary` where it depends on the origin."""
    return cors_lines(cors, head) + (b"vary: origin\r\n" if cors.varies else b"")


def part_head(plan: ResponsePlan, head: ResponseHead) -> PlannedHead:
    """Return the head of a filtered list for the client, likewise."""
    planned: PlannedHead | None = head.derived.get((plan, fields_of_part))
    if planned is None:
        planned = plan.head(head.status, head.reason, fields_of_part(head.headers), chunked=False)
        head.derived[plan, fields_of_part] = planned
    return planned


def bridged_head(plan: ResponsePlan, head: ResponseHead, bridged: Bridged) -> PlannedHead:
    """Return the head of a changed response for the client, likewise."""
    key = (plan, bridged.status, bridged.rows)
    planned: PlannedHead | None = head.derived.get(key)
    if planned is None:
        fields = [*fields_of_part(head.headers), (b"x-noetl-bridge", bridged.rows)]
        reason = head.reason if bridged.status == head.status else HTTPStatus(bridged.status).phrase.encode()
        planned = head.derived[key] = plan.head(bridged.status, reason, fields, chunked=False)
    return planned


def whole_lines(fields: RequestFields, plan: RequestPlan) -> bytes:
    """Return the fields to forward with a request whose response is changed: for the whole, without a coding."""
    lines: bytes | None = fields.derived.get((plan, request_lines))
    if lines is None:
        lines = fields.derived[plan, request_lines] = request_lines(fields.forwarded(plan))
    return lines


def client_head(plan: ResponsePlan, head: ResponseHead) -> PlannedHead:
    """Return the head of a response for the client, as the plan makes it once for each upstream head."""
    planned = head.derived.get(plan)
    if planned is None:
        planned = head.derived[plan] = plan.head(head.status, head.reason, head.headers, chunked=head.chunked)
    return planned
