"""The tool `sandbox`, which only this server has: it waits, computes, fails, uses the accounts, or calls back.

tool:
  kind: sandbox
  duration: {lognormal: {median: 200ms, sigma: 0.5}}   # or 200ms, or "{{ pace }}"
  set: {total: "{{ numbers | sum }}"}                   # what the step returns, and variables of the run
  fail: "printing failed: {{ reason }}"                 # ends the step with this error
  fail_if: "{{ fail }}"                                  # only if this holds
  fail_probability: 0.1                                  # only this often
  callback: result                                       # auth, result or progress
  late: 5s                                               # how long the callback is held back
  times: 1                                               # how often it is posted; 0: never
  body: "{"                                              # a text that is posted in place of the right one
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from mock_noetl.callbacks import PATHS
from mock_noetl.template_limits import TemplateFailed
from mock_noetl.templates import compiled
from mock_server.durations import Duration, parse_duration

ACCOUNTS = ("login", "validate", "check_access")
MAX_TIMES = 10
SETTINGS = {
    "kind", "duration", "set", "raise", "fail", "fail_if", "fail_probability", "accounts", "callback", "times", "late",
    "body", "message", "progress",
}  # fmt: skip
_OF_CALLBACK = ("times", "late", "body", "message", "progress")


@dataclass(frozen=True, slots=True)
class Callback:
    """A callback to the gateway that has started the playbook.

    Args:
        kind: `auth` (the answer of the last `accounts` step), `result` (what the steps have computed) or `progress`.
        times: how often it is posted; 0: never.
        late: how long it is held back, while the run goes on.
        body: a text that is posted instead, such as a malformed one.
        message: of a progress callback.
        progress: of a progress callback, from 0 to 1.
    """

    kind: str
    times: int = 1
    late: Duration | None = None
    body: str | None = None
    message: str | None = None
    progress: float | None = None


@dataclass(frozen=True, slots=True)
class Sandbox:
    """The settings of the tool.

    Args:
        duration: how long the step takes; a text is a template of it.
        values: what the step returns, by name; texts are templates.
        fails: the error, as a template; None: the step ends well.
        broken: the error is one of the tool, not of a script: the Rust server tells them apart.
        fail_if: a condition for the failure.
        probability: how often the failure happens.
        accounts: `login`, `validate` or `check_access`.
        callback: the callback.
    """

    duration: Duration | str = field(default_factory=lambda: Duration("fixed", 0.0))
    values: Mapping[str, Any] | None = None
    fails: str | None = None
    broken: bool = True
    fail_if: str | None = None
    probability: float = 1.0
    accounts: str | None = None
    callback: Callback | None = None


def sandbox_tool(tool: Mapping[str, Any]) -> Sandbox:
    """Return the settings. Raises ValueError; its text begins with the name of the setting."""
    unknown = sorted(set(map(str, tool)) - SETTINGS)
    if unknown:
        raise ValueError(f"{unknown[0]}: there is no such setting")
    values = tool.get("set") or {}
    if not isinstance(values, dict):
        raise ValueError("set: a mapping is expected")
    for name, value in values.items():
        _template(value, f"set.{name}")
    if "raise" in tool and "fail" in tool:
        raise ValueError("raise: not together with fail")
    broken = "raise" not in tool
    conditional = {"fail_if", "fail_probability"} & set(tool)
    fails = tool.get("fail", tool.get("raise", "failed" if conditional else None))
    if fails is not None:
        _text(fails, "fail" if broken else "raise")
    fail_if = tool.get("fail_if")
    if fail_if is not None:
        fail_if = fail_if if isinstance(fail_if, str) else str(fail_if).lower()
        _template(fail_if if "{{" in fail_if else f"{{{{ {fail_if} }}}}", "fail_if")
    accounts = tool.get("accounts")
    if accounts is not None and accounts not in ACCOUNTS:
        raise ValueError(f"accounts: one of {', '.join(ACCOUNTS)} is expected")
    probability = _share(tool.get("fail_probability", 1), "fail_probability")
    duration = _duration(tool.get("duration", 0), "duration")
    return Sandbox(duration, values or None, fails, broken, fail_if, probability, accounts, _callback(tool))


def _callback(tool: Mapping[str, Any]) -> Callback | None:
    if "callback" not in tool:
        extra = next((name for name in _OF_CALLBACK if name in tool), None)
        if extra is not None:
            raise ValueError(f"{extra}: only with callback")
        return None
    kind, times = tool["callback"], tool.get("times", 1)
    if kind not in PATHS:
        raise ValueError(f"callback: one of {', '.join(PATHS)} is expected")
    if type(times) is not int or not 0 <= times <= MAX_TIMES:
        raise ValueError(f"times: a number from 0 to {MAX_TIMES} is expected")
    for name in ("body", "message"):
        if name in tool and not isinstance(tool[name], str):
            raise ValueError(f"{name}: a text is expected")
    progress = _share(tool["progress"], "progress") if tool.get("progress") is not None else None
    late = _duration(tool["late"], "late") if "late" in tool else None
    if isinstance(late, str):
        raise ValueError("late: a duration is expected")
    return Callback(str(kind), times, late, tool.get("body"), tool.get("message"), progress)


def _duration(value: Any, place: str) -> Duration | str:
    if isinstance(value, str) and "{{" in value:
        _template(value, place)
        return value
    try:
        return parse_duration(value)
    except ValueError as error:
        raise ValueError(f"{place}: {error}") from None


def _share(value: Any, place: str) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float) or not 0 <= value <= 1:
        raise ValueError(f"{place}: a number from 0 to 1 is expected")
    return float(value)


def _text(value: Any, place: str) -> None:
    if not isinstance(value, str) or not value.strip():
        raise ValueError(f"{place}: a text is expected")
    _template(value, place)


def _template(value: Any, place: str) -> None:
    """Check the templates in JSON data."""
    if isinstance(value, dict):
        for name, item in value.items():
            _template(item, f"{place}.{name}")
    elif isinstance(value, list):
        for item in value:
            _template(item, place)
    elif isinstance(value, str):
        try:
            compiled(value)
        except TemplateFailed as error:
            raise ValueError(f"{place}: {error}") from None
