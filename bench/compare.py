"""What changed between two runs, as far as their spread allows. Pure.

Compared are the gateway's ratios to something measured in the same rounds, never rates, which belong to a machine and a
moment. A difference counts only if all rounds of one run are beyond those of the other.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from bench.results import Results
from bench.scenarios import AUTH_REQUEST, EDGE, MERCURIUS
from bench.stats import BUSY, Spread, middle, ratios

# The ranges of five rounds each are apart by chance once in 126 times, those of three once in ten.
_LEAST_ROUNDS, _LEAST_CHANGE = 5, 0.03


class Verdict(Enum):
    """The result of a comparison."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference beyond the spread"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Change:
    """A scenario's verdict with the ratios of both runs; `why` explains an unknown one."""

    scenario: str
    base: str
    before: Spread
    after: Spread
    verdict: Verdict
    why: str = ""


def judge(before: list[float], after: list[float]) -> Verdict:
    """Return the verdict on the ratios of two runs, one for each round."""
    if min(len(before), len(after)) < _LEAST_ROUNDS:
        return Verdict.UNKNOWN
    old, new = Spread.of(before), Spread.of(after)
    if abs(new.median / old.median - 1) < _LEAST_CHANGE:
        return Verdict.SAME
    if new.high < old.low:
        return Verdict.WORSE
    return Verdict.BETTER if new.low > old.high else Verdict.SAME


def compare(before: Results, after: Results) -> list[Change]:
    """Return the changes of the scenarios that both runs have."""
    changes = []
    for scenario in dict.fromkeys(table.scenario for table in before.tables):
        base = MERCURIUS if scenario == "graphql" else AUTH_REQUEST
        old, new = (_ratios(run, scenario, base) for run in (before, after))
        if old and new:
            verdict = judge(old, new)
            why = f"fewer than {_LEAST_ROUNDS} rounds" if verdict is Verdict.UNKNOWN else ""
            if verdict in (Verdict.BETTER, Verdict.WORSE) and _disturbed(scenario, base, before, after):
                verdict, why = Verdict.UNKNOWN, "one of the two did not have its core to itself"
            changes.append(Change(scenario, base, Spread.of(old), Spread.of(new), verdict, why))
    return changes


def _ratios(run: Results, scenario: str, base: str) -> list[float]:
    own, other = run.rates(scenario, EDGE), run.rates(scenario, base)
    return ratios(own, other) if len(own) == len(other) else []


def _disturbed(scenario: str, base: str, *runs: Results) -> bool:
    return any(middle(run.samples(scenario, name)).cpu < BUSY for run in runs for name in (EDGE, base))
