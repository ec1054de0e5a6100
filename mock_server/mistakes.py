"""What is wrong with data that a model refuses, as plain text: the place, what is expected, and the nearest known word.

Used for bodies of the control plane, for options and for YAML files, which add the number of the line.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Annotated, Any, Literal, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails

MAX_SHOWN = 5
Location = tuple[int | str, ...]

_PLAIN = {
    "missing": "is missing",
    "string_type": "must be a text",
    "string_unicode": "must be Unicode text; a lone surrogate can't be sent",
    "bool_type": "must be true or false",
    "bool_parsing": "must be true or false",
    "int_type": "must be a whole number",
    "int_parsing": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "float_parsing": "must be a number",
    "finite_number": "must be a finite number",
    "list_type": "must be a list",
    "tuple_type": "must be a list",
    "dict_type": "must be a mapping",
    "model_type": "must be a mapping",
    "model_attributes_type": "must be a mapping",
    "union_tag_not_found": "kind is missing",
    "recursion_loop": "refers to itself",
}
_LIMITS = {
    "greater_than": ("gt", "must be above {}"),
    "greater_than_equal": ("ge", "must be at least {}"),
    "less_than": ("lt", "must be below {}"),
    "less_than_equal": ("le", "must be at most {}"),
    "string_too_short": ("min_length", "must have at least {} characters"),
    "string_too_long": ("max_length", "must have at most {} characters"),
    "too_short": ("min_length", "must have at least {} entries"),
    "too_long": ("max_length", "must have at most {} entries"),
}


class PlacedError(ValueError):
    """What a validator finds wrong within its value.

    Args:
        location: the place, from the value on.
        problem: what is wrong there.
    """

    def __init__(self, location: Location, problem: str) -> None:
        super().__init__(problem)
        self.location, self.problem = location, problem


@dataclass(frozen=True, slots=True)
class Mistake:
    """A mistake: its place from the root of the data on, and what is wrong there."""

    location: Location
    problem: str

    def __str__(self) -> str:
        return f"{placed(self.location)}: {self.problem}" if self.location else self.problem


def mistakes(error: ValidationError, model: type[BaseModel]) -> list[Mistake]:
    """Return the mistakes in data for a model; an unknown key, often the misspelt one that is missing, comes first."""
    found = sorted(error.errors(include_url=False), key=lambda each: each["type"] != "extra_forbidden")
    return [_mistake(each, model) for each in found]


def explain(error: ValidationError, model: type[BaseModel]) -> str:
    """Return what is wrong with data for a model, as one line."""
    return "; ".join(str(mistake) for mistake in mistakes(error, model)[:MAX_SHOWN])


def suggest(word: str, known: Iterable[str]) -> str:
    """Return the known words in parentheses, with the nearest one if there is a similar one."""
    words = sorted(known)
    close = [each for each in words if each.lower() == word.lower()]
    close = close or difflib.get_close_matches(word, words, n=1, cutoff=0.6)
    nearest = f'; did you mean "{close[0]}"?' if close else ""
    return f" (known: {', '.join(words)}{nearest})"


def placed(location: Location) -> str:
    """Return a location as text, such as `rules[0].match.path`."""
    text = ""
    for part in location:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else part
    return text


def _mistake(error: ErrorDetails, model: type[BaseModel]) -> Mistake:
    location, models = _walk(model, error["loc"])
    inner = error.get("ctx", {}).get("error")
    if isinstance(inner, PlacedError):
        return Mistake((*location, *inner.location), inner.problem)
    return Mistake(location, _problem(error, location, models))


def _problem(error: ErrorDetails, location: Location, beside: list[type[BaseModel]]) -> str:
    kind, context = error["type"], error.get("ctx", {})
    if kind in _PLAIN:
        return _PLAIN[kind]
    if kind in {"too_short", "too_long"} and isinstance(error["input"], str):
        kind = f"string_{kind}"
    if kind == "string_too_short" and context["min_length"] == 1:
        return "must not be empty"
    if kind in _LIMITS:
        name, text = _LIMITS[kind]
        return text.format(context[name])
    if kind == "extra_forbidden":
        return "unknown key" + suggest(str(location[-1]), {name for each in beside for name in _fields(each)})
    if kind == "literal_error":
        return f"must be {context['expected']}"
    if kind == "union_tag_invalid":
        return f"unknown kind {context['tag']}" + suggest(context["tag"], _words(context["expected_tags"]))
    if kind.startswith("datetime"):
        return "must be an instant such as 2027-01-01T00:00:00Z"
    if kind == "value_error":
        return str(context["error"])
    return error["msg"][0].lower() + error["msg"][1:]


def _words(quoted: str) -> list[str]:
    return [word.strip(" '") for word in quoted.split(",")]


def _walk(model: type[BaseModel], location: Location) -> tuple[Location, list[type[BaseModel]]]:
    """Return a location without what is not in the data, such as the kind of a union, and the models at its end."""
    kinds: list[type] = [model]
    beside: list[type[BaseModel]] = [model]
    kept: list[int | str] = []
    for part in location:
        models = [kind for kind in kinds if issubclass(kind, BaseModel)]
        tagged = [each for each in models if isinstance(part, str) and part in _tags(each)]
        fields = [found for each in models if (found := _fields(each).get(str(part))) is not None]
        if part == "[key]":
            continue
        if tagged and not fields:
            kinds = list(tagged)
            continue
        kept.append(part)
        if fields:
            kinds = [kind for field in fields for kind in _types(field)]
        if isinstance(part, str):
            beside = models
    return tuple(kept), beside


def _fields(model: type[BaseModel]) -> dict[str, Any]:
    return {field.alias or name: field.annotation for name, field in model.model_fields.items()}


def _tags(model: type[BaseModel]) -> set[str]:
    kinds = [field.annotation for name, field in model.model_fields.items() if name == "kind"]
    return {value for kind in kinds if get_origin(kind) is Literal for value in get_args(kind)}


def _types(kind: Any) -> Iterator[type]:
    """Yield the types in an annotation: those of a union, and of the entries of lists and mappings."""
    origin, inner = get_origin(kind), get_args(kind)
    if origin is Literal:
        return
    if origin is Annotated:
        yield from _types(inner[0])
    elif inner:
        for each in inner:
            yield from _types(each)
    elif isinstance(kind, type):
        yield kind
