"""Playbooks: from YAML to a program of steps that the engine runs.

`load` reads the YAML as the Python server does, and bounds what aliases can make of it. `compile_program` is lenient
about the form of a workflow, because each dialect checks it in its own way; it is strict about the tool `sandbox`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import yaml

from mock_noetl.closed import Closed, closed
from mock_noetl.errors import PlaybookError
from mock_noetl.tool import Sandbox, sandbox_tool
from mock_noetl.values import plain

MAX_STEPS = 200
MAX_TEXT = 1_000_000
MAX_NODES = 100_000


@dataclass(frozen=True, slots=True)
class Arc:
    """A next step, which follows if `when` is absent or holds. `target` is None if there is no such step."""

    step: str
    target: int | None
    when: str | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step.

    Args:
        name: the name.
        kind: the kind of its tool; `noop` if it has none.
        tool: the settings of the tool.
        arcs: the next steps.
        has_next: whether the step has a next step at all.
        inclusive: every arc that holds is followed, not only the first one.
        sets: variables that the step sets when it has ended well, with templates in their texts.
        sandbox: the settings of the tool `sandbox`.
        loop: the items of its loop, as a list or a template, and the name of one.
    """

    name: str
    kind: str
    tool: Mapping[str, Any]
    arcs: tuple[Arc, ...] = ()
    has_next: bool = False
    inclusive: bool = False
    sets: Mapping[str, Any] | None = None
    sandbox: Sandbox | None = None
    loop: tuple[Any, str] | None = None

    @property
    def code(self) -> str:
        """The code of a Python step."""
        return str(self.tool.get("code") or "")


@dataclass(frozen=True, slots=True)
class Program:
    """The workflow of a playbook.

    Args:
        steps: the steps.
        first: the number of the first one.
        workload: the defaults of the variables.
        closed: what is known of its runs, if each follows from its start alone; None if that is not so.
    """

    steps: tuple[Step, ...]
    first: int
    workload: Mapping[str, Any]
    closed: Closed | None = None

    @property
    def kinds(self) -> frozenset[str]:
        """The kinds of the tools of the steps."""
        return frozenset(step.kind for step in self.steps)


def load(text: str) -> dict[str, Any]:
    """Return the mapping of a YAML text. Raises PlaybookError, with the place if it is known."""
    if len(text) > MAX_TEXT:
        raise PlaybookError(f"a playbook has at most {MAX_TEXT} characters")
    try:
        document = plain(bounded(yaml.load(text, Loader=Loader)))  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PlaybookError(f"{place}{error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise PlaybookError(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    except ValueError as error:
        raise PlaybookError(str(error)) from None
    if not isinstance(document, dict):
        raise PlaybookError("a playbook is a mapping")
    return document


class Loader(yaml.SafeLoader):
    """A safe YAML loader in which times are texts."""


Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def bounded(value: Any) -> Any:
    """Return a value that has at most `MAX_NODES` parts, counting aliases as often as they stand. Raises ValueError."""
    left = MAX_NODES
    waiting = [(value, 0)]
    while waiting:
        item, depth = waiting.pop()
        left -= 1
        if left < 0 or depth > 64:
            raise ValueError("a document has too many parts, or is nested too deeply")
        if isinstance(item, dict):
            waiting.extend((child, depth + 1) for child in item.values())
        elif isinstance(item, list | tuple):
            waiting.extend((child, depth + 1) for child in item)
    return value


def compile_program(document: Mapping[str, Any]) -> Program | None:
    """Return the program of a document; None if its workflow is no list of steps. Raises PlaybookError."""
    workflow = document.get("workflow")
    if not isinstance(workflow, list) or not all(isinstance(item, dict) for item in workflow):
        return None
    if len(workflow) > MAX_STEPS:
        raise PlaybookError(f"workflow: at most {MAX_STEPS} steps")
    names: dict[str, int] = {}
    for number, item in enumerate(workflow):
        names.setdefault(str(item.get("step")), number)
    steps = tuple(_step(item, number, names) for number, item in enumerate(workflow))
    workload = document.get("workload")
    defaults = workload if isinstance(workload, dict) else {}
    if not steps:
        return None
    first = names.get("start", 0)
    return Program(steps, first, plain(defaults), closed(steps, first))


def _step(item: Mapping[str, Any], number: int, names: Mapping[str, int]) -> Step:
    tool = item.get("tool")
    settings: Mapping[str, Any] = tool if isinstance(tool, dict) else {}
    kind = str(settings.get("kind", "noop")) if not isinstance(tool, list) else "task_sequence"
    following = item.get("next")
    spec = following.get("spec") if isinstance(following, dict) else None
    sets = item.get("set")
    try:
        sandbox = sandbox_tool(settings) if kind == "sandbox" else None
    except ValueError as error:
        raise PlaybookError(f"workflow.{number}.tool.{error}") from None
    return Step(
        name=str(item.get("step")),
        kind=kind,
        tool=settings,
        arcs=_arcs(following, names),
        has_next=bool(following),
        inclusive=isinstance(spec, dict) and spec.get("mode") == "inclusive",
        sets=sets if isinstance(sets, dict) else None,
        sandbox=sandbox,
        loop=_loop(item.get("loop")),
    )


def _loop(given: Any) -> tuple[Any, str] | None:
    return (given.get("in"), str(given.get("iterator", "item"))) if isinstance(given, dict) else None


def _arcs(following: Any, names: Mapping[str, int]) -> tuple[Arc, ...]:
    """Return the arcs of a router, and those of the short forms that the Rust server takes too."""
    if isinstance(following, dict) and "arcs" in following:
        following = following["arcs"]
    items = following if isinstance(following, list) else [following] if following else []
    found = []
    for item in items:
        name = item if isinstance(item, str) else item.get("step") if isinstance(item, dict) else None
        when = item.get("when") if isinstance(item, dict) else None
        if name is not None:
            found.append(Arc(str(name), names.get(str(name)), None if when is None else str(when)))
    return tuple(found)
