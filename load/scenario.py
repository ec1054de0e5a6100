"""A scenario: users, their number over time, the stack, the faults and their schedule, and the thresholds."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Literal, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, field_validator, model_validator

from load import checks
from load.shapes import SHAPES
from load.thresholds import parse
from mock_server.durations import seconds
from mock_server.mistakes import PlacedError, explain, mistakes, suggest
from mock_server.rules import Rule
from mock_server.yaml_file import YamlFile, YamlFileError

FOLDER = Path(__file__).with_name("scenarios")
MAX_HOURS = 24
MAX_FILE = 1024 * 1024
TARGETS = frozenset({"noetl", "auth0", "redis", *(f"gateway-{number}" for number in range(1, 10))})
KINDS = tuple(checks.OPERATIONS)


class ScenarioError(Exception):
    """A scenario can't be read; the text names the file and the place."""


class _Model(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True, allow_inf_nan=False)


def _long_seconds(value: Any) -> float:
    text = str(value).strip()
    if text.endswith("h") and text[:-1].replace(".", "", 1).isdigit() and float(text[:-1]) <= MAX_HOURS:
        return float(text[:-1]) * 3600
    return seconds(value)


Seconds = Annotated[float, BeforeValidator(_long_seconds)]


class Call(_Model):
    """An operation of a sandbox's control plane: method, path behind `/__admin`, and JSON body."""

    method: Literal["GET", "POST", "PUT", "DELETE"] = "POST"
    path: Annotated[str, Field(pattern="^/")]
    body: Any = None


class Fault(_Model):
    """A fault of the schedule.

    Args:
        name: its name, for the report.
        at: when it begins, from the start of the run.
        lasts: how long it lasts.
        every: it comes again and again, that long apart.
        target: what it happens to: `noetl`, `auth0`, `gateway-1` and so on, or `redis`.
        rule: a rule of the sandbox's control plane, added at the start and removed at the end.
        call: an operation of the sandbox's control plane, at the start.
        process: `stop`, `kill` or `pause` the process at the start; it is started or continued at the end.
    """

    name: str
    at: Seconds
    lasts: Seconds = Field(0.0, alias="for")
    every: Annotated[Seconds, Field(ge=0.1)] | None = None
    target: str
    rule: dict[str, Any] | None = None
    call: Call | None = None
    process: Literal["stop", "kill", "pause"] | None = None

    @field_validator("target")
    @classmethod
    def _target_is_known(cls, value: str) -> str:
        if value not in TARGETS:
            raise ValueError(f"unknown target {value} (known: auth0, gateway-1 to gateway-9, noetl, redis)")
        return value

    @field_validator("rule")
    @classmethod
    def _rule_is_one(cls, value: dict[str, Any] | None) -> dict[str, Any] | None:
        if value is not None:
            try:
                Rule.model_validate(value)
            except ValidationError as error:
                first = mistakes(error, Rule)[0]
                raise PlacedError(first.location, first.problem) from None
        return value

    @model_validator(mode="after")
    def _one_effect(self) -> Self:
        given = [effect for effect in (self.rule, self.call, self.process) if effect is not None]
        if len(given) != 1:
            raise ValueError("a fault has one of rule, call and process")
        if self.process is None and self.target not in {"noetl", "auth0"}:
            raise PlacedError(("target",), "rule and call are for noetl and auth0; other targets have process")
        return self


class Stack(_Model):
    """What is started for the scenario.

    Args:
        gateways: how many gateways.
        workers: the worker processes of each.
        store: where sessions are kept.
        dialect: the dialect of the sandbox NoETL.
    """

    gateways: Annotated[int, Field(ge=1, le=9)] = 1
    workers: Annotated[int, Field(ge=1, le=16)] = 1
    store: Literal["memory", "file", "redis"] = "file"
    dialect: Literal["python", "rust"] = "python"


