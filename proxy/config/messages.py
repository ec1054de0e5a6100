"""Convert a validation error of pydantic into a sentence that says what to write instead."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from proxy.config.problems import suggest

_NEEDS = {
    "missing": "is required",
    "int_type": "must be a whole number",
    "int_from_float": "must be a whole number",
    "float_type": "must be a number",
    "bool_type": "must be true or false",
    "tuple_type": "must be a list, such as [a, b]",
    "dict_type": "must be a mapping, such as key: value",
    "model_type": "must be a mapping, such as key: value",
    "model_attributes_type": "must be a mapping, such as key: value",
}
_BOUNDS = {
    "greater_than_equal": ("ge", "must be at least"),
    "less_than_equal": ("le", "must be at most"),
    "greater_than": ("gt", "must be more than"),
    "less_than": ("lt", "must be less than"),
}


def describe(
    error: Any, siblings: tuple[str, ...], *, is_secret: bool = False, spelled: Callable[[Any], Any] = lambda v: v
) -> str:
    """Return the text for one of pydantic's error details.

    Args:
        error: the detail.
        siblings: the keys known at that place.
        is_secret: the value may be a secret, and the text must not contain it.
        spelled: returns a bound of the value in the spelling of the file, as 5m for 300 seconds.
    """
    kind, context, value = error["type"], error.get("ctx", {}), error.get("input")
    if kind == "extra_forbidden":
        return "unknown key" + suggest(str(error["loc"][-1]), siblings)
    if kind == "string_type":
        if type(value) not in (int, float, bool):
            return "must be a text"
        return "must be a text; put quotes around it" + ("" if is_secret else f': "{value}"')
    if kind == "string_pattern_mismatch":
        return (
            "has a form that is not accepted here; see docs/reference.md"
            if is_secret
            else f'"{value}" is not accepted here'
        )
    if kind == "literal_error":
        words = context["expected"].replace(" or ", ", ").replace("'", "").split(", ")
        word = str(value).lower() if isinstance(value, bool) else str(value)
        return f'"{word}" is not one of {", ".join(words)}' + suggest(word, words)
    if kind in _BOUNDS:
        name, text = _BOUNDS[kind]
        bound = spelled(context[name])
        return f"{text} {bound:g}" if isinstance(bound, float) else f"{text} {bound}"
    if kind == "int_type" and isinstance(value, str) and value.isdecimal():
        return "must be a whole number, without quotes"
    if kind == "too_short":
        return "needs at least one entry"
    return _NEEDS.get(kind) or str(error["msg"]).removeprefix("Value error, ")
