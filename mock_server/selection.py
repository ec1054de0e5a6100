"""Which rule applies to a request: rules in their order, their counters, their schedules and scenarios."""

from __future__ import annotations

import random
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from .messages import Request
from .mistakes import suggest
from .rules import START, Rule

MAX_RULES = 1_000


class TooManyRulesError(Exception):
    """There is no room for another rule."""


@dataclass(slots=True)
class ActiveRule:
    """A rule in force.

    Args:
        rule: the rule.
        since: the monotonic time of its addition.
        seen: how many requests it was for.
        applied: to how many of them it applied.
    """

    rule: Rule
    since: float
    seen: int = 0
    applied: int = 0


class Rules:
    """The rules in force."""

    def __init__(self, source: random.Random, rules: Iterable[Rule] = (), time: Callable[[], float] = time.monotonic):
        """Begin with some rules, to which `reset` returns."""
        self._source = source
        self._time = time
        self._number = 0
        self._active: list[ActiveRule] = []
        self.states: dict[str, str] = {}
        self._first: list[Rule] = []
        for rule in rules:
            self._first.append(self._named(rule))
        self.reset()

    def __len__(self) -> int:
        return len(self._active)

    def __iter__(self) -> Iterator[ActiveRule]:
        return iter(self._active)

    def reset(self) -> None:
        """Return to the first rules, with all counters at zero and all scenarios in their first state."""
        self._active = [ActiveRule(rule, self._time()) for rule in self._first]
        self.states.clear()

    def add(self, rule: Rule) -> ActiveRule:
        """Put a rule before all others; a rule of its name is replaced. Raises TooManyRulesError."""
        rule = self._named(rule)
        self._active = [active for active in self._active if active.rule.name != rule.name]
        if len(self._active) >= MAX_RULES:
            raise TooManyRulesError(f"there are {MAX_RULES} rules: remove some first")
        added = ActiveRule(rule, self._time())
        self._active.insert(0, added)
        return added

    def remove(self, name: str) -> bool:
        """Remove a rule; return whether there was one."""
        before = len(self._active)
        self._active = [active for active in self._active if active.rule.name != name]
        return len(self._active) < before

    def clear(self) -> None:
        """Remove all rules, also the first ones until the next reset."""
        self._active = []

    @property
    def scenarios(self) -> dict[str, set[str]]:
        """The scenarios of the rules, with the states that their rules name."""
        return states_of(active.rule for active in self._active)

    def set_state(self, scenario: str, state: str) -> None:
        """Put a scenario of the rules into a state."""
        self.states[scenario] = state

    def select(self, request: Request) -> Rule | None:
        """Return the rule that applies to a request, counted, and with its scenario in the next state."""
        for active in self._active:
            rule = active.rule
            if not self._in_force(active) or not rule.match.matches(request):
                continue
            active.seen += 1
            if active.seen <= rule.skip or (rule.probability < 1 and self._source.random() >= rule.probability):
                continue
            active.applied += 1
            if rule.scenario is not None and rule.scenario.next is not None:
                self.states[rule.scenario.name] = rule.scenario.next
            return rule
        return None

    def _in_force(self, active: ActiveRule) -> bool:
        rule = active.rule
        if rule.times is not None and active.applied >= rule.times:
            return False
        if rule.scenario is not None and self.states.get(rule.scenario.name, START) != rule.scenario.state:
            return False
        if rule.start == 0.0 and rule.until is None and rule.every is None:
            return True
        age = self._time() - active.since
        if age < rule.start or (rule.until is not None and age >= rule.until):
            return False
        return rule.every is None or (age - rule.start) % rule.every.period < rule.every.lasts

    def _named(self, rule: Rule) -> Rule:
        if rule.name:
            return rule
        self._number += 1
        return rule.model_copy(update={"name": f"rule-{self._number}"})


def states_of(rules: Iterable[Rule]) -> dict[str, set[str]]:
    """Return the scenarios of rules, with the states that the rules apply in or lead to."""
    found: dict[str, set[str]] = {}
    for rule in rules:
        if rule.scenario is not None:
            states = found.setdefault(rule.scenario.name, {START})
            states |= {rule.scenario.state, rule.scenario.next or START}
    return found


def unreachable(rules: Sequence[Rule]) -> str:
    """Return what is wrong with the first rule in whose state its scenario never is; empty if there is no such rule.

    A state is reached from `start` on by the rules alone, as long as no other rules are added and no state is set.
    """
    for rule in rules:
        scenario = rule.scenario
        if scenario is None or scenario.state == START:
            continue
        leads = {each.scenario.next for each in rules if each.scenario and each.scenario.name == scenario.name}
        if scenario.state not in leads:
            known = {START, *filter(None, leads)}
            return (
                f"scenario {scenario.name}: no rule leads to the state {scenario.state}{suggest(scenario.state, known)}"
            )
    return ""