class Scenario(_Model):
    """A scenario."""

    name: str
    description: str
    users: Annotated[int, Field(ge=1, le=100_000)] = 100
    duration: Annotated[Seconds, Field(ge=1)] = 60.0
    shape: str = "steady"
    start_rate: Annotated[float, Field(gt=0)] = Field(50.0, description="Users that are started each second, at most.")
    think_time: tuple[float, float] = Field((1.0, 5.0), description="Seconds between two actions of a user.")
    mix: dict[str, Annotated[int, Field(ge=1)]] = {"BrowserPolls": 1}
    settle: Seconds = Field(5.0, description="Duration behind a fault that still counts as its time.")
    stack: Stack = Stack()
    faults: tuple[Fault, ...] = ()
    thresholds: tuple[str, ...]

    @field_validator("think_time")
    @classmethod
    def _think_time_is_a_range(cls, value: tuple[float, float]) -> tuple[float, float]:
        if not 0 <= value[0] <= value[1]:
            raise ValueError("must be the shortest and the longest time, in this order, such as [1, 5]")
        return value

    @field_validator("shape")
    @classmethod
    def _shape_is_known(cls, value: str) -> str:
        if value not in SHAPES:
            raise ValueError(f"{value} is not one of {', '.join(SHAPES)}")
        return value

    @field_validator("mix")
    @classmethod
    def _kinds_are_known(cls, value: dict[str, int]) -> dict[str, int]:
        for unknown in value.keys() - set(KINDS):
            raise PlacedError((unknown,), f"unknown kind of users{suggest(unknown, KINDS)}")
        return value

    @field_validator("thresholds")
    @classmethod
    def _thresholds_are_valid(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for number, text in enumerate(value):
            try:
                parse(text)
            except ValueError as error:
                raise PlacedError((number,), str(error)) from None
        return value

    @model_validator(mode="after")
    def _targets_run(self) -> Self:
        for number, fault in enumerate(self.faults):
            place = ("faults", number, "target")
            if fault.target.startswith("gateway-") and int(fault.target[8:]) > self.stack.gateways:
                problem = f"fault {fault.name}: {fault.target} does not run: stack.gateways is too low"
                raise PlacedError(place, problem)
            if fault.target == "redis" and self.stack.store != "redis":
                raise PlacedError(place, f"fault {fault.name}: stack.store is not redis")
        return self

    def windows(self) -> list[tuple[str, float, float]]:
        """Return name, begin and end of each fault, from the start of the run; `settle` is not in it."""
        found = []
        for fault in self.faults:
            begin = fault.at
            while begin < self.duration:
                found.append((fault.name, begin, min(begin + fault.lasts, self.duration)))
                if fault.every is None:
                    break
                begin += fault.every
        return sorted(found, key=lambda item: item[1])


def names() -> list[str]:
    """Return the names of the committed scenarios."""
    return sorted(path.stem for path in FOLDER.glob("*.yaml"))


def load_scenario(name: str) -> Scenario:
    """Return a committed scenario by its name, or one from a file. Raises ScenarioError."""
    path = Path(name) if name.endswith((".yaml", ".yml")) else FOLDER / f"{name}.yaml"
    if not path.exists():
        raise ScenarioError(f"there is no scenario {name}{suggest(name, names())}, or give a YAML file")
    try:
        file = YamlFile.read(path, MAX_FILE)
    except YamlFileError as error:
        raise ScenarioError(str(error)) from None
    data = file.data
    try:
        found = Scenario.model_validate({"name": path.stem, **data} if isinstance(data, dict) else data)
    except ValidationError as error:
        raise ScenarioError(str(file.error(*mistakes(error, Scenario)))) from None
    if problems := list(checks.mistakes(found)):
        raise ScenarioError(str(file.error(*problems)))
    return found


def changed(scenario: Scenario, users: int | None, duration: str | None, with_faults: bool = True) -> Scenario:
    """Return a scenario with another number of users or duration, or without its faults. Raises ScenarioError."""
    changes = {name: value for name, value in (("users", users), ("duration", duration)) if value is not None}
    data: dict[str, Any] = scenario.model_dump(by_alias=True) | changes
    if not with_faults:
        data["faults"] = ()
    try:
        return Scenario.model_validate(data)
    except ValidationError as error:
        raise ScenarioError(f"--{explain(error, Scenario)}") from None
