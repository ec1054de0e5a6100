"""Sessions that NoETL keeps: where requests look them up, and how users sign in.

A positive answer of NoETL is stored with its time, and believed for `sessions.cache_for`; a negative one is not stored.
A session that is ended at the gateway does not come back, as the store keeps its end: NoETL does not know of it.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, replace

from proxy.bounded import BoundedCache
from proxy.errors import BadGateway, GatewayError, TooManyRequests, Unavailable
from proxy.http.credentials import NOETL_TOKENS, key_of
from proxy.http.identity_headers import identity_lines
from proxy.http.request_id import new_request_id
from proxy.http.traceparent import new_traceparent
from proxy.identity.local import LocalProvider, LoggedIn, LoginAttempt
from proxy.identity.principal import TenantTrust
from proxy.identity.tokens import InvalidToken
from proxy.noetl.accounts.answers import NoetlSession, NoetlUser, Refused
from proxy.noetl.accounts.calls import AuthCalls, LoginRequest
from proxy.noetl.on_behalf import OnBehalf
from proxy.peer_messages import PeerMessages
from proxy.sessions.store import (
    Identity,
    LocalSessions,
    MustWait,
    Session,
    SessionEnded,
    SessionStore,
    StoreError,
    new_session,
)

ISSUER = "noetl"
ROLES = "noetl_roles"
"""The issuer of the users of NoETL, and the claim with their roles."""
ROLES_OF_NOETL = TenantTrust(ROLES, email_assumed=True)
"""What counts of a user of NoETL: the roles in its database, and the e-mail address."""
_WITHOUT_TOKEN = 60.0
_VALIDATE = "validate-session"
_AT_ONCE = 256
_AT_ONCE_OF_ADDRESS = 8
_MOST_ENDED = 50_000


@dataclass(frozen=True, slots=True)
class NoetlSettings:
    """What the configuration says about sessions of NoETL.

    Args:
        cache_for: seconds for which a positive answer is believed.
        idle_timeout: seconds without a use after which a session ends; 0 means never.
        max_per_user: the most sessions of a user; 0 means no limit.
        verify_signature: whether the gateway verifies the tokens of logins as well.
    """

    cache_for: float
    idle_timeout: float
    max_per_user: int
    verify_signature: bool


class NoetlSessions:
    """A `SessionSource` and the login of `provider: playbook`.

    Args:
        local: verifies tokens, and knows the tenants.
        store: stores the answers of NoETL.
        calls: asks NoETL.
        trust: what counts of the tokens of each tenant, by its domain in lower case.
        settings: see there.
        tokens: those of sessions in use, so that sessions of open streams can be validated again; a reload keeps them.
        messages: to the other processes, which may know the token of a session.
    """

    def __init__(
        self,
        local: LocalProvider,
        store: SessionStore,
        calls: AuthCalls,
        trust: Mapping[str, TenantTrust],
        settings: NoetlSettings,
        tokens: BoundedCache[bytes, str],
        messages: PeerMessages,
    ) -> None:
        self._tokens = tokens
        self._messages = messages
        self._validating: set[asyncio.Task[None]] = set()
        self._local = local
        self._trust = trust
        self._store = store
        self._peek = store.peek if isinstance(store, LocalSessions) else _must_wait
        self._calls = calls
        self._settings = settings
        self._checks: dict[bytes, asyncio.Task[Session | None]] = {}
        self._by_address: Counter[str] = Counter()
        self._ended: BoundedCache[bytes, float] = BoundedCache(_MOST_ENDED)
        """Sessions that have ended here, until NoETL does not keep them any more: it need not be asked for them."""

    def start(self) -> None:
        """Validate sessions for the other processes from now on: this is the configuration in force."""
        self._messages.handle(_VALIDATE, self._validate_for_others)

    # SessionSource

    def peek(self, key: bytes) -> Session | None:
        """Return a session that NoETL has validated lately. Raises MustWait for any other."""
        found = self._peek(key)
        if found is None or not self._is_fresh(found, 0.0):
            raise MustWait
        return found

    async def get(self, key: bytes, token: str, address: str, user_agent: str) -> Session | None:
        """Return the session of a key, which NoETL validates if its last answer is too old.

        Raises:
            GatewayError: NoETL does not answer.
            StoreError: the store is not available.
        """
        if (self._ended[key] or 0.0) > time.time():
            return None
        stored = await self._store.get(key)
        if stored is not None and not stored.alive(time.time(), self._settings.idle_timeout):
            await self._store.end(key)
            return None
        if stored is not None and self._is_fresh(stored, 0.0):
            return stored
        token = token or self._tokens[key] or ""
        if not token:
            return self._without_token(key, stored)
        return await self._validate_once(key, token, stored, address, user_agent)

    def _without_token(self, key: bytes, stored: Session | None) -> Session | None:
        """Return a session for which only its key is known, as behind a ticket; the other processes validate it again.

        It ends if none of them could do so for as long again as an answer is believed.
        """
        if stored is None or not self._is_fresh(stored, self._settings.cache_for + _WITHOUT_TOKEN):
            return None
        self._messages.send(_VALIDATE, key)
        return stored

    def _validate_for_others(self, key: bytes) -> None:
        """Validate a session again, for a process that does not know its token."""
        token = self._tokens[key]
        if token is not None and len(self._validating) < _AT_ONCE:
            task = asyncio.get_running_loop().create_task(self._validate_quietly(key, token))
            self._validating.add(task)
            task.add_done_callback(self._validating.discard)

    async def _validate_quietly(self, key: bytes, token: str) -> None:
        with contextlib.suppress(GatewayError, StoreError):  # the session ends if this goes on
            await self.get(key, token, "", "")

    def note(self, key: bytes, token: str) -> None:
        """Note the token of a session that is in use, so that open streams with it can be validated again."""
        if token and self._tokens[key] is None:
            self._tokens.put(key, token, 200 + len(token))

    def _is_fresh(self, session: Session, grace: float) -> bool:
        return time.time() - session.verified_at < self._settings.cache_for + grace

    async def _validate_once(
        self, key: bytes, token: str, stored: Session | None, address: str, user_agent: str
    ) -> Session | None:
        """Let NoETL validate a session; requests of one session wait for one answer."""
        task = self._checks.get(key)
        if task is None:
            if stored is None and self._by_address[address] >= _AT_ONCE_OF_ADDRESS:
                raise TooManyRequests(1, detail="too many unknown sessions of one address at once")
            if len(self._checks) >= _AT_ONCE:
                raise Unavailable("Too many sessions are being validated", detail=f"{_AT_ONCE} at once")
            work = self._validate(key, token, stored, address, user_agent)
            task = self._checks[key] = asyncio.get_running_loop().create_task(work)
            self._by_address[address] += 1
            task.add_done_callback(lambda done: self._checked(key, address, done))
        return await asyncio.shield(task)

    def _checked(self, key: bytes, address: str, task: asyncio.Task[Session | None]) -> None:
        del self._checks[key]
        self._by_address[address] -= 1
        if not self._by_address[address]:
            del self._by_address[address]
        if not task.cancelled():
            task.exception()  # also if all who waited have left

    async def _validate(
        self, key: bytes, token: str, stored: Session | None, address: str, user_agent: str
    ) -> Session | None:
        found = await self._calls.validate(token, _on_behalf(address))
        if found is None:
            await self._store.end(key)
            return None
        if stored is None:
            known = Identity(ISSUER, str(found.user.user_id), "", "", self._local.only_tenant)
            lifetime = self._local.settings.max_hours * 3600
            wanted = _session(key, found, known, ip=address, user_agent=user_agent, lifetime=lifetime)
        else:
            wanted = _renewed(stored, found, self._local.settings.max_hours * 3600)
        return await self._create(key, token, wanted)

    async def _create(self, key: bytes, token: str, wanted: Session) -> Session | None:
        """Store a session that NoETL says is valid; None if it was ended here, or has expired."""
        if not wanted.alive(time.time(), 0):
            return None
        try:
            made = await self._store.create(key, wanted, max_per_user=self._settings.max_per_user)
        except SessionEnded:
            self._ended.put(key, wanted.kept_until)
            return None
        self.note(key, token)
        return made

    # Login

    async def login(self, attempt: LoginAttempt) -> LoggedIn:
        """Do as `LocalProvider.login`; NoETL makes the session.

        Raises also GatewayError: NoETL does not answer.
        """
        token, ip, user_agent = attempt.token, attempt.ip, attempt.user_agent
        tenant, identity = await self._local.verify(token, attempt.domain, signature=self._settings.verify_signature)
        assumed = self._trust[tenant.domain.lower()].email_assumed
        if identity.email and not identity.email_verified and not assumed:
            detail = "in NoETL, an e-mail address has the roles of its user"
            raise InvalidToken("e-mail address not verified", (identity.issuer, identity.subject), detail=detail)
        lifetime = self._local.hours(attempt.hours)
        wanted = LoginRequest(token, tenant.domain, attempt.refresh_token, lifetime, ip, user_agent)
        try:
            made = await self._calls.login(wanted, _on_behalf(ip))
        except Refused as error:
            raise RefusedByNoetl(str(error)) from None
        key = key_of(made.token, NOETL_TOKENS)
        assert key is not None  # noqa: S101 - the answer was checked
        for old in attempt.instead_of:
            if old != key and await self._store.get(old) is not None:
                await self._store.end(old)
        session = _session(key, made.session, identity, ip=ip, user_agent=user_agent, lifetime=lifetime * 3600)
        stored = await self._create(key, made.token, session)
        if stored is None:
            raise BadGateway("NoETL sent an unexpected answer", detail="a new session that has ended")
        return LoggedIn(made.token, stored)


class RefusedByNoetl(InvalidToken):
    """NoETL refuses a login, with its own text."""

    @property
    def public(self) -> str:
        """The text for the client: NoETL's."""
        return str(self)


