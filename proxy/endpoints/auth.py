"""Signing in and out, and what a session is good for: the `/api/auth/…` endpoints."""

from __future__ import annotations

import math
import secrets
import time
from collections.abc import Hashable
from dataclasses import dataclass, field
from functools import partial
from http.cookies import SimpleCookie
from typing import Any, NamedTuple

from proxy.bounded import BoundedCache
from proxy.config.model_identity import Cookie
from proxy.errors import BadRequest, GatewayError, NotFound, TooManyRequests, Unauthorized, Unavailable
from proxy.exchange import Exchange, RequestContext
from proxy.http.body import read_object
from proxy.http.credentials import Credentials, named_session, ticket_key
from proxy.http.json import require_json, write_json
from proxy.http.request import RequestHead
from proxy.http.response import NO_STORE, Fields, Response, json_bytes, json_response
from proxy.identity.jwks import KeySetUnavailable
from proxy.identity.local import LoginAttempt, LoginProvider
from proxy.identity.principal import Principal, Principals, WrongBinding, may_end
from proxy.identity.tokens import InvalidToken
from proxy.noetl.accounts.calls import AuthCalls
from proxy.noetl.authorize import Authorizer
from proxy.noetl.needs import playbook_name
from proxy.observe.metrics import Metrics
from proxy.policy.acl import Action, Decision
from proxy.policy.ratelimit import address_key
from proxy.policy.throttle import Throttle
from proxy.sessions.store import Session, SessionStore, StoreError, instant

_KNOWN_BODIES = 4096
_KNOWN_BYTES = 1024**2
_MAX_KNOWN = 256
_LIMIT = 64 * 1024
_TICKET_SECONDS = 30
_ACTIONS = {"execute": "execute", "view": "view", "modify": "modify", "edit": "modify", "delete": "delete"}


def _text(document: dict[str, Any], name: str, *, required: bool = False) -> str | None:
    value = document.get(name)
    if value is None and not required:
        return None
    if value is None or value == "":
        raise BadRequest(f"{name} is required")
    if not isinstance(value, str):
        raise BadRequest(f"{name} must be a text")
    return value


