"""The promises of the project about its speed, and whether a run keeps them. Pure."""

from __future__ import annotations

from dataclasses import dataclass, replace

from bench.results import Results
from bench.scenarios import (
    AUTH_REQUEST,
    BRIDGED,
    EDGE,
    FLOOR,
    IDLE,
    MERCURIUS,
    RUST_BRIDGED,
    RUST_RELAYED,
    SHARED,
    STORED,
    TRACED,
    WORKERS,
    YOGA,
)
from bench.stats import Spread, by_cpu


@dataclass(frozen=True, slots=True)
class Goal:
    """A promise: the ratio of a contender to a base in one scenario is at least `bound`.

    With `latency` the ratio is that of the 99th percentiles at half load, and `bound` is the most that it may be.
    """

    scenario: str
    bound: float
    aim: float | None = None
    base: str = AUTH_REQUEST
    contender: str = EDGE
    latency: bool = False

    def __str__(self) -> str:
        who = "" if self.contender == EDGE else f", {self.contender}"
        return f"{self.scenario}{', p99 at half load' if self.latency else ''}{who}, to {self.base}"

    def ratio(self, results: Results) -> Spread | None:
        """Return the measured ratio; None if one of the two was not measured."""
        values = results.p99s if self.latency else results.rates
        return Spread.of_ratios(values(self.scenario, self.contender), values(self.scenario, self.base))

    def cpu_ratio(self, results: Results) -> Spread | None:
        """Return the ratio of requests per CPU second; None for latencies."""
        own, other = (results.of(self.scenario, name) for name in (self.contender, self.base))
        return None if self.latency else by_cpu(own, other)

    def floor_ratio(self, results: Results) -> Spread | None:
        """Return what the floor reaches; None for other contenders than the gateway itself."""
        return replace(self, contender=FLOOR).ratio(results) if self.contender == EDGE else None

    def met(self, ratio: Spread) -> bool:
        """Return whether the median keeps the promise."""
        return ratio.median <= self.bound if self.latency else ratio.median >= self.bound


GOALS = (
    Goal("mix", 1.7, aim=2.2),
    Goal("mix_many_users", 1.6),
    Goal("status", 1.7),
    Goal("detail", 1.7),
    Goal("stats", 1.7),
    Goal("execute", 1.5),
    Goal("executionStatus", 1.4),
    Goal("executePlaybook", 1.0),
    Goal("validate", 3.0),
    Goal("me", 3.5),
    Goal("status", 1.0, latency=True),
    Goal("mix", 1.0, latency=True),
    Goal("mix", 0.9, base=EDGE, contender=TRACED),
    Goal("workers", 1.7, base=EDGE, contender=WORKERS),
    Goal("sessions", 0.67, base=EDGE, contender=STORED),
    Goal("redis", 0.8, base=EDGE, contender=SHARED),
    Goal("redis_many_users", 0.8, base=EDGE, contender=SHARED),
    Goal("idle", 1.1, base=EDGE, contender=IDLE, latency=True),
    Goal("bridge", 0.75, base=EDGE, contender=BRIDGED),
    Goal("bridge_rust", 0.5, base=RUST_RELAYED, contender=RUST_BRIDGED),
    Goal("graphql", 1.0, aim=1.5, base=MERCURIUS),
    Goal("graphql", 1.0, base=YOGA),
)
