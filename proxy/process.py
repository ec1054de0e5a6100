"""What belongs to this process and outlives a configuration: its numbers, and whether it is about to end."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field

from proxy.endpoints.metrics import Measures
from proxy.policy.ratelimit import LimitSettings, RateLimiter
from proxy.policy.throttle import Throttle, ThrottleSettings
from proxy.rate_limits import RateLimit
from proxy.relay.event_streams import Drain


@dataclass(frozen=True, slots=True)
class Process:
    """Handed from each configuration's gateway to the next one's."""

    drain: Drain = field(default_factory=Drain)
    measures: Measures = field(default_factory=Measures)
    limiters: dict[LimitSettings, RateLimit] = field(default_factory=dict)

    throttles: dict[ThrottleSettings, Throttle] = field(default_factory=dict)

    def throttle(self, settings: ThrottleSettings) -> Throttle:
        """What failed lately; a reload that leaves the settings as they are forgets nothing."""
        if settings not in self.throttles:
            self.throttles.clear()
            self.throttles[settings] = Throttle(settings)
        return self.throttles[settings]

    def limiter(self, settings: LimitSettings) -> RateLimit:
        """The counts of a limit; those of one that a reload leaves as it is go on."""
        known = self.limiters.get(settings)
        if known is None:
            known = self.limiters[settings] = RateLimit(RateLimiter(settings))
        return known

    def keep_limiters(self, wanted: Iterable[LimitSettings]) -> None:
        """Forget the counts of limits that no configuration has any more."""
        for settings in self.limiters.keys() - set(wanted):
            del self.limiters[settings]