@dataclass(frozen=True, slots=True)
class AuthHandlers:
    """The endpoints.

    Args:
        provider: verifies tokens and makes sessions.
        store: of the sessions.
        principals: finds who a session belongs to.
        authorizer: decides about playbooks, for `check-access`.
        cookie: the session cookie, if it is enabled.
        metrics: counts logins.
        throttle: slows down failed logins.
        noetl: asks NoETL for its permissions; None if it keeps no sessions.
    """

    provider: LoginProvider
    store: SessionStore
    principals: Principals
    authorizer: Authorizer
    cookie: Cookie
    metrics: Metrics
    throttle: Throttle
    noetl: AuthCalls | None = None
    known_bodies: BoundedCache[bytes, Credentials] = field(
        default_factory=lambda: BoundedCache(_KNOWN_BODIES, _KNOWN_BYTES), repr=False
    )
    """Whose session a body names: pages send the same one again and again."""

    async def login(self, context: RequestContext) -> Response:
        """Trade a token of the identity provider for a session."""
        document = await context.body.json_object(_LIMIT)
        token = _text(document, "auth0_token", required=True) or ""
        domain = _text(document, "auth0_domain")
        hours = document.get("session_duration_hours")
        if hours is not None and (type(hours) is not int or hours < 1):
            raise BadRequest("session_duration_hours must be a whole number of at least 1")
        head, refresh_token = context.head, document.get("auth0_refresh_token")
        client = ("address", address_key(head.address))
        self._slow_down(client)
        try:
            made = await self.provider.login(
                LoginAttempt(
                    token,
                    domain,
                    hours,
                    head.address,
                    head.fields.user_agent,
                    head.fields.credentials.keys,
                    refresh_token if isinstance(refresh_token, str) else "",
                )
            )
        except InvalidToken as error:
            self._note_failure(client, error.account)
            why = "; ".join(filter(None, (str(error), error.detail)))
            raise Unauthorized(error.public, detail=f"login at tenant {domain!r}: {why}") from None
        except KeySetUnavailable as error:
            self.metrics.logins["keys_unavailable"] += 1
            text = "The identity provider's keys can't be had just now"
            raise Unavailable(text, retry_after=int(error.retry_after) + 1, detail=str(error)) from None
        except (StoreError, GatewayError):
            self.metrics.logins["error"] += 1
            raise
        self.metrics.logins["success"] += 1
        self.throttle.succeeded(client)
        principal = context.principal = self.principals.of_session(b"", made.session)
        return json_response(
            {
                "status": "authenticated",
                "session_token": made.token,
                "user": principal.document,
                "expires_at": instant(made.session.expires_at),
                "message": "Authentication successful",
            },
            fields=self._cookie_fields(made.token, int(made.session.expires_at - time.time())),
        )

    def _slow_down(self, who: Hashable) -> None:
        """Raise TooManyRequests while an address, or an account, has to wait."""
        wait = self.throttle.wait(who, time.monotonic())
        if wait > 0:
            self.metrics.logins["throttled"] += 1
            raise TooManyRequests(math.ceil(wait), detail="too many failed logins")

    def _note_failure(self, client: Hashable, account: tuple[str, str] | None) -> None:
        """A token was refused; where it had proved whose it is, the account is slowed down as well."""
        now = time.monotonic()
        self.throttle.failed(client, now)
        if account is not None:
            self._slow_down(("account", account))
            self.throttle.failed(("account", account), now)
        self.metrics.logins["invalid_token"] += 1

    def _cookie_fields(self, value: str, max_age: int) -> Fields:
        """Return the field that sets the session cookie, or removes it (RFC 6265, 4.1); none if it is not enabled."""
        if not self.cookie.enabled:
            return ()
        cookie: SimpleCookie = SimpleCookie()
        cookie[self.cookie.name] = value
        morsel = cookie[self.cookie.name]
        morsel.update({"max-age": str(max_age), "path": "/", "samesite": self.cookie.same_site.capitalize()})
        morsel["httponly"] = True
        morsel["secure"] = self.cookie.secure
        if self.cookie.domain:
            morsel["domain"] = self.cookie.domain
        return (("set-cookie", morsel.OutputString()),)

    async def validate(self, context: RequestContext) -> Response:
        """Tell whether a session is valid, and whose it is."""
        data = await context.body.read(_LIMIT)
        credentials = self._credentials(context.head, data, needed=True)
        try:
            fields = context.head.fields
            context.principal = await self.principals.fetch(credentials, context.head.address, fields.user_agent)
        except WrongBinding as error:
            context.note(error)
        return _validated(context.principal)

    def validate_now(self, exchange: Exchange, data: bytes) -> Response:
        """Do as `validate`, for a body that has arrived and a store that need not wait."""
        head = exchange.head
        credentials = self._credentials(head, data, needed=True)
        try:
            exchange.principal = self.principals.find(credentials, head.address, head.fields.user_agent)
        except WrongBinding as error:
            exchange.note(error)
        return _validated(exchange.principal)

    def _credentials(self, head: RequestHead, data: bytes, *, needed: bool = False) -> Credentials:
        """Return the session that a request is about: that of its body, else that of its fields."""
        known = self.known_bodies[data]
        if known is not None:
            require_json(head.fields)
            return known
        token = _text(read_object(head.fields, data), "session_token")
        if token:
            found = named_session(token, self.principals.tokens)
            if found.keys and len(data) <= _MAX_KNOWN:
                self.known_bodies.put(data, found, len(data))
            return found
        if needed and not head.fields.credentials.presented:
            raise BadRequest("session_token is required")
        return head.fields.credentials

    async def check_access(self, context: RequestContext) -> Response:
        """Return whether the user has a permission for a playbook."""
        head, data = context.head, await context.body.read(_LIMIT)
        wanted = _wanted_access(head, data)
        credentials = self._credentials(head, data)
        context.principal = await self.principals.fetch(credentials, head.address, head.fields.user_agent)
        if self.noetl is None:
            return self._access(context.principal, wanted)
        return await self._access_at_noetl(self.noetl, context, credentials, wanted)

    async def _access_at_noetl(
        self, noetl: AuthCalls, context: RequestContext, credentials: Credentials, wanted: WantedAccess
    ) -> Response:
        """Return whether the rules of the gateway allow it and NoETL's permissions as well."""
        decision = self._decision(context.principal, wanted)
        if not decision.allowed:
            return _access_response(context.who, wanted, allowed=False)
        token = credentials.tokens[credentials.keys.index(context.who.key)]
        kind = wanted.action.value
        allowed, message = await noetl.check_access(token, wanted.playbook, kind, context.on_behalf())
        return _access_response(context.who, wanted, allowed=allowed, message=message)

    def check_access_now(self, exchange: Exchange, data: bytes) -> Response:
        """Do as `check_access`, for a body that has arrived and a store that need not wait."""
        head = exchange.head
        wanted = _wanted_access(head, data)
        credentials = self._credentials(head, data)
        exchange.principal = self.principals.find(credentials, head.address, head.fields.user_agent)
        return self._access(exchange.principal, wanted)

    def _access(self, principal: Principal | None, wanted: WantedAccess) -> Response:
        decision = self._decision(principal, wanted)
        assert principal is not None  # noqa: S101 - there is a decision
        return _access_response(principal, wanted, allowed=decision.allowed)

    def _decision(self, principal: Principal | None, wanted: WantedAccess) -> Decision:
        if principal is None:
            raise Unauthorized
        return self.authorizer.decide(principal, wanted.action, playbook_name(wanted.playbook, "playbook_name"))

    async def logout(self, context: RequestContext) -> Response:
        """End the session, and those of all session cookies of the request; or all of the user's."""
        head, data = context.head, await context.body.read(_LIMIT)
        document = read_object(head.fields, data)
        everywhere = document.get("everywhere", False)
        if not isinstance(everywhere, bool):
            raise BadRequest("everywhere must be true or false")
        credentials = head.fields.credentials
        if not credentials.keys:
            credentials = self._credentials(head, data)
        try:
            who = await self.principals.fetch(credentials, head.address, head.fields.user_agent)
        except WrongBinding:
            raise
        except GatewayError:
            if not await self._end_known(credentials, everywhere=everywhere):
                raise
        else:
            if who is None:
                raise Unauthorized
            context.principal = who
            if everywhere:
                await self.store.end_user(who.user_id)
            for key in {who.key, *credentials.cookie_keys}:
                await self.store.end(key)
        return json_response({"status": "logged_out"}, fields=self._cookie_fields("", 0))

    async def _end_known(self, credentials: Credentials, *, everywhere: bool) -> bool:
        """End the sessions that the store knows, which NoETL can't validate just now; return whether there are any."""
        found = [session for key in credentials.keys if (session := await self.store.get(key)) is not None]
        for session in found if everywhere else ():
            await self.store.end_user(session.user_id)
        for key in {*credentials.keys, *credentials.cookie_keys}:
            await self.store.end(key)
        return bool(found)

    async def sessions(self, context: RequestContext) -> Response:
        """List the user's sessions, or end one by its public id."""
        if context.head.method == "DELETE":
            return await self._end_session(context)
        who, now = context.who, time.time()
        mine = await self.store.of_user(who.user_id)
        idle = self.principals.idle_timeout
        listed = [_session_document(s, who) for s in mine if s.alive(now, idle)]
        return json_response({"sessions": listed})

    async def _end_session(self, context: RequestContext) -> Response:
        who = context.who
        allowed = partial(may_end, who, every_tenant=self.principals.admins_of_all)
        if not await self.store.end_id(context.params.get("id", ""), allowed):
            raise NotFound("Session not found")
        return Response(204, (NO_STORE,))

    async def ticket(self, context: RequestContext) -> Response:
        """Make a ticket of one use for the session."""
        ticket = secrets.token_urlsafe(24)
        expires_at = time.time() + _TICKET_SECONDS
        await self.store.store_ticket(ticket_key(ticket), context.who.key, expires_at)
        return json_response({"ticket": ticket, "expires_in": _TICKET_SECONDS})

    async def me(self, context: RequestContext) -> Response:
        """Return the signed-in user."""
        return self.me_now(context, b"")

    def me_now(self, exchange: Exchange, _: bytes) -> Response:
        """Do as `me`."""
        who = exchange.who
        return json_bytes(b'{"user":%b,"expires_at":%b}' % (who.user_json, who.expires_at_json))


