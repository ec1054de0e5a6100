"""The state of the process that survives a reload: metrics, rate limits, failed attempts and the drain."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.bounded import BoundedCache
from proxy.endpoints.metrics import Measures
from proxy.endpoints.operations import Operations
from proxy.endpoints.shared_streams import SharedStreams
from proxy.live.follow import Follower
from proxy.live.hub import Hub
from proxy.noetl.accounts.callbacks import AuthCallbacks
from proxy.observe.metrics import Collected, add
from proxy.peer_messages import PeerMessages
from proxy.policy.denials import DenialBudget
from proxy.policy.ratelimit import LimitSettings, RateLimiter
from proxy.policy.throttle import Throttle, ThrottleSettings
from proxy.rate_limits import RateLimit
from proxy.relay.event_streams import PATIENCE, SHARED_PATIENCE, Drain
from proxy.sessions.store import SessionStore, SharedStore

_TOKENS = (50_000, 16 * 1024**2)
"""How many tokens are kept, and how many bytes they take."""
_WAKE, _SESSIONS = "wake", "sessions"
"""Kinds of messages: there are new events for a client; sessions have ended."""


@dataclass(frozen=True, slots=True)
class Process:
    """The state that each gateway passes to the gateway of the next configuration.

    Args:
        drain: the open streams, and whether the process is draining.
        measures: the metrics.
        limiters: the rate limits, by their settings.
        throttles: the failed attempts, by the settings of their limit.
        denials: how many denials the audit log may still have one by one.
        hub: the clients of event streams, and the requests that they wait for.
        messages: messages to and from the other processes.
        session_tokens: tokens of NoETL's sessions that are in use, by their keys.
        follower: polls the executions that somebody waits for.
        operations: the streams of GraphQL operations.
        shared: those of them that carry several operations as server-sent events.
        auth_callbacks: the callbacks of auth playbooks that this process waits for.
    """

    drain: Drain = field(default_factory=Drain)
    measures: Measures = field(default_factory=Measures)
    limiters: dict[LimitSettings, RateLimit] = field(default_factory=dict)
    throttles: dict[ThrottleSettings, Throttle] = field(default_factory=dict)
    denials: DenialBudget = field(default_factory=DenialBudget)
    hub: Hub = field(default_factory=Hub)
    messages: PeerMessages = field(default_factory=PeerMessages)
    session_tokens: BoundedCache[bytes, str] = field(default_factory=lambda: BoundedCache(*_TOKENS), repr=False)
    follower: Follower = field(init=False)
    operations: Operations = field(init=False)
    shared: SharedStreams = field(init=False)
    auth_callbacks: AuthCallbacks = field(init=False)

    def __post_init__(self) -> None:
        """Make the follower of the hub, and let messages of other processes wake streams, and end them."""
        metrics = self.measures.metrics
        object.__setattr__(self, "follower", Follower(self.hub, metrics.polls))
        object.__setattr__(self, "operations", Operations(metrics))
        object.__setattr__(self, "shared", SharedStreams(self.messages))
        object.__setattr__(self, "auth_callbacks", AuthCallbacks(self.messages))
        self.measures.sources.append(self._measure)
        self.hub.notify = self._wake_others
        self.messages.handle(_WAKE, lambda client_id: self.hub.wake(client_id.decode()))
        self.messages.handle(_SESSIONS, lambda _: self.drain.look())

    def use(self, store: SessionStore) -> None:
        """Exchange what concerns other processes through a store, if it is shared by machines; else with workers."""
        self.drain.patience = SHARED_PATIENCE if isinstance(store, SharedStore) else PATIENCE
        if not isinstance(store, SharedStore):
            store.on_ended = self.sessions_ended
            self.hub.notify = self._wake_others
            self.messages.transport = self.messages.workers
            return
        self.hub.notify = lambda _: None  # the store does so, in the step that stores the events
        self.messages.transport = store.broadcast
        store.on_message = self.messages.receive
        store.on_ended, store.on_some_ended = self.drain.look, self.drain.look_at
        store.live.on_wake, store.live.on_connected = self.hub.wake, self.hub.wake_all
        store.live.on_adopted = self.follower.adopt
        store.start()

    def _wake_others(self, client_id: str) -> None:
        self.messages.send(_WAKE, client_id.encode())

    def _measure(self, out: Collected) -> None:
        add(out, "noetl_gateway_subscriptions", (), self.operations.subscriptions)
        add(out, "noetl_gateway_executions_followed", (), self.follower.followed)

    def sessions_ended(self) -> None:
        """End the streams and connections of sessions that have ended, here and in the other workers."""
        self.drain.look()
        self.messages.send(_SESSIONS)

    def throttle(self, settings: ThrottleSettings) -> Throttle:
        """Return the throttle with these settings; its state is kept if a reload does not change the settings."""
        if settings not in self.throttles:
            self.throttles.clear()
            self.throttles[settings] = Throttle(settings)
        return self.throttles[settings]

    def limiter(self, settings: LimitSettings) -> RateLimit:
        """Return the rate limit with these settings; its state is kept if a reload does not change the settings."""
        known = self.limiters.get(settings)
        if known is None:
            known = self.limiters[settings] = RateLimit(RateLimiter(settings), self.measures.metrics.rate_limited)
        return known

    def keep_limiters(self, wanted: Iterable[LimitSettings]) -> None:
        """Remove the rate limits whose settings are not in `wanted`."""
        for settings in self.limiters.keys() - set(wanted):
            del self.limiters[settings]
