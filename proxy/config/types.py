"""The field types of the model, and the conversion of YAML scalars and environment values to them.

A value from `${…}` or an environment variable is a text (`FromEnvironment`) and is parsed as the type of its field. A
value that is written in the file must already have the right YAML type.
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
    """A text from the environment or from a file, which may be converted to the type of its field."""

    __slots__ = ()


class SecretFromEnvironment(FromEnvironment):
    """A text from a file, or from a variable with a secret's name, which no message may show."""

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
            raise ValueError(f"must be a number with a unit, such as {example}")
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


def spell(info: FieldInfo, value: Any) -> Any:
    """Return a value in the spelling of the file: durations and sizes have their unit."""
    if type(value) not in (int, float):
        return value
    if _is(info, Duration):
        return format_duration(value)
    return format_size(value) if _is(info, Size) else value


def _is(info: FieldInfo, kind: Any) -> bool:
    """Return True if a field is of type `kind` (Duration or Size), which its validator identifies."""
    validator = next(mark for mark in get_args(kind)[1:] if isinstance(mark, BeforeValidator))
    return validator in info.metadata or any(validator in get_args(part)[1:] for part in get_args(info.annotation))
