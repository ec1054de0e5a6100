"""The form of a playbook, as the Python server 4.26 checks it at registration.

The same fields and checks as in NoETL's own models, whose errors are shown by their places and texts.
"""

from __future__ import annotations

from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, field_validator, model_validator

_LEGACY = frozenset({"args", "set_ctx", "set_iter", "result", "outcome"})
_SHOWN = 3


class _Extra(BaseModel):
    model_config = ConfigDict(extra="allow")


class TaskPolicy(BaseModel):
    """The policy of a task."""

    mode: Literal["exclusive", "inclusive"] = "exclusive"
    on_unmatched: Literal["continue", "fail"] = "continue"
    rules: list[dict[str, Any]]
    before: list[dict[str, Any]] | None = None
    after: list[dict[str, Any]] | None = None
    finally_: list[dict[str, Any]] | None = Field(None, alias="finally")


class TaskSpec(_Extra):
    """The settings of a task."""

    timeout: dict[str, Any] | None = None
    policy: TaskPolicy | None = None


class OutputStore(BaseModel):
    """Where the output of a tool is kept."""

    kind: Literal["auto", "memory", "kv", "disk", "object", "s3", "gcs", "db", "duckdb", "eventlog"] = "auto"
    driver: str | None = None
    bucket: str | None = None
    prefix: str | None = None
    ttl: str | None = None
    compression: Literal["none", "gzip", "lz4"] = "none"
    credential: str | None = None


class OutputSelect(BaseModel):
    """A part of an output."""

    model_config = ConfigDict(populate_by_name=True)

    path: str
    as_: str = Field(alias="as")


class ToolOutput(BaseModel):
    """The output of a tool."""

    model_config = ConfigDict(populate_by_name=True)

    store: OutputStore | None = None
    select: list[OutputSelect] | None = None
    accumulate: dict[str, Any] | None = None
    inline_max_bytes: int = 65536
    preview_max_bytes: int = 1024
    scope: Literal["step", "execution", "workflow", "permanent"] = "execution"
    as_: str | None = Field(None, alias="as")


class ToolSpec(_Extra):
    """A tool."""

    kind: Literal[
        "http", "postgres", "duckdb", "ducklake", "python", "workbook", "playbook", "playbooks", "secrets", "iterator",
        "container", "script", "snowflake", "transfer", "snowflake_transfer", "gcs", "gateway", "nats", "agent", "mcp",
        "shell", "artifact", "noop", "task_sequence", "rhai", "result_fetch",
    ]  # fmt: skip
    spec: TaskSpec | None = None
    output: ToolOutput | None = None


class LoopSpec(BaseModel):
    """How a loop runs."""

    model_config = ConfigDict(populate_by_name=True)

    mode: Literal["sequential", "parallel", "cursor"] = "sequential"
    max_in_flight: int | str | None = None
    policy: dict[str, Any] | None = None
    frame_policy: dict[str, Any] | None = Field(None, alias="frame")


class Cursor(BaseModel):
    """What a loop takes its items from."""

    kind: str
    auth: str
    claim: str
    options: dict[str, Any] | None = None


class Loop(BaseModel):
    """A loop."""

    model_config = ConfigDict(populate_by_name=True)

    in_: str | None = Field(None, alias="in")
    cursor: Cursor | None = None
    iterator: str
    spec: LoopSpec | None = None

    @model_validator(mode="after")
    def _one_source(self) -> Loop:
        has_in, has_cursor = bool(self.in_), self.cursor is not None
        mode = self.spec.mode if self.spec else "sequential"
        if has_in and has_cursor:
            raise ValueError("loop: specify either `in` (collection) or `cursor` (pull), not both")
        if not has_in and not has_cursor:
            raise ValueError("loop: one of `in` (collection) or `cursor` (pull) is required")
        if has_cursor and mode != "cursor":
            raise ValueError(f"loop.cursor requires spec.mode='cursor' (got mode={mode!r})")
        if has_in and mode == "cursor":
            raise ValueError(
                "loop.spec.mode='cursor' requires a loop.cursor source (got collection source via loop.in)"
            )
        return self


class NextSpec(BaseModel):
    """How a router chooses."""

    mode: Literal["exclusive", "inclusive"] = "exclusive"
    on_no_match: Literal["complete", "quiet"] = "complete"
    policy: dict[str, Any] | None = None


class Arc(BaseModel):
    """A next step."""

    step: str
    when: str | None = None
    set: dict[str, Any] | None = None
    spec: dict[str, Any] | None = None

    @model_validator(mode="before")
    @classmethod
    def _no_legacy(cls, value: Any) -> Any:
        if isinstance(value, dict) and "args" in value:
            raise ValueError("next.arcs[] must use 'set' (legacy 'args' is not allowed)")
        return value


class NextRouter(BaseModel):
    """The next steps."""

    spec: NextSpec | None = Field(default_factory=NextSpec)
    arcs: list[Arc] = Field(default_factory=list)


class AdmitPolicy(BaseModel):
    """Whether a step is run."""

    mode: Literal["exclusive", "inclusive"] = "exclusive"
    rules: list[dict[str, Any]] = Field(default_factory=list)