class WantedAccess(NamedTuple):
    """The arguments of a `check-access` request: a playbook, and a permission with its action."""

    playbook: str
    kind: str
    action: Action


def _wanted_access(head: RequestHead, data: bytes) -> WantedAccess:
    document = read_object(head.fields, data)
    given = _text(document, "playbook_name") or _text(document, "playbook_path")
    if given is None:
        raise BadRequest("playbook_name is required")
    kind = _text(document, "permission_type") or "execute"
    if kind not in _ACTIONS:
        raise BadRequest("permission_type must be execute, view, modify or delete")
    return WantedAccess(given, kind, Action(_ACTIONS[kind]))


def _access_response(who: Principal, wanted: WantedAccess, *, allowed: bool, message: str = "") -> Response:
    return json_response(
        {
            "allowed": allowed,
            "playbook_name": wanted.playbook,
            "playbook_path": wanted.playbook,
            "permission_type": wanted.kind,
            "user_id": who.user_id,
            "user": who.document,
            "message": message or ("Access granted" if allowed else "No access to playbook"),
        }
    )


_INVALID = json_bytes(write_json({
    "valid": False, "user": None, "expires_at": None, "message": "Session is invalid or expired",
}))  # fmt: skip


def _validated(principal: Principal | None) -> Response:
    if principal is None:
        return _INVALID
    body = b'{"valid":true,"user":%b,"expires_at":%b,"message":"Session is valid"}'
    return json_bytes(body % (principal.user_json, principal.expires_at_json))


def _session_document(session: Session, who: Principal) -> dict[str, Any]:
    return {
        "id": session.id,
        "created_at": instant(session.created_at),
        "expires_at": instant(session.expires_at),
        "last_seen_at": instant(session.last_seen_at),
        "ip": session.ip,
        "user_agent": session.user_agent,
        "current": session.id == who.session.id,
    }