def _must_wait(key: bytes) -> Session | None:
    raise MustWait


def _on_behalf(address: str) -> OnBehalf:
    """Return for whom a session is validated: for nobody who is known yet, at an address."""
    request_id = new_request_id()
    identity = identity_lines(None, address, "http", "")
    return OnBehalf(identity, request_id, new_traceparent(request_id), b"", address)


def _session(key: bytes, found: NoetlSession, known: Identity, *, ip: str, user_agent: str, lifetime: float) -> Session:
    """Return the stored form of a session of NoETL, which begins now and lasts `lifetime` seconds at most.

    `known` is what is known of the user.
    """
    now = time.time()
    who = _described(known, found.user)
    made = new_session(key, who, now=now, lifetime=lifetime, ip=ip, user_agent=user_agent)
    kept_until = made.expires_at if found.expires_at is None else found.expires_at
    expires_at = min(made.expires_at, kept_until)
    return replace(made, user_id=found.user.user_id, expires_at=expires_at, verified_at=now, kept_until=kept_until)


def _renewed(stored: Session, found: NoetlSession, longest: float) -> Session:
    """Return a stored session with what NoETL says now; it lasts `longest` seconds at most."""
    kept_until = stored.kept_until if found.expires_at is None else found.expires_at
    was_shortened = stored.expires_at < stored.kept_until
    limit = stored.expires_at if was_shortened else stored.created_at + longest
    return replace(
        stored,
        user_id=found.user.user_id,
        identity=_described(stored.identity, found.user),
        expires_at=min(limit, kept_until),
        verified_at=time.time(),
        kept_until=kept_until,
    )


def _described(known: Identity, user: NoetlUser) -> Identity:
    """Return an identity with what NoETL says about the user."""
    return replace(known, email=user.email, display_name=user.display_name, claims={ROLES: list(user.roles)})
