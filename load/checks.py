"""What can't be right in a scenario although each of its parts is valid: unknown names, and times that do not fit."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import TYPE_CHECKING

from load.thresholds import DURING, OF_OPERATIONS, OF_PROCESSES, Threshold, parse
from mock_server.mistakes import Mistake, suggest

if TYPE_CHECKING:
    from load.scenario import Fault, Scenario

_SIGN_IN = ("token", "login")
OPERATIONS: Mapping[str, tuple[str, ...]] = {
    "BrowserPolls": (
        *(*_SIGN_IN, "validate", "me", "graphql playbooks", "graphql execute", "graphql status", "result by polling"),
    ),
    "BrowserListens": (*_SIGN_IN, "graphql execute", "events", "ws", "result by events"),
    "CommandLine": (*_SIGN_IN, "catalog list", "execute", "status", "result by polling", "logout", "me after logout"),
    "Service": (*_SIGN_IN, "execute", "status"),
    "Attacker": (*_SIGN_IN, "attack"),
    "SlowClient": (),
}
"""The operations of each kind of users."""


def mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Yield thresholds for which nothing can be measured, and faults whose times or names do not fit."""
    for number, text in enumerate(scenario.thresholds):
        if problem := _of_threshold(scenario, parse(text)):
            yield Mistake(("thresholds", number), f"{text}: {problem}")
    seen: set[str] = set()
    for number, fault in enumerate(scenario.faults):
        for field, problem in _of_fault(scenario, fault):
            yield Mistake(("faults", number, field), f"fault {fault.name} {problem}")
        if fault.name in seen:
            yield Mistake(("faults", number, "name"), f"there is another fault {fault.name}: give it another name")
        seen.add(fault.name)


def _of_fault(scenario: Scenario, fault: Fault) -> Iterator[tuple[str, str]]:
    """Yield the field and the text of what is wrong with the times of a fault."""
    end = f"the end of the run, at {scenario.duration:g} s"
    if is_late(scenario, fault):
        yield "at", f"begins after {end}"
    elif is_cut(scenario, fault):
        yield "for", f"ends at {fault.at + fault.lasts:g} s, after {end}: lower for, or raise duration"
    if fault.every is not None and fault.lasts > fault.every:
        yield "for", f"lasts {fault.lasts:g} s, and comes again every {fault.every:g} s: lower for, or raise every"
    if not fault.lasts and (fault.rule is not None or fault.process == "pause"):
        yield "for", "ends when it begins: add for, such as for: 10s"


def is_late(scenario: Scenario, fault: Fault) -> bool:
    """Return whether a fault begins after the end of the run."""
    return fault.at >= scenario.duration


def is_cut(scenario: Scenario, fault: Fault) -> bool:
    """Return whether a fault begins within the run, and ends after it."""
    return not is_late(scenario, fault) and fault.at + fault.lasts > scenario.duration


def _of_threshold(scenario: Scenario, threshold: Threshold) -> str:
    name, argument = threshold.name, threshold.argument
    operations = {each for kind in scenario.mix for each in OPERATIONS[kind]}
    if name in OF_OPERATIONS and argument != "*" and argument not in operations:
        return f"no user of this scenario has the operation {argument}{suggest(argument, operations)}"
    if name in OF_PROCESSES and argument not in (programs := _programs(scenario)):
        return f"there is no program {argument}{suggest(argument, programs)}"
    if threshold.when == DURING and not scenario.faults:
        return "the scenario has no faults"
    return ""


def _programs(scenario: Scenario) -> set[str]:
    gateways = {f"gateway-{number}" for number in range(1, scenario.stack.gateways + 1)}
    return {"auth0", "noetl", "gateway", *gateways} | ({"redis"} if scenario.stack.store == "redis" else set())
