"""Rules: which requests are answered in another way than the program does, when, and how.

A rule has a `match` (what), conditions (when) and effects (how). The first rule that applies decides; a rule that is
added at run time comes before those that exist.
"""

from __future__ import annotations

import base64
from typing import Annotated, Any, Self

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationInfo, field_validator, model_validator

from .durations import Duration, parse_duration
from .faults import MAX_BODY, Fault, Seconds, parse_fault
from .matching import Match
from .messages import to_json
from .mistakes import PlacedError
from .overrides import Overrides
from .texts import FieldName, FieldValue, Text, wrong_encoding

START = "start"
MAX_SIZE = 10 * 1024**3


class Every(BaseModel):
    """A schedule: for the first part of each period the rule applies, and for the rest it does not."""

    model_config = ConfigDict(extra="forbid", frozen=True, populate_by_name=True)

    period: Seconds = Field(description="Duration of a period.")
    lasts: Seconds = Field(alias="for", description="How long the rule applies, from the start of each period.")

    @model_validator(mode="after")
    def _fits(self) -> Self:
        if not 0 < self.lasts <= self.period:
            raise ValueError("for must be above 0, and not longer than period")
        return self


class Scenario(BaseModel):
    """A state in which a rule applies, and the state that follows it. Every scenario begins in `start`."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    name: Annotated[Text, Field(min_length=1, max_length=200)]
    state: Text = Field(START, description="The state in which the rule applies.")
    next: Text | None = Field(None, description="The state after a request to which the rule applied.")


class Scripted(BaseModel):
    """A response in place of the program's."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    status: Annotated[int, Field(ge=200, le=599)] = 200
    headers: dict[FieldName, FieldValue] = {}
    data: Any = Field(None, alias="json", description="The body, as JSON data.")
    text: Text | None = Field(None, description="The body, as text.")
    base64: str | None = Field(None, description="The body, as bytes in base64.")
    size: Annotated[int, Field(ge=0, le=MAX_SIZE)] | None = Field(None, description="A body of that many bytes.")

    @model_validator(mode="after")
    def _one_body(self) -> Self:
        given = [name for name in ("text", "base64", "size") if getattr(self, name) is not None]
        given += ["json"] if "data" in self.model_fields_set else []
        if len(given) > 1:
            raise ValueError(f"a response has one body: give one of {', '.join(given)}")
        for name in self.headers:
            if name.lower() in {"content-length", "transfer-encoding"}:
                raise ValueError("the framing follows from the body; the fault wrong_length sends another length")
        return self

    @field_validator("base64")
    @classmethod
    def _is_base64(cls, value: str | None) -> str | None:
        try:
            base64.b64decode(value or "", validate=True)
        except ValueError:
            raise ValueError("must be bytes in base64") from None
        return value

    @property
    def body(self) -> bytes:
        """The bytes of the body, unless it has a `size`."""
        if self.base64 is not None:
            return base64.b64decode(self.base64)
        if self.text is not None:
            return self.text.encode()
        return to_json(self.data) if "data" in self.model_fields_set else b""

    @property
    def content_type(self) -> str:
        """The media type of the body."""
        return "application/json" if "data" in self.model_fields_set else "text/plain; charset=utf-8"


def _duration(value: Any) -> Any:
    return value if isinstance(value, Duration) else parse_duration(value)


Delay = Annotated[Duration, BeforeValidator(_duration, json_schema_input_type=str | float | dict[str, Any])]


class Rule(BaseModel):
    """A rule. With `Overrides` as the context of a validation, its overrides are those of that program."""

    model_config = ConfigDict(extra="forbid", frozen=True, arbitrary_types_allowed=True, populate_by_name=True)

    name: Annotated[Text, Field(max_length=200)] = Field("", description="A unique name; default: `rule-1` and so on.")
    match: Match = Field(Match(), description="The requests that the rule is for; default: all.")

    probability: Annotated[float, Field(ge=0, le=1)] = Field(1.0, description="Share of those requests.")
    skip: Annotated[int, Field(ge=0)] = Field(0, description="How many of those requests pass at first.")
    times: Annotated[int, Field(ge=1)] | None = Field(None, description="To how many requests the rule applies.")
    start: Seconds = Field(0.0, alias="from", description="Duration from the addition of the rule to its start.")
    until: Seconds | None = Field(None, description="Duration from the addition of the rule to its end.")
    every: Every | None = Field(None, description="A schedule within that time.")
    scenario: Scenario | None = Field(None, description="The scenario that the rule is a part of.")

    delay: Delay | None = Field(None, description="Duration before the response, fixed or from a distribution.")
    response: Scripted | None = Field(None, description="A response in place of the program's.")
    merge: dict[str, Any] | None = Field(
        None, description="Members that replace those of the program's JSON response; null removes one (RFC 7396)."
    )
    overrides: dict[str, Any] = Field({}, description="Settings of the program for this response.")
    fault: Annotated[Fault, BeforeValidator(parse_fault)] | None = Field(None, description="A fault in its sending.")

    @model_validator(mode="after")
    def _has_an_effect(self) -> Self:
        effects = (self.delay, self.response, self.merge, self.overrides or None, self.fault, self.scenario)
        if all(effect is None for effect in effects):
            raise ValueError("a rule needs an effect: delay, response, merge, overrides, fault or scenario")
        if self.until is not None and self.until <= self.start:
            raise ValueError("until must be after from")
        if self.response is not None and (self.merge is not None or self.overrides):
            raise ValueError("merge and overrides change the program's response: a rule with response has none")
        return self

    @model_validator(mode="after")
    def _path_is_one_that_clients_send(self) -> Self:
        if problem := wrong_encoding(self.match.path):
            raise PlacedError(("match", "path"), problem)
        return self

    @model_validator(mode="after")
    def _body_fits(self) -> Self:
        size = self.response.size if self.response is not None else None
        if self.fault is not None and size is not None and size > MAX_BODY:
            problem = f"must be at most {MAX_BODY} (64 MiB) in a rule with a fault, which needs the body whole"
            raise PlacedError(("response", "size"), problem)
        return self

    @model_validator(mode="after")
    def _overrides_are_known(self, info: ValidationInfo) -> Self:
        if isinstance(info.context, Overrides):
            info.context.check(self.overrides, self.match)
        return self
