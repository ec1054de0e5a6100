"""Signing in and out, and what a session is good for: the `/api/auth/…` endpoints."""

from __future__ import annotations

import hashlib
import math
import secrets
import time
from collections.abc import Callable, Hashable
from dataclasses import dataclass, field
from typing import Any

from aiohttp import web

from proxy.access import AccessJudge, Principal, playbook_name
from proxy.config.model_identity import Cookie
from proxy.errors import BadRequest, NotFound, TooManyRequests, Unauthorized, Unavailable
from proxy.exchange import NO_STORE, Exchange, json_response
from proxy.identity.jwks import KeySetUnavailable
from proxy.identity.local import LocalProvider
from proxy.identity.tokens import InvalidToken
from proxy.observe.metrics import Metrics
from proxy.policy.acl import Action
from proxy.policy.binding import Bind, strays
from proxy.policy.ratelimit import address_key
from proxy.policy.throttle import Throttle
from proxy.sessions.store import MAX_AGENT, LocalSessions, Session, SessionStore, StoreError, instant, key_of

_LIMIT = 64 * 1024
_TICKET_SECONDS = 30
_MAX_KNOWN = 20_000
_ACTIONS = {"execute": "execute", "view": "view", "modify": "modify", "edit": "modify", "delete": "delete"}


def session_token(exchange: Exchange, cookie: Cookie) -> str | None:
    """The session token that a request carries: bearer, then header, then cookie where cookies are on."""
    found = _token_in_fields(exchange)
    return exchange.request.cookies.get(cookie.name) if found is None and cookie.enabled else found


def is_by_cookie(exchange: Exchange, cookie: Cookie) -> bool:
    """Whether it is a cookie that signs a request in, as a browser sends it for any page."""
    return cookie.enabled and exchange.principal is not None and _token_in_fields(exchange) is None


def _token_in_fields(exchange: Exchange) -> str | None:
    headers = exchange.request.headers
    scheme, _, token = headers.get("authorization", "").partition(" ")
    if scheme.lower() == "bearer" and token.strip():
        return token.strip()
    return headers["x-session-token"].strip() if headers.get("x-session-token") else None


