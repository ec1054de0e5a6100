"""The guards of a request, in one order: origin, `allow_from`, rate limit by address, session, role, rate limit by
session.

`admit` is called for every request, for every `proxyRequest` and for WebSocket handshakes. It refuses by raising; it
sends nothing and waits for nothing, but for a session store that is not local (`admit_waiting`).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol

from proxy.errors import Forbidden, GatewayError, Unauthorized
from proxy.http.client_address import Network, in_networks
from proxy.http.credentials import Credentials
from proxy.http.origin import Origin, origin_of, read_origin
from proxy.http.request import SAFE_METHODS, RequestHead
from proxy.identity.principal import Principal
from proxy.policy.acl import lacks_role
from proxy.policy.cors import CorsPolicy
from proxy.rate_limits import RateLimit

NO_SESSION, OPTIONAL, REQUIRED = "none", "optional", "session"


@dataclass(frozen=True, slots=True)
class RouteGuards:
    """The guards of one route, compiled.

    `session`: whether one is `none` (not looked for), `optional` or `session` (required). `checks_origin`: a request
    that changes something by a session cookie, or plants one, must come from an allowed origin; `plants_cookie`: the
    route's response may set the cookie. `own_origin` is that of `server.public_url`.
    """

    pattern: str
    cors: CorsPolicy
    allow_from: Sequence[Network]
    session: str
    roles: frozenset[str]
    limit: RateLimit | None
    checks_origin: bool
    plants_cookie: bool
    own_origin: Origin | None
    before_session: bool = field(init=False)
    behind_session: bool = field(init=False)

    def __post_init__(self) -> None:
        """Note whether any guard has to look at a request before, and behind, its session."""
        needs_session = self.limit is not None and self.limit.needs_session
        before = self.checks_origin or bool(self.allow_from) or (self.limit is not None and not needs_session)
        object.__setattr__(self, "before_session", before)
        object.__setattr__(self, "behind_session", bool(self.roles) or needs_session)


class Sessions(Protocol):
    """Finds the principals of credentials; see `identity.principal.Principals`."""

    def find(self, credentials: Credentials, address: str, user_agent: str) -> Principal | None:
        """Return the principal of a live session, without waiting."""

    async def fetch(self, credentials: Credentials, address: str, user_agent: str) -> Principal | None:
        """Return the principal of a live session."""


def admit(guards: RouteGuards, head: RequestHead, sessions: Sessions) -> Principal | None:
    """Apply all guards of a route to a request; return the signed-in user, if there is one.

    Raises:
        Forbidden: a foreign origin, an address that is not in `allow_from`, or no role that the route requires.
        TooManyRequests: over the route's rate limit.
        Unauthorized: no live session where one is required, or one that is bound to another client.
        StoreError: the session store can't be used.
        MustWait: the session can't be looked up without waiting; the guards before it have passed.
    """
    if guards.before_session:
        check_connection(guards, head)
    principal = None
    if guards.session is not NO_SESSION:
        fields = head.fields
        principal = sessions.find(fields.credentials, head.address, fields.user_agent)
        if principal is None and guards.session is REQUIRED:
            raise Unauthorized
    if guards.behind_session:
        check_principal(guards, head, principal)
    return principal


async def admit_waiting(guards: RouteGuards, head: RequestHead, sessions: Sessions) -> Principal | None:
    """Do as `admit`, where the session store may have to wait."""
    check_connection(guards, head)
    return await admit_user(guards, head, sessions)


async def admit_user(guards: RouteGuards, head: RequestHead, sessions: Sessions) -> Principal | None:
    """Apply the guards from the session on: `admit` has raised MustWait at this point."""
    principal = None
    if guards.session is not NO_SESSION:
        principal = await sessions.fetch(head.fields.credentials, head.address, head.fields.user_agent)
        if principal is None and guards.session is REQUIRED:
            raise Unauthorized
    check_principal(guards, head, principal)
    return principal


def check_connection(guards: RouteGuards, head: RequestHead) -> None:
    """Apply the guards that need no session. Raises as `admit`."""
    if guards.checks_origin and head.method not in SAFE_METHODS:
        _check_origin(guards, head)
    _check_address(guards, head)
    limit = guards.limit
    if limit is not None and not limit.needs_session:
        limit.count(head.address, b"", None, guards.pattern)


def check_principal(guards: RouteGuards, head: RequestHead, principal: Principal | None) -> None:
    """Apply the guards that need to know the user. Raises as `admit`."""
    try:
        _check_principal(guards, head, principal)
    except GatewayError as error:
        error.user_id = principal.user_id if principal is not None else None
        raise


def _check_principal(guards: RouteGuards, head: RequestHead, principal: Principal | None) -> None:
    _check_role(guards, principal)
    limit = guards.limit
    if limit is not None and limit.needs_session:
        session, user_id = (principal.key, principal.user_id) if principal is not None else (b"", None)
        limit.count(head.address, session, user_id, guards.pattern)


def admit_again(guards: RouteGuards, head: RequestHead, principal: Principal) -> None:
    """Apply the guards that a reload may have changed to a stream that is open. It is no new request: no rate counts.

    Raises:
        Forbidden: an address that is not in `allow_from`, or no role that the route requires.
    """
    _check_address(guards, head)
    _check_role(guards, principal)


def count_operation(guards: RouteGuards, head: RequestHead, principal: Principal) -> None:
    """Count an operation on a stream for the route's rate limit, as a request. Raises TooManyRequests."""
    if guards.limit is not None:
        guards.limit.count(head.address, principal.key, principal.user_id, guards.pattern)


def _check_address(guards: RouteGuards, head: RequestHead) -> None:
    if guards.allow_from and not in_networks(head.address, guards.allow_from):
        raise Forbidden(detail=f"{head.address} is not in allow_from of {guards.pattern}")


def _check_role(guards: RouteGuards, principal: Principal | None) -> None:
    if lacks_role(guards.roles, frozenset() if principal is None else principal.subject.roles):
        raise Forbidden(detail=f"route {guards.pattern} requires a role")


def _check_origin(guards: RouteGuards, head: RequestHead) -> None:
    """Raise Forbidden if a page of a foreign origin changes something by a session cookie, or plants one.

    A browser names the origin in `Origin`, or says at least that the page is of another site, in `Sec-Fetch-Site`
    (Fetch Metadata, 2.3). Other clients send neither.
    """
    fields = head.fields
    if not (guards.plants_cookie or fields.credentials.has_cookie):
        return
    if fields.origin is None and fields.cross_site:
        raise Forbidden("Origin not allowed", detail="state-changing request from another site")
    if fields.origin is not None and not is_trusted_origin(guards, head, fields.origin):
        raise Forbidden("Origin not allowed", detail=f"state-changing request from {fields.origin!r}")


def is_trusted_origin(guards: RouteGuards, head: RequestHead, origin: str) -> bool:
    """Return whether a page of an origin may act with the user's cookie: the gateway's own, or one named in `cors`.

    `*` in `cors.allowed_origins` names nobody.
    """
    found = read_origin(origin)
    own = (guards.own_origin, origin_of(head.scheme, head.fields.host) if head.fields.host.name else None)
    return (found is not None and found in own) or guards.cors.names(origin)
