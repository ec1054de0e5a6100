"""What two runs tell about the gateway, as far as their spread allows. Pure.

Compared are ratios to something measured in the same rounds, never rates: those are of a machine and a moment. Better
or worse is only what lies outside the whole range of the other run, and nothing is made of a contender that was
kept from using its core.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import Enum

from bench.results import Results
from bench.scenarios import AUTH_REQUEST, EDGE, LABELS, MERCURIUS, PLAIN
from bench.stats import BUSY, Spread, middle, ratios

# Ranges of five rounds each lie apart by mere chance once in 126 times, of three once in ten.
_LEAST_ROUNDS = 5
_LEAST_CHANGE = 0.03
# Scenario -> what the gateway is held against: (scenario, contender). Where nobody else can do it, the yardstick is
# how fast the machine does something else in the same round.
BASES: Mapping[str, tuple[str, str]] = {
    "relay": ("relay", AUTH_REQUEST),
    "relay_post": ("relay_post", AUTH_REQUEST),
    "relay_large": ("relay_large", PLAIN),
    "executionStatus": ("executionStatus", AUTH_REQUEST),
    "executePlaybook": ("executePlaybook", AUTH_REQUEST),
    "login": ("relay", AUTH_REQUEST),
    "validate": ("relay", AUTH_REQUEST),
    "graphql": ("graphql", MERCURIUS),
}


class Verdict(Enum):
    """What can be said."""

    BETTER = "better"
    WORSE = "worse"
    SAME = "no difference that the spread allows"
    UNKNOWN = "can't be told"


@dataclass(frozen=True, slots=True)
class Judgement:
    """A scenario's verdict, with the ratios of both runs where there are any; `why` says what is missing."""

    scenario: str
    base: str
    verdict: Verdict
    before: Spread | None = None
    after: Spread | None = None
    why: str = ""


def judge(before: list[float], after: list[float]) -> Verdict:
    """The verdict on two runs' ratios, one per round."""
    if min(len(before), len(after)) < _LEAST_ROUNDS:
        return Verdict.UNKNOWN
    old, new = Spread.of(before), Spread.of(after)
    if abs(new.median / old.median - 1) < _LEAST_CHANGE:
        return Verdict.SAME
    if new.high < old.low:
        return Verdict.WORSE
    return Verdict.BETTER if new.low > old.high else Verdict.SAME


def compare(before: Results, after: Results) -> tuple[Judgement, ...]:
    """A judgement on each scenario that either run has."""
    names = dict.fromkeys(table.scenario for table in (*before.tables, *after.tables))
    return tuple(_compare(name, before, after) for name in names if name in BASES)


def _compare(scenario: str, before: Results, after: Results) -> Judgement:
    base_scenario, base = BASES[scenario]
    label = f"{LABELS.get(base, base)}{'' if base_scenario == scenario else f' ({base_scenario})'}"
    old, new = own_ratios(before, scenario), own_ratios(after, scenario)
    if not old or not new:
        where = "neither run" if not old and not new else "the first run" if not old else "the second run"
        return Judgement(scenario, label, Verdict.UNKNOWN, why=f"not in {where}, or without what it is held against")
    found = judge(old, new)
    why = f"{len(old)} and {len(new)} rounds tell no spread" if found is Verdict.UNKNOWN else ""
    if doubt := _doubt(found, scenario, before, after):
        found, why = Verdict.UNKNOWN, doubt
    return Judgement(scenario, label, found, Spread.of(old), Spread.of(new), why)


def _doubt(found: Verdict, scenario: str, before: Results, after: Results) -> str:
    """Why a difference may be none: kept from its core, the gateway makes a ratio too low, the base one too high."""
    if found not in (Verdict.BETTER, Verdict.WORSE):
        return ""
    first, second = ("first", before), ("second", after)
    low, high = (first, second) if found is Verdict.BETTER else (second, first)
    for (name, results), (of, contender) in (low, (scenario, EDGE)), (high, BASES[scenario]):
        share = _cpu(results, of, contender)
        if share < BUSY:
            return f"in the {name} run {LABELS[contender]} had only {share:.0%} of its core"
    return ""


def _cpu(results: Results, scenario: str, contender: str) -> float:
    table = results.table(scenario)
    row = table.row(contender) if table else None
    return middle(row.samples).cpu if row else 0.0


def own_ratios(results: Results, scenario: str) -> list[float]:
    """The gateway's ratio to the scenario's base in each round; nothing where either was not measured."""
    own, base = results.values(scenario, EDGE), results.values(*BASES[scenario])
    return ratios(own, base) if own and len(own) == len(base) else []
