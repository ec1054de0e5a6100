"""What changed between two runs, as far as their spread allows. Pure.

Compared are the gateway's ratios to something measured in the same rounds, never rates, which belong to a machine and a
moment. A difference counts only if all rounds of one run are beyond those of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bench.results import Results
from bench.scenarios import AUTH_REQUEST, EDGE, MERCURIUS
from bench.stats import BUSY, Spread, middle

# The ranges of five rounds each are apart by chance once in 126 times, those of three once in ten.
_LEAST_ROUNDS, _LEAST_CHANGE = 5, 0.03


class Verdict(Enum):
    """The result of a comparison."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference beyond the spread"
    TOO_FEW = f"unknown: fewer than {_LEAST_ROUNDS} rounds"
    DISTURBED = "unknown: one of the two did not have its core to itself"


@dataclass(frozen=True, slots=True)
class Change:
    """A scenario's verdict with the ratios of both runs."""

    scenario: str
    base: str
    before: Spread
    after: Spread
    verdict: Verdict


def judge(before: Spread, after: Spread) -> Verdict:
    """Return the verdict on the ratios of two runs with enough rounds."""
    if abs(after.median / before.median - 1) < _LEAST_CHANGE:
        return Verdict.SAME
    if after.high < before.low:
        return Verdict.WORSE
    return Verdict.BETTER if after.low > before.high else Verdict.SAME


def compare(before: Results, after: Results) -> list[Change]:
    """Return the changes of the scenarios that both runs have."""
    changes = []
    for scenario in before.samples:
        base = MERCURIUS if scenario == "graphql" else AUTH_REQUEST
        old, new = (Spread.of_ratios(run.rates(scenario, EDGE), run.rates(scenario, base)) for run in (before, after))
        if old and new:
            verdict, sides = (
                judge(old, new),
                [run.of(scenario, name) for run in (before, after) for name in (EDGE, base)],
            )
            if min(map(len, sides)) < _LEAST_ROUNDS:
                verdict = Verdict.TOO_FEW
            elif verdict is not Verdict.SAME and any(middle(side).cpu < BUSY for side in sides):
                verdict = Verdict.DISTURBED
            changes.append(Change(scenario, base, old, new, verdict))
    return changes
