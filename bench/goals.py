"""What the project has promised of its speed, and what a run says to each promise. Pure.

The baseline of the goals is nginx with auth_request and nginx's own proxy settings; each is told beside what the tuned
variant would make of it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from statistics import median

from bench.results import Delay, Results
from bench.scenarios import (
    AUTH_REQUEST,
    AUTH_REQUEST_TUNED,
    EDGE,
    LABELS,
    MERCURIUS,
    PLAIN,
    PLAIN_TUNED,
    STRAWBERRY,
    YOGA,
)
from bench.stats import Spread, ratios

_HALF = 0.5


class Load(Enum):
    """Whose peak the base is loaded with half of; the gateway always has half of its own."""

    OURS = "ours"
    ITS_OWN = "its own"


@dataclass(frozen=True, slots=True)
class Goal:
    """A promise: the gateway in a scenario against a base (scenario, contender); `tuned` is the harder base.

    A goal with a `latency` compares 99th percentiles at half load, and is an upper bound.
    """

    text: str
    scenario: str
    base: tuple[str, str]
    bound: float
    aim: float | None = None
    tuned: tuple[str, str] | None = None
    latency: Load | None = None


@dataclass(frozen=True, slots=True)
class Finding:
    """What a run says to a goal; `tuned` is the ratio to the tuned base, `note` what to know before believing it."""

    goal: Goal
    ratio: Spread
    tuned: Spread | None
    note: str = ""

    @property
    def met(self) -> bool:
        """Whether the median keeps the promise."""
        return self.ratio.median <= self.goal.bound if self.goal.latency else self.ratio.median >= self.goal.bound


GOALS = (
    Goal(
        f"relay, small GET, to {LABELS[AUTH_REQUEST]}",
        "relay", ("relay", AUTH_REQUEST), 1.5, 2.0, ("relay", AUTH_REQUEST_TUNED),
    ),
    Goal(
        f"relay, small GET, to {LABELS[PLAIN]}",
        "relay", ("relay", PLAIN), 0.35, 0.6, ("relay", PLAIN_TUNED),
    ),
    Goal(
        f"the same with no request like another, to {LABELS[AUTH_REQUEST]}",
        "relay_unlike", ("relay_unlike", AUTH_REQUEST), 1.5, 2.0, ("relay_unlike", AUTH_REQUEST_TUNED),
    ),
    Goal(
        f"p99 at the same rate, 50 % of our peak, to {LABELS[AUTH_REQUEST]}",
        "relay", ("relay", AUTH_REQUEST), 1.5, None, ("relay", AUTH_REQUEST_TUNED), Load.OURS,
    ),
    Goal(
        f"p99 at 50 % of the peak of each, to {LABELS[AUTH_REQUEST]}",
        "relay", ("relay", AUTH_REQUEST), 1.5, None, ("relay", AUTH_REQUEST_TUNED), Load.ITS_OWN,
    ),
    Goal(
        f"1 MiB answers, bytes per second, to {LABELS[PLAIN]}",
        "relay_large", ("relay_large", PLAIN), 0.6, None, ("relay_large", PLAIN_TUNED),
    ),
    Goal("executionStatus, to our own relay", "executionStatus", ("relay", EDGE), 0.4),
    Goal("executionStatus through GraphQL, to mercurius with jit", "graphql", ("graphql", MERCURIUS), 1.0, 1.5),
    Goal(
        "the same with no request like another, to mercurius with jit",
        "graphql_unlike", ("graphql_unlike", MERCURIUS), 1.0, 1.5,
    ),
    Goal("executionStatus through GraphQL, to graphql-yoga", "graphql", ("graphql", YOGA), 1.0),
    Goal("executionStatus through GraphQL, to strawberry", "graphql", ("graphql", STRAWBERRY), 1.0),
)  # fmt: skip


def findings(results: Results) -> tuple[Finding, ...]:
    """What the run says to those goals that it measured."""
    found = []
    for goal in GOALS:
        ratio = _ratio(results, goal, goal.base)
        if ratio is not None:
            tuned = _ratio(results, goal, goal.tuned) if goal.tuned else None
            found.append(Finding(goal, ratio, tuned, _note(results, goal)))
    return tuple(found)


def beyond_peak(results: Results, delay: Delay) -> bool:
    """Whether a contender was asked for more than it reached at saturation."""
    peaks = results.values(delay.scenario, delay.contender)
    return bool(peaks) and delay.rate > median(peaks)


def _note(results: Results, goal: Goal) -> str:
    delay = _delay(results, goal, goal.base) if goal.latency else None
    return "more than it can do" if delay and beyond_peak(results, delay) else ""


def _ratio(results: Results, goal: Goal, base: tuple[str, str]) -> Spread | None:
    if goal.latency:
        mine, its = _delay(results, goal, (goal.scenario, EDGE)), _delay(results, goal, base)
        own, other = (list(delay.p99_passes_ms) if delay else [] for delay in (mine, its))
    else:
        own, other = results.values(goal.scenario, EDGE), results.values(*base)
    return Spread.of(ratios(own, other)) if own and len(own) == len(other) else None


def _delay(results: Results, goal: Goal, of: tuple[str, str]) -> Delay | None:
    peak_of = EDGE if goal.latency is Load.OURS else of[1]
    wanted = (*of, _HALF, peak_of)
    found = (
        delay for delay in results.delays if (delay.scenario, delay.contender, delay.share, delay.peak_of) == wanted
    )
    return next(found, None)
