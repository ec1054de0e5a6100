"""Closed programs: what a run of one does follows from its start alone.

Its steps neither see nor change anything outside the run: they wait, compute and fail. They run no code, start no
other playbook, use no accounts and call nobody back. Each step runs once at most, one after another. Steps that the
first one does not lead to make no difference.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from mock_server.durations import MAX_SECONDS, Duration

if TYPE_CHECKING:
    from mock_noetl.playbook import Step

MAX_TEMPLATES = 100
"""A run of a closed program is computed at one go, so that it may have only so many texts with templates."""

_OPEN = frozenset({"python", "playbook"})
Reached = Mapping[int, "Step"]


@dataclass(frozen=True, slots=True)
class Closed:
    """What is known of all runs of a closed program.

    Args:
        shortest: how many seconds a run takes at least, without what is between steps.
        longest: how many seconds the steps take at most.
        steps: how many steps there are at most.
        draws: whether something is random.
    """

    shortest: float
    longest: float
    steps: int
    draws: bool


def closed(steps: Sequence[Step], first: int) -> Closed | None:
    """Return what is known of all runs of a program; None if it is not closed."""
    reached = _reached(steps, first)
    if not all(map(_is_alone, reached.values())) or _has_circle(reached) or _templates(reached) > MAX_TEMPLATES:
        return None
    tools = [step.sandbox for step in reached.values() if step.sandbox is not None]
    draws = any(tool.probability < 1 or _is_drawn(tool.duration) for tool in tools)
    longest = sum(_longest(tool.duration) for tool in tools)
    beginning = steps[first].sandbox
    return Closed(_shortest(beginning.duration) if beginning else 0.0, longest, len(reached), draws)


def _reached(steps: Sequence[Step], first: int) -> Reached:
    found: dict[int, Step] = {}
    waiting = [first]
    while waiting:
        number = waiting.pop()
        if number not in found:
            found[number] = steps[number]
            waiting.extend(arc.target for arc in steps[number].arcs if arc.target is not None)
    return found


def _is_alone(step: Step) -> bool:
    tool = step.sandbox
    calls = tool is not None and (tool.accounts is not None or tool.callback is not None)
    return step.kind not in _OPEN and not step.inclusive and not calls


def _has_circle(steps: Reached) -> bool:
    """Return whether a step can be reached from itself: steps that nothing leads to are taken away, one by one."""
    leads = {n: {arc.target for arc in step.arcs if arc.target is not None} for n, step in steps.items()}
    times = dict.fromkeys(steps, 0)
    for targets in leads.values():
        for target in targets:
            times[target] += 1
    waiting = [number for number, count in times.items() if not count]
    left = len(steps)
    while waiting:
        left -= 1
        for target in leads[waiting.pop()]:
            times[target] -= 1
            if not times[target]:
                waiting.append(target)
    return left > 0


def _templates(steps: Reached) -> int:
    found = sum(arc.when is not None for step in steps.values() for arc in step.arcs)
    found += sum(step.sandbox is not None and step.sandbox.fail_if is not None for step in steps.values())
    waiting: list[Any] = [part for step in steps.values() for part in (step.tool, step.sets, step.loop)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            found += "{{" in part or "{%" in part
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
    return found


def _longest(duration: Duration | str) -> float:
    return MAX_SECONDS if isinstance(duration, str) else duration.longest


def _shortest(duration: Duration | str) -> float:
    return 0.0 if isinstance(duration, str) else duration.shortest


def _is_drawn(duration: Duration | str) -> bool:
    return not isinstance(duration, str) and duration.kind != "fixed"
