"""How users sign in, and whose sessions count, as `auth.provider` says: the gateway's own, or those of NoETL."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from proxy.config.model import Gateway as Config
from proxy.http.credentials import NOETL_TOKENS, OWN_TOKENS, TokenForm
from proxy.identity.local import LocalProvider, LoginProvider
from proxy.identity.principal import SessionSource, StoredSessions, TenantTrust
from proxy.identity.tenants import trust_in
from proxy.noetl.accounts.calls import AuthCall, AuthCalls, AuthSettings
from proxy.noetl.accounts.sessions import ROLES_OF_NOETL, NoetlSessions, NoetlSettings
from proxy.noetl.api import NoetlApi
from proxy.process import Process
from proxy.sessions.store import SessionStore


@dataclass(frozen=True, slots=True)
class SignIn:
    """What `auth.provider` decides.

    Args:
        provider: signs users in.
        sessions: where the sessions of requests are looked up.
        trust: what counts of a user, by the domain of the tenant in lower case.
        tokens: the form of session tokens.
        calls: asks NoETL; None if it keeps no sessions.
        note: notes the tokens of sessions in use, if that is needed.
        start: is called when the configuration comes into force.
    """

    provider: LoginProvider
    sessions: SessionSource
    trust: Mapping[str, TenantTrust]
    tokens: TokenForm
    calls: AuthCalls | None
    note: Callable[[bytes, str], None] | None = None
    start: Callable[[], None] = lambda: None


def make_sign_in(
    config: Config, local: LocalProvider, store: SessionStore, api: NoetlApi | None, process: Process, own_url: str
) -> SignIn:
    """Return how users sign in. `own_url`: where workers reach this gateway."""
    trust = trust_in(config.auth.tenants)
    if config.auth.provider == "local" or api is None:
        return SignIn(local, StoredSessions(store), trust, OWN_TOKENS, None)
    block, sessions = config.auth.playbooks, config.sessions
    playbooks = {
        AuthCall.LOGIN: block.login,
        AuthCall.VALIDATE: block.validate_session,
        AuthCall.CHECK_ACCESS: block.check_access,
    }
    settings = AuthSettings(playbooks, block.db_credential, block.timeout, own_url)
    calls = AuthCalls(api, process.auth_callbacks, settings, process.measures.metrics.auth_calls)
    rules = NoetlSettings(sessions.cache_for, sessions.idle_timeout, sessions.max_per_user, block.verify_signature)
    tokens, messages = process.session_tokens, process.messages
    kept = NoetlSessions(local, store, calls, trust, rules, tokens, messages)
    domains = [*trust, ""]  # a session that was made elsewhere has no tenant, if there are several
    return SignIn(kept, kept, dict.fromkeys(domains, ROLES_OF_NOETL), NOETL_TOKENS, calls, kept.note, kept.start)
