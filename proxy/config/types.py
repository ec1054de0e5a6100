"""The field types of the model: what a YAML scalar, or a text from the environment, may become.

A value that came out of `${…}` or an environment variable is a text (`FromEnvironment`); it is read as the field's
type. A value written in the file must have the right YAML type already.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Annotated, Any, TypeVar, get_args

from pydantic import BeforeValidator, Field, WithJsonSchema
from pydantic.fields import FieldInfo

from proxy.config.units import format_duration, format_size, parse_duration, parse_size

_TRUE = {"true", "yes", "on", "1"}
_FALSE = {"false", "no", "off", "0"}
_VARIABLE = {"type": "string", "pattern": r"\$\{"}
T = TypeVar("T")


class FromEnvironment(str):
    """A text whose value came from the environment or from a file, so its YAML type says nothing."""

    __slots__ = ()


def _read(convert: Callable[[str], T], expected: str) -> Callable[[Any], Any]:
    def before(value: Any) -> Any:
        if not isinstance(value, FromEnvironment):
            return value
        try:
            return convert(value)
        except ValueError:
            raise ValueError(f'"{value}" is not {expected}') from None

    return before


def _boolean(text: str) -> bool:
    lowered = text.lower()
    if lowered not in _TRUE | _FALSE:
        raise ValueError
    return lowered in _TRUE


def _unit(convert: Callable[[str], Any], example: str) -> Callable[[Any], Any]:
    def before(value: Any) -> Any:
        if isinstance(value, str):
            return convert(value)
        if type(value) in (int, float) or value is None:
            raise ValueError(f"needs a number with a unit, as {example}")
        return value

    return before


def _list(value: Any) -> Any:
    return tuple(value) if isinstance(value, list) else value


def _text(value: Any) -> Any:
    return str(value) if isinstance(value, FromEnvironment) else value


def _number(text: str) -> int | float:
    try:
        return int(text)
    except ValueError:
        return float(text)


def _schema(kind: dict[str, Any]) -> WithJsonSchema:
    return WithJsonSchema({"anyOf": [kind, _VARIABLE]})


Text = Annotated[str, BeforeValidator(_text)]
Integer = Annotated[int, BeforeValidator(_read(int, "a whole number")), _schema({"type": "integer"})]
Number = Annotated[
    float,
    BeforeValidator(_read(_number, "a number")),
    Field(allow_inf_nan=False),
    _schema({"type": "number"}),
]
Flag = Annotated[bool, BeforeValidator(_read(_boolean, "true or false")), _schema({"type": "boolean"})]
Duration = Annotated[
    float,
    BeforeValidator(_unit(parse_duration, "10s or 5m")),
    Field(ge=0),
    _schema({"type": "string", "pattern": r"^[0-9]+(\.[0-9]+)?(ms|s|m|h|d)$"}),
]
Size = Annotated[
    int,
    BeforeValidator(_unit(parse_size, "16KiB or 10MiB")),
    Field(ge=0),
    _schema({"type": "string", "pattern": r"^[0-9]+(B|KiB|MiB|GiB)$"}),
]
Texts = Annotated[tuple[Text, ...], BeforeValidator(_list)]
ListOf = BeforeValidator(_list)


def _claims(value: Any) -> Any:
    if not isinstance(value, dict):
        return value
    return {key: tuple(item) if isinstance(item, list) else (item,) for key, item in value.items()}


Claims = Annotated[dict[str, tuple[str | int | bool, ...]], BeforeValidator(_claims)]


def written(info: FieldInfo, value: Any) -> Any:
    """A field's value as the file would spell it: durations and sizes with their unit."""
    if type(value) not in (int, float):
        return value
    if _is(info, Duration):
        return format_duration(value)
    return format_size(value) if _is(info, Size) else value


def _is(info: FieldInfo, kind: Any) -> bool:
    """Whether a field is a Duration or a Size, by the validator that only that kind has."""
    validator = next(mark for mark in get_args(kind)[1:] if isinstance(mark, BeforeValidator))
    return validator in info.metadata or any(validator in get_args(part)[1:] for part in get_args(info.annotation))
