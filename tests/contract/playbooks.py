"""The playbooks that the contract runs: what each step does is known, so that the truth about a run is, too.

A real server runs Python; the sandbox runs its own tool, which does the same.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Step:
    """A step: it takes `seconds`, and then returns a value or raises ValueError with the text `fails`.

    `broken`: its tool can't be run.
    """

    name: str
    returns: Any = None
    following: str = ""
    seconds: float = 0.0
    fails: str = ""
    broken: bool = False


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook. `loop` is the step that runs once for each of the workload's items."""

    path: str
    steps: tuple[Step, ...]
    workload: dict[str, Any] = field(default_factory=dict)
    description: str = "Of the contract"
    loop: str = ""

    def yaml(self, *, sandbox: bool) -> str:
        """Return the text for a real server, or for the sandbox. JSON is YAML."""
        document = {
            "apiVersion": "noetl.io/v2",
            "kind": "Playbook",
            "metadata": {"name": self.path.rpartition("/")[2], "path": self.path, "description": self.description},
            "workload": self.workload,
            "workflow": [self._step(step, sandbox=sandbox) for step in self.steps],
        }
        return json.dumps(document, indent=1)

    def _step(self, step: Step, *, sandbox: bool) -> dict[str, Any]:
        found: dict[str, Any] = {"step": step.name, "tool": _sandbox(step) if sandbox else _python(step)}
        if step.name == self.loop and not sandbox:
            found["loop"] = {"in": "{{ items }}", "iterator": "item", "spec": {"mode": "sequential"}}
        if step.following:
            found["next"] = {"spec": {"mode": "exclusive"}, "arcs": [{"step": step.following}]}
        return found


@dataclass(frozen=True, slots=True)
class Text:
    """A playbook that is given as JSON data, for one kind of server."""

    path: str
    workflow: list[dict[str, Any]]
    workload: dict[str, Any] = field(default_factory=dict)

    def yaml(self, *, sandbox: bool) -> str:
        """Return the text."""
        metadata = {"name": self.path.rpartition("/")[2], "path": self.path, "description": "Of the contract"}
        document = {"apiVersion": "noetl.io/v2", "kind": "Playbook", "metadata": metadata}
        return json.dumps({**document, "workload": self.workload, "workflow": self.workflow}, indent=1)


def _python(step: Step) -> dict[str, Any]:
    if step.broken:
        return {"kind": "http", "method": "GET", "endpoint": "http://127.0.0.1:1/"}
    lines = ["import time", f"time.sleep({step.seconds})"] if step.seconds else []
    lines += [f"raise ValueError({step.fails!r})"] if step.fails else [f"result = {step.returns!r}"]
    return {"kind": "python", "input": {}, "code": "\n".join(lines) + "\n"}


def _sandbox(step: Step) -> dict[str, Any]:
    tool: dict[str, Any] = {"kind": "sandbox", "duration": f"{int(step.seconds * 1000)}ms"}
    if step.broken:
        tool["fail"] = "nothing listens there"
    elif step.fails:
        tool["raise"] = step.fails
    elif step.returns:
        tool["set"] = step.returns
    return tool


LAST = {"done": True, "list": [1, 2, {"b": None}], "big": 9007199254740993, "text": "ünï " * 200}
"""What the last step of `QUICK` returns: with a list, which events leave out."""
QUICK = Playbook(
    "contract/quick",
    (Step("start", {"a": 1}, "middle"), Step("middle", {"b": [2, 3]}, "end"), Step("end", LAST)),
    {"n": 3, "greeting": "hi"},
    "Three quick steps",
)
GUI = Playbook(
    "contract/gui",
    (Step("start", {"a": 1}, "middle"), Step("middle", {"b": [2, 3]}, "end"), Step("end", {"done": True})),
    {"n": 3, "greeting": "hi"},
    "What the GUI shows",
)
"""Like `QUICK`, without numbers that JavaScript rounds."""
HANDLED = Playbook(
    "contract/handled",
    (
        Step("start", following="clean_up", fails="first step fails"),
        Step("clean_up", {"cleaned": True}, "end", seconds=3),
        Step("end", {"state": "cleaned up"}),
    ),
)
_MANY = [f"s{number:02d}" for number in range(1, 9)]
LOOP = Playbook(
    "contract/loop",
    (
        Step("start", {"a": 1}, "each"),
        Step("each", {"square": 4}, "s01"),
        *(Step(name, {"i": i}, _MANY[i + 1] if i + 1 < len(_MANY) else "end") for i, name in enumerate(_MANY)),
        Step("end", {"done": True}),
    ),
    {"items": [1, 2, 3, 4, 5, 6]},
    loop="each",
)
ONE = Playbook("contract/one", (Step("start", {"only": 1}),), {"n": 3})
FAILING = Playbook("contract/failing", (Step("start", {"a": 1}, "last"), Step("last", fails="out of paper")))
BROKEN = Playbook("contract/broken", (Step("start", {"a": 1}, "last"), Step("last", broken=True)))
SLOW = Playbook("contract/slow", (Step("start", {"a": 1}, "end", seconds=20), Step("end", {"b": 1})), {"n": 1})
SLASH = Playbook("/contract/slash", (Step("start", {"a": 1}, "end"), Step("end", {"b": 2})))
FLOW = Playbook("data_pipeline/flow", (Step("start", {"a": 1}, "end"), Step("end", {"b": 2})), {"n": 1})
PURGE = Playbook("system/purge", (Step("start", {"a": 1}, "end"), Step("end", {"b": 2})), {"n": 1})
