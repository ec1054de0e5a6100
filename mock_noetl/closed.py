"""Closed programs: what a run of one does follows from its start alone.

Its steps neither see nor change anything outside the run: they wait, compute and fail. They run no code, start no
other playbook, use no accounts and call nobody back. Each step runs once at most, one after another.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from mock_server.durations import MAX_SECONDS, Duration

if TYPE_CHECKING:
    from mock_noetl.playbook import Step

MAX_TEMPLATES = 100
"""A run of a closed program is computed at one go, so that it may have only so many texts with templates."""

_OPEN = frozenset({"python", "playbook"})


def is_closed(steps: Sequence[Step]) -> bool:
    """Return whether the program of these steps is closed."""
    return all(_is_alone(step) for step in steps) and not _has_circle(steps) and _templates(steps) <= MAX_TEMPLATES


def longest(steps: Sequence[Step]) -> float:
    """Return how many seconds the steps of a closed program take at most, without what is between them."""
    return sum(_longest(step) for step in steps)


def draws(steps: Sequence[Step]) -> bool:
    """Return whether something of the steps is random."""
    tools = [step.sandbox for step in steps if step.sandbox is not None]
    return any(tool.probability < 1 or _is_drawn(tool.duration) for tool in tools)


def _is_alone(step: Step) -> bool:
    tool = step.sandbox
    calls = tool is not None and (tool.accounts is not None or tool.callback is not None)
    return step.kind not in _OPEN and not step.inclusive and not calls


def _has_circle(steps: Sequence[Step]) -> bool:
    """Return whether a step can be reached from itself: steps that nothing leads to are taken away, one by one."""
    leads = [{arc.target for arc in step.arcs if arc.target is not None} for step in steps]
    reached = [0] * len(steps)
    for targets in leads:
        for target in targets:
            reached[target] += 1
    waiting = [number for number, count in enumerate(reached) if not count]
    left = len(steps)
    while waiting:
        left -= 1
        for target in leads[waiting.pop()]:
            reached[target] -= 1
            if not reached[target]:
                waiting.append(target)
    return left > 0


def _templates(steps: Sequence[Step]) -> int:
    found = sum(arc.when is not None for step in steps for arc in step.arcs)
    found += sum(step.sandbox is not None and step.sandbox.fail_if is not None for step in steps)
    waiting: list[Any] = [part for step in steps for part in (step.tool, step.sets, step.loop)]
    while waiting:
        part = waiting.pop()
        if isinstance(part, str):
            found += "{{" in part or "{%" in part
        elif isinstance(part, dict):
            waiting.extend(part.values())
        elif isinstance(part, list | tuple):
            waiting.extend(part)
    return found


def _longest(step: Step) -> float:
    if step.sandbox is None:
        return 0.0
    duration = step.sandbox.duration
    return MAX_SECONDS if isinstance(duration, str) else duration.longest


def _is_drawn(duration: Duration | str) -> bool:
    return not isinstance(duration, str) and duration.kind != "fixed"