class StepPolicy(BaseModel):
    """The policy of a step."""

    admit: AdmitPolicy | None = None
    lifecycle: dict[str, Any] | None = None
    failure: dict[str, Any] | None = None
    emit: dict[str, Any] | None = None


class StepSpec(_Extra):
    """The settings of a step."""

    policy: StepPolicy | None = None
    timeout: str | None = None


class Step(BaseModel):
    """A step."""

    step: str
    desc: str | None = None
    spec: StepSpec | None = None
    input: dict[str, Any] | None = None
    loop: Loop | None = None
    tool: ToolSpec | list[dict[str, Any]] | None = None
    next: NextRouter | None = None
    set: dict[str, Any] | None = None

    @field_validator("tool", mode="before")
    @classmethod
    def _tool(cls, value: Any) -> Any:
        if value is None or (isinstance(value, dict) and "kind" in value):
            return value
        if not isinstance(value, list):
            raise ValueError("tool must be an object with 'kind' or a list of tasks")
        for number, task in enumerate(value):
            if not isinstance(task, dict):
                raise ValueError(f"tool[{number}] must be an object")
            if "kind" not in task:
                raise ValueError(
                    f"tool[{number}] must be either:\n  1. Canonical: {{ name: 'task_name', kind: 'http', ... }}\n"
                    f"  2. Unnamed: {{ kind: 'http', ... }}\nGot: {list(task.keys())}"
                )
        return value

    @field_validator("next", mode="before")
    @classmethod
    def _router(cls, value: Any) -> Any:
        if isinstance(value, dict) and "arcs" not in value:
            if "spec" in value:
                raise ValueError("next router must have 'arcs' field")
            raise ValueError("next must use canonical router format with 'arcs'")
        return value

    @model_validator(mode="before")
    @classmethod
    def _no_legacy(cls, value: Any) -> Any:
        if isinstance(value, dict) and _LEGACY & set(map(str, value)):
            raise ValueError(
                "step must use canonical fields only (legacy args/set_ctx/set_iter/result/outcome are not allowed; "
                "use input/set and tool.output)"
            )
        return value


class WorkbookTask(BaseModel):
    """A task of a workbook."""

    name: str
    tool: ToolSpec


class Metadata(_Extra):
    """The metadata of a playbook."""

    name: str
    path: str | None = None
    description: str | None = None
    tags: list[str] | None = None
    exposed_in_ui: bool | None = None
    exposes_as_mcp: bool | None = None
    agent: bool | None = None
    capabilities: list[str] | None = None

    @field_validator("tags", "capabilities", mode="before")
    @classmethod
    def _texts(cls, value: Any) -> Any:
        if isinstance(value, str):
            return [value]
        if value is not None and not isinstance(value, list):
            raise ValueError("must be a list of strings (or a single string)")
        return value


class ExecutorSpec(BaseModel):
    """What an executor begins and ends with."""

    entry_step: str | None = None
    final_step: str | None = None
    no_next_is_error: bool | None = None
    policy: dict[str, Any] | None = None


class ExecutorRequires(BaseModel):
    """What an executor needs."""

    tools: list[str] | None = None
    features: list[str] | None = None


class Executor(BaseModel):
    """How a playbook is run."""

    profile: Literal["local", "distributed", "auto"] = "auto"
    version: str = "noetl-runtime/1"
    requires: ExecutorRequires | None = None
    spec: ExecutorSpec | None = None


class PlaybookModel(BaseModel):
    """A playbook."""

    apiVersion: Literal["noetl.io/v2", "noetl.io/v10"]
    kind: Literal["Playbook"]
    metadata: dict[str, Any]
    executor: Executor | None = None
    workload: dict[str, Any] | None = None
    keychain: list[dict[str, Any]] | None = None
    workbook: list[WorkbookTask] | None = None
    workflow: list[Step]

    @field_validator("workflow")
    @classmethod
    def _has_steps(cls, value: list[Step]) -> list[Step]:
        if not value:
            raise ValueError("Workflow must have at least one step")
        return value

    @field_validator("metadata")
    @classmethod
    def _has_a_name(cls, value: dict[str, Any]) -> dict[str, Any]:
        Metadata.model_validate(value)
        return value


def problem(document: Any) -> str | None:
    """Return what is wrong with a playbook, in the words of the server; None if nothing is."""
    try:
        PlaybookModel.model_validate(_known(document))
    except ValidationError as error:
        found = error.errors()
        shown = [_line(".".join(map(str, item["loc"])), item["msg"]) for item in found[:_SHOWN]]
        more = f" (+{len(found) - _SHOWN} more)" if len(found) > _SHOWN else ""
        return "; ".join(shown) + more
    return None


def _line(place: str, text: str) -> str:
    return f"{place}: {text}" if place else text


def _known(document: Any) -> Any:
    """Return a document with the sandbox's own tool as one that NoETL knows."""
    workflow = document.get("workflow") if isinstance(document, dict) else None
    if not isinstance(workflow, list):
        return document
    steps = [
        {**step, "tool": {"kind": "noop"}}
        if isinstance(step, dict) and isinstance(step.get("tool"), dict) and step["tool"].get("kind") == "sandbox"
        else step
        for step in workflow
    ]
    return {**document, "workflow": steps}
