"""What can't be right in a scenario although each of its parts is valid: unknown names, and faults that never come."""

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
        *(f"graphql {name}: answer" for name in ("playbooks", "execute", "status")),
    ),
    "BrowserListens": (*_SIGN_IN, "graphql execute", "graphql execute: answer", "events", "ws", "result by events"),
    "CommandLine": (*_SIGN_IN, "catalog list", "execute", "status", "logout", "me after logout"),
    "Service": (*_SIGN_IN, "execute", "status"),
    "Attacker": (*_SIGN_IN, "attack"),
    "SlowClient": (),
}
"""The operations of each kind of users."""


def mistakes(scenario: Scenario) -> Iterator[Mistake]:
    """Yield thresholds for which nothing can be measured, and faults that begin after the end."""
    for number, text in enumerate(scenario.thresholds):
        if problem := _of_threshold(scenario, parse(text)):
            yield Mistake(("thresholds", number), f"{text}: {problem}")
    for number, fault in enumerate(scenario.faults):
        if is_late(scenario, fault):
            problem = f"fault {fault.name} begins after the end of the run, at {scenario.duration:g} s"
            yield Mistake(("faults", number, "at"), problem)


def is_late(scenario: Scenario, fault: Fault) -> bool:
    """Return whether a fault begins after the end of the run."""
    return fault.at >= scenario.duration


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
