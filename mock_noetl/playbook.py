"""The parser of playbooks: from YAML to a valid, immutable model.

Only the `sandbox` tool is executed; a step with another tool succeeds at once, so that playbooks for a real server can
be registered. Aliases are rejected, because they can make a small document very large.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import yaml

from mock_noetl.callbacks import PATHS
from mock_noetl.errors import PlaybookError
from mock_noetl.expressions import Expression, ExpressionError, check_template, parse
from mock_noetl.values import parse_duration, plain

ACCOUNTS = ("login", "validate", "check_access")
_SETTINGS = {
    "kind", "duration", "set", "raise", "fail", "fail_if", "accounts", "callback", "times", "body", "message",
    "progress",
}  # fmt: skip
MAX_STEPS = 200
MAX_TEXT = 1_000_000


@dataclass(frozen=True, slots=True)
class Arc:
    """A next step, which runs if `when` is absent or true."""

    step: str
    when: Expression | None = None


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback to the gateway that has started the playbook.

    Args:
        kind: `auth` (the answer of the last `accounts` step), `result` (what the steps have computed) or `progress`.
        times: how often it is posted; 0: never.
        body: a text that is posted instead, such as a malformed one.
        message: of a progress callback.
        progress: of a progress callback, from 0 to 1.
    """

    kind: str
    times: int = 1
    body: str | None = None
    message: str | None = None
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The settings of the `sandbox` tool: wait, compute values, use the accounts, call back, or fail.

    `fail` ends the run, as a tool that can't be run does; after `raises` it goes on, as after a script that raises.
    `accounts` is `login`, `validate` or `check_access`.
    """

    duration: str = "0s"
    values: tuple[tuple[str, Any], ...] = ()
    raises: str | None = None
    fail: str | None = None
    fail_if: Expression | None = None
    accounts: str | None = None
    callback: Callback | None = None


@dataclass(frozen=True, slots=True)
class Step:
    """One step of the workflow."""

    name: str
    action: Sandbox = field(default_factory=Sandbox)
    arcs: tuple[Arc, ...] = ()
    kind: str = "none"


@dataclass(frozen=True, slots=True)
class Playbook:
    """A valid playbook.

    Args:
        path: the path in the catalog.
        name: the name.
        kind: the kind, such as `Playbook`.
        description: the description, or None.
        workload: the default variables.
        steps: the steps of the workflow.
        document: the whole YAML as JSON data.
    """

    path: str
    name: str
    kind: str
    description: str | None
    workload: Mapping[str, Any]
    steps: tuple[Step, ...]
    document: Mapping[str, Any]

    def step(self, name: str) -> Step:
        return next(step for step in self.steps if step.name == name)

    @property
    def first(self) -> Step:
        """The step named `start`; otherwise the first one."""
        return next((step for step in self.steps if step.name == "start"), self.steps[0])


class _Loader(yaml.SafeLoader):
    """A safe YAML loader without aliases; times are texts."""

    def compose_node(self, parent: Any, index: Any) -> Any:
        if self.check_event(yaml.AliasEvent):
            event = self.peek_event()  # type: ignore[no-untyped-call]
            raise yaml.constructor.ConstructorError(None, None, "aliases are not allowed", event.start_mark)
        return super().compose_node(parent, index)


_Loader.yaml_implicit_resolvers = {
    first: [pair for pair in pairs if pair[0] != "tag:yaml.org,2002:timestamp"]
    for first, pairs in yaml.SafeLoader.yaml_implicit_resolvers.items()
}


def parse_playbook(text: str, source: str) -> Playbook:
    """Return a parsed playbook. Raises PlaybookError; its text is one line that begins with `source`."""
    try:
        return _playbook(_load(text))
    except (ValueError, ExpressionError, PlaybookError) as error:
        raise PlaybookError(f"{source}: {error}") from None


def _load(text: str) -> dict[str, Any]:
    if len(text) > MAX_TEXT:
        raise PlaybookError(f"a playbook has at most {MAX_TEXT} characters")
    try:
        document = plain(yaml.load(text, Loader=_Loader))  # noqa: S506 - a subclass of SafeLoader
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        place = f"line {mark.line + 1}, column {mark.column + 1}: " if mark else ""
        raise PlaybookError(f"{place}{error.problem or 'not YAML'}") from None
    except (yaml.YAMLError, RecursionError) as error:
        raise PlaybookError(f"not YAML: {' '.join(str(error).split())[:200]}") from None
    if not isinstance(document, dict):
        raise PlaybookError("a playbook is a mapping")
    return document


def _playbook(document: dict[str, Any]) -> Playbook:
    if not str(document.get("apiVersion", "")).startswith("noetl.io/"):
        raise PlaybookError("apiVersion: noetl.io/v2 is expected")
    metadata = _mapping(document.get("metadata"), "metadata")
    path = _text(metadata.get("path", metadata.get("name")), "metadata.path")
    description = metadata.get("description")
    steps = _steps(document.get("workflow"))
    return Playbook(
        path=path,
        name=_text(metadata.get("name", path), "metadata.name"),
        kind=_text(document.get("kind"), "kind").lower(),
        description=None if description is None else str(description),
        workload=_mapping(document.get("workload") or {}, "workload"),
        steps=steps,
        document=document,
    )


def _steps(workflow: Any) -> tuple[Step, ...]:
    if not isinstance(workflow, list) or not workflow:
        raise PlaybookError("workflow: a list of steps is expected")
    if len(workflow) > MAX_STEPS:
        raise PlaybookError(f"workflow: at most {MAX_STEPS} steps")
    steps = tuple(_step(_mapping(item, f"workflow[{n}]"), f"workflow[{n}]") for n, item in enumerate(workflow))
    names = [step.name for step in steps]
    for number, step in enumerate(steps):
        if step.name in names[:number]:
            raise PlaybookError(f"workflow[{number}].step: {step.name} is a duplicate")
        for arc in step.arcs:
            if arc.step not in names:
                raise PlaybookError(f"workflow[{number}].next: no step named {arc.step}")
    return steps


def _step(item: dict[str, Any], place: str) -> Step:
    tool = item.get("tool")
    action = Sandbox()
    kind = str(tool.get("kind", "none")) if isinstance(tool, dict) else "none"
    if isinstance(tool, dict) and kind == "sandbox":
        action = _sandbox(tool, f"{place}.tool")
    name = _text(item.get("step"), f"{place}.step")
    return Step(name=name, action=action, arcs=_arcs(item.get("next"), f"{place}.next"), kind=kind)


def _sandbox(tool: dict[str, Any], place: str) -> Sandbox:
    unknown = sorted(set(tool) - _SETTINGS)
    if unknown:
        raise PlaybookError(f"{place}: no setting named {unknown[0]}")
    duration = str(tool.get("duration", "0s"))
    values = _mapping(tool.get("set") or {}, f"{place}.set")
    fail = tool.get("fail", "failed" if "fail_if" in tool else None)
    fail_if = _expression(tool["fail_if"], f"{place}.fail_if") if "fail_if" in tool else None
    _check_text(duration, f"{place}.duration")
    try:
        if "{{" not in duration:
            parse_duration(duration)
    except ValueError as error:
        raise PlaybookError(f"{place}.duration: {error}") from None
    if fail is not None:
        _check_text(_text(fail, f"{place}.fail"), f"{place}.fail")
    raises = _text(tool["raise"], f"{place}.raise") if "raise" in tool else None
    computed = tuple((name, _computed(value, f"{place}.set.{name}")) for name, value in values.items())
    accounts = _one_of(tool["accounts"], ACCOUNTS, f"{place}.accounts") if "accounts" in tool else None
    return Sandbox(duration, computed, raises, fail, fail_if, accounts, _callback(tool, place))


def _callback(tool: dict[str, Any], place: str) -> Callback | None:
    if "callback" not in tool:
        extra = next((name for name in ("times", "body", "message", "progress") if name in tool), None)
        if extra is not None:
            raise PlaybookError(f"{place}.{extra}: only with callback")
        return None
    times, progress = tool.get("times", 1), tool.get("progress")
    if type(times) is not int or not 0 <= times <= 10:
        raise PlaybookError(f"{place}.times: a number from 0 to 10 is expected")
    if progress is not None and (isinstance(progress, bool) or not isinstance(progress, int | float)):
        raise PlaybookError(f"{place}.progress: a number from 0 to 1 is expected")
    texts = {name: tool[name] for name in ("body", "message") if name in tool}
    for name, text in texts.items():
        if not isinstance(text, str):
            raise PlaybookError(f"{place}.{name}: a text is expected")
    kind = _one_of(tool["callback"], tuple(PATHS), f"{place}.callback")
    return Callback(kind, times, texts.get("body"), texts.get("message"), progress)


def _one_of(value: Any, known: tuple[str, ...], place: str) -> str:
    if value not in known:
        raise PlaybookError(f"{place}: one of {', '.join(known)} is expected")
    return str(value)


def _check_text(template: str, place: str) -> None:
    try:
        check_template(template)
    except ExpressionError as error:
        raise PlaybookError(f"{place}: {error}") from None


def _computed(value: Any, place: str) -> Any:
    return _expression(value, place) if isinstance(value, str) else value


def _expression(value: Any, place: str) -> Expression:
    try:
        return parse(value if isinstance(value, str) else str(value))
    except ExpressionError as error:
        raise PlaybookError(f"{place}: {error}") from None


def _arcs(following: Any, place: str) -> tuple[Arc, ...]:
    if isinstance(following, dict) and "arcs" in following:
        following = following["arcs"]
    if following is None:
        return ()
    items = following if isinstance(following, list) else [following]
    return tuple(_arc(item, place) for item in items)


def _arc(item: Any, place: str) -> Arc:
    if isinstance(item, str):
        return Arc(item)
    arc = _mapping(item, place)
    when = _expression(arc["when"], f"{place}.when") if "when" in arc else None
    return Arc(_text(arc.get("step"), f"{place}.step"), when)


def _mapping(value: Any, place: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise PlaybookError(f"{place}: a mapping is expected")
    return value


def _text(value: Any, place: str) -> str:
    if not isinstance(value, str) or not value.strip():
        raise PlaybookError(f"{place}: a text is expected")
    return value