def user_document(principal: Principal) -> dict[str, Any]:
    """A user as the session endpoints show one."""
    identity = principal.session.identity
    return {
        "user_id": principal.user_id,
        "email": identity.email,
        "display_name": identity.display_name,
        "roles": sorted(principal.subject.roles),
    }


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
    """The endpoints, with what they need."""

    provider: LocalProvider
    store: SessionStore
    judge: AccessJudge
    cookie: Cookie
    bind: Bind
    roles_claims: dict[str, str | None]
    metrics: Metrics
    throttle: Throttle
    known: dict[bytes, Principal] = field(default_factory=dict)

    def principal(self, key: bytes, session: Session) -> Principal:
        """The principal of a session, with the roles of the configuration in force."""
        known = self.known.get(key)
        if known is not None and known.session is session:
            return known
        identity = session.identity
        claim = self.roles_claims.get(identity.tenant)
        subject = self.judge.policy.subject(identity.email, identity.subject, identity.claims, claim)
        principal = Principal(key, session, subject, self.judge.policy.permits(subject))
        if key:
            if len(self.known) >= _MAX_KNOWN:
                self.known.clear()
            self.known[key] = principal
        return principal

    async def authenticate(self, exchange: Exchange) -> Principal | None:
        """Who the request's own session says it is; None without a live session.

        Raises Unauthorized for a session that is used from where it is not bound to, and StoreError.
        """
        principal = await self.by_token(exchange, session_token(exchange, self.cookie))
        if principal is None and exchange.denied:
            raise Unauthorized
        return principal

    async def by_token(self, exchange: Exchange, token: str | None) -> Principal | None:
        """Whose a session token is; None if it is no live session's, or bound to elsewhere. Raises StoreError."""
        checks = self.metrics.session_checks
        try:
            found = await self.provider.session(token, lambda found: self._fits(exchange, found)) if token else None
        except StoreError:
            checks["error"] += 1
            raise
        checks["valid" if found is not None else "invalid" if token else "missing"] += 1
        return None if found is None else self.principal(*found)

    def _fits(self, exchange: Exchange, session: Session) -> bool:
        """Whether a session is used from where it is bound to; if not, that is told."""
        if self.bind is Bind.NONE:
            return True
        agent = exchange.request.headers.get("user-agent", "")[:MAX_AGENT]
        what = strays(self.bind, (session.ip, session.user_agent), (exchange.client_ip, agent))
        if what:
            exchange.denied = True
            exchange.detail = f"session {session.id} of user {session.user_id} is bound to another {what}"
        return not what

    def local_lookup(self, store: LocalSessions) -> Callable[[bytes], Principal | None]:
        """The principal of a session's key, without waiting, from a store that can be read so."""
        live, known, principal = self.provider.live, self.known, self.principal

        def lookup(key: bytes) -> Principal | None:
            session = store.peek(key)
            if session is None or not live(key, session):
                return None
            seen = known.get(key)
            return seen if seen is not None and seen.session is session else principal(key, session)

        return lookup

    async def login(self, exchange: Exchange) -> web.Response:
        document = await exchange.json_object(_LIMIT)
        token = _text(document, "auth0_token", required=True) or ""
        domain = _text(document, "auth0_domain")
        hours = document.get("session_duration_hours")
        if hours is not None and (type(hours) is not int or hours < 1):
            raise BadRequest("session_duration_hours must be a whole number of at least 1")
        agent = exchange.request.headers.get("user-agent", "")
        client = ("address", address_key(exchange.client_ip))
        self._slow_down(client)
        instead_of = key_of(session_token(exchange, self.cookie) or "")
        try:
            made = await self.provider.login(
                token, domain, hours, ip=exchange.client_ip, user_agent=agent, instead_of=instead_of
            )
        except InvalidToken as error:
            self._note_failure(client, error.account)
            raise Unauthorized(f"Invalid token: {error}", detail=f"login at tenant {domain!r}: {error}") from None
        except KeySetUnavailable as error:
            self.metrics.logins["keys_unavailable"] += 1
            text = "The identity provider's keys can't be had just now"
            raise Unavailable(text, retry_after=int(error.retry_after) + 1, detail=str(error)) from None
        except StoreError:
            self.metrics.logins["error"] += 1
            raise
        self.metrics.logins["success"] += 1
        self.throttle.succeeded(client)
        exchange.principal = principal = self.principal(b"", made.session)
        response = json_response(
            {
                "status": "authenticated",
                "session_token": made.token,
                "user": user_document(principal),
                "expires_at": instant(made.session.expires_at),
                "message": "Authentication successful",
            }
        )
        if self.cookie.enabled:
            self._set_cookie(response, made.token, int(made.session.expires_at - time.time()))
        return response

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

    def _set_cookie(self, response: web.Response, value: str, max_age: int) -> None:
        response.set_cookie(
            self.cookie.name,
            value,
            max_age=max_age,
            path="/",
            httponly=True,
            secure=self.cookie.secure,
            samesite=self.cookie.same_site.capitalize(),
            domain=self.cookie.domain,
        )

    async def validate(self, exchange: Exchange) -> web.Response:
        document = await exchange.json_object(_LIMIT)
        token = _text(document, "session_token") or session_token(exchange, self.cookie)
        if not token:
            raise BadRequest("session_token is required")
        principal = exchange.principal = await self.by_token(exchange, token)
        if principal is None:
            message = "Session is invalid or expired"
            return json_response({"valid": False, "user": None, "expires_at": None, "message": message})
        return json_response(
            {
                "valid": True,
                "user": user_document(principal),
                "expires_at": instant(principal.session.expires_at),
                "message": "Session is valid",
            }
        )

    async def check_access(self, exchange: Exchange) -> web.Response:
        document = await exchange.json_object(_LIMIT)
        given = _text(document, "playbook_name") or _text(document, "playbook_path")
        if given is None:
            raise BadRequest("playbook_name is required")
        kind = _text(document, "permission_type") or "execute"
        if kind not in _ACTIONS:
            raise BadRequest("permission_type must be execute, view, modify or delete")
        token = _text(document, "session_token") or session_token(exchange, self.cookie)
        principal = exchange.principal = await self.by_token(exchange, token)
        if principal is None:
            raise Unauthorized
        decision = self.judge.may(principal, Action(_ACTIONS[kind]), playbook_name(given, "playbook_name"))
        return json_response(
            {
                "allowed": decision.allowed,
                "playbook_name": given,
                "playbook_path": given,
                "permission_type": kind,
                "user_id": principal.user_id,
                "user": user_document(principal),
                "message": "Access granted" if decision.allowed else "No access to playbook",
            }
        )

    async def logout(self, exchange: Exchange) -> web.Response:
        document = await exchange.json_object(_LIMIT)
        everywhere = document.get("everywhere", False)
        if not isinstance(everywhere, bool):
            raise BadRequest("everywhere must be true or false")
        token = session_token(exchange, self.cookie) or _text(document, "session_token")
        principal = exchange.principal = await self.by_token(exchange, token)
        if principal is None:
            raise Unauthorized
        if everywhere:
            await self.store.end_user(principal.user_id)
        await self.store.end(principal.key)
        response = json_response({"status": "logged_out"})
        if self.cookie.enabled:
            self._set_cookie(response, "", 0)
        return response

    async def sessions(self, exchange: Exchange) -> web.Response:
        if exchange.request.method == "DELETE":
            return await self._end_session(exchange)
        who, now = exchange.who, time.time()
        mine = await self.store.of_user(who.user_id)
        idle = self.provider.settings.idle_timeout
        listed = [_session_document(s, who) for s in mine if s.alive(now, idle)]
        return json_response({"sessions": listed})

    async def _end_session(self, exchange: Exchange) -> web.Response:
        who = exchange.who
        owner = None if "admin" in who.subject.roles else who.user_id
        if not await self.store.end_id(exchange.params.get("id", ""), user_id=owner):
            raise NotFound("Session not found")
        return web.Response(status=204, headers=[NO_STORE])

    async def ticket(self, exchange: Exchange) -> web.Response:
        ticket = secrets.token_urlsafe(24)
        expires_at = time.time() + _TICKET_SECONDS
        await self.store.put_ticket(hashlib.sha256(ticket.encode()).digest(), exchange.who.key, expires_at)
        return json_response({"ticket": ticket, "expires_in": _TICKET_SECONDS})

    async def me(self, exchange: Exchange) -> web.Response:
        expires_at = instant(exchange.who.session.expires_at)
        return json_response({"user": user_document(exchange.who), "expires_at": expires_at})


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
