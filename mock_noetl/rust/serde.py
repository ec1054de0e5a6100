"""JSON bodies as the Rust server reads them: into given shapes, with the errors of serde, and their places.

A shape is a type of a field: `Text()`, `Optional(Integer())`, `Struct(…)`. Reading stops at the first error.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any, NoReturn

from mock_noetl.rust.reader import Anything, DataError, Reader, Shape

_MAX_BRACKETS = 100
_MAX_DIGITS = 18


def parsed(data: bytes, shape: Shape) -> Any:
    """Return the value of a JSON text. Raises DataError.

    Text that is clearly right is read by the standard library, which is faster; `Reader` reads the rest.
    """
    if data.count(b"[") + data.count(b"{") < _MAX_BRACKETS and b"\\u" not in data:
        try:
            return shape.take(_decoder.decode(data.decode()))
        except (ValueError, DataError):
            pass
    return Reader(data).document(shape)


def misfit() -> NoReturn:
    """Raise the error for a value that does not fit."""
    raise DataError("misfit")


def _integer(text: str) -> int:
    return int(text) if len(text) <= _MAX_DIGITS else misfit()


def _float(text: str) -> float:
    found = float(text)
    return found if math.isfinite(found) else misfit()


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    return found if len(found) == len(pairs) else misfit()


_decoder = json.JSONDecoder(
    object_pairs_hook=_object, parse_float=_float, parse_int=_integer, parse_constant=lambda text: misfit()
)


@dataclass(frozen=True, slots=True)
class Text(Shape):
    """A string; `expected` is how errors call it."""

    expected: str = "a string"

    def read(self, reader: Reader) -> str:
        if reader.peek() != ord('"'):
            raise reader.unexpected(self.expected)
        return reader.string()

    def take(self, value: Any) -> str:
        return value if isinstance(value, str) else misfit()


@dataclass(frozen=True, slots=True)
class Boolean(Shape):
    """A boolean."""

    expected: str = "a boolean"

    def read(self, reader: Reader) -> bool:
        first = reader.peek()
        if first not in (ord("t"), ord("f")):
            raise reader.unexpected(self.expected)
        return bool(reader.literal())

    def take(self, value: Any) -> bool:
        return value if isinstance(value, bool) else misfit()


@dataclass(frozen=True, slots=True)
class Integer(Shape):
    """An integer of 64 bits; `least` is 0 for one without a sign."""

    expected: str = "i64"
    least: int = -(2**63)
    most: int = 2**63 - 1

    def read(self, reader: Reader) -> int:
        if reader.peek() not in b"-0123456789":
            raise reader.unexpected(self.expected)
        number = reader.number()
        if isinstance(number, float):
            raise reader.fixed(DataError(f"invalid type: floating point `{number!r}`, expected {self.expected}"))
        if not self.least <= number <= self.most:
            raise reader.fixed(DataError(f"invalid value: integer `{number}`, expected {self.expected}"))
        return number

    def take(self, value: Any) -> int:
        return value if type(value) is int and self.least <= value <= self.most else misfit()


@dataclass(frozen=True, slots=True)
class Identity(Shape):
    """A string or an integer, which becomes a string."""

    expected: str = "a string or signed/unsigned integer representing a snowflake id"

    def read(self, reader: Reader) -> str:
        first = reader.peek()
        if first == ord('"'):
            return reader.string()
        if first in b"[{":
            what = "sequence" if first == ord("[") else "map"
            reader.refused_within(DataError(f"invalid type: {what}, expected {self.expected}"))
        if first not in b"-0123456789":
            raise reader.unexpected(self.expected)
        number = reader.number()
        if isinstance(number, float):
            raise reader.fixed(DataError(f"invalid type: floating point `{number!r}`, expected {self.expected}"))
        return str(number)

    def take(self, value: Any) -> str:
        return value if isinstance(value, str) else str(value) if type(value) is int else misfit()


@dataclass(frozen=True, slots=True)
class Ignored(Shape):
    """A value of a field that the server does not know; errors in it do not say where."""

    def read(self, reader: Reader) -> None:
        try:
            reader.anything()
        except DataError as error:
            error.path = ""
            raise

    def take(self, value: Any) -> None:
        return None


@dataclass(frozen=True, slots=True)
class Optional(Shape):
    """A value or null; a missing field is null."""

    inner: Shape

    def read(self, reader: Reader) -> Any:
        if reader.peek() == ord("n"):
            return reader.literal()
        return self.inner.read(reader)

    def take(self, value: Any) -> Any:
        return None if value is None else self.inner.take(value)

    def missing(self, name: str) -> Any:
        return None


@dataclass(frozen=True, slots=True)
class Default(Shape):
    """A value that may be missing."""

    inner: Shape
    value: Callable[[], Any]

    def read(self, reader: Reader) -> Any:
        return self.inner.read(reader)

    def take(self, value: Any) -> Any:
        return self.inner.take(value)

    def missing(self, name: str) -> Any:
        return self.value()


@dataclass(frozen=True, slots=True)
class Sequence(Shape):
    """A list of values of one shape."""

    inner: Shape

    def read(self, reader: Reader) -> list[Any]:
        if reader.peek() != ord("["):
            raise reader.unexpected("a sequence")
        return reader.sequence(lambda number: self.inner)[0]

    def take(self, value: Any) -> list[Any]:
        return [self.inner.take(item) for item in value] if isinstance(value, list) else misfit()


@dataclass(frozen=True, slots=True)
class Mapping(Shape):
    """A map of any values."""

    def read(self, reader: Reader) -> dict[str, Any]:
        if reader.peek() != ord("{"):
            raise reader.unexpected("a map")
        return reader.mapping(lambda key: Anything())

    def take(self, value: Any) -> dict[str, Any]:
        return value if isinstance(value, dict) else misfit()


@dataclass(frozen=True, slots=True)
class Struct(Shape):
    """A struct: its fields by name, in their order. `aliases` are other names of fields."""

    name: str
    fields: dict[str, Shape]
    aliases: dict[str, str] = field(default_factory=dict)

    def read(self, reader: Reader) -> dict[str, Any]:
        first = reader.peek()
        if first == ord("["):
            return self._of_sequence(reader)
        if first != ord("{"):
            raise reader.unexpected(f"struct {self.name}")
        found: dict[str, Any] = {}

        def known(key: str) -> Shape:
            name = self.aliases.get(str(key), str(key))
            if name in found:
                raise DataError(f"duplicate field `{name}`")
            found[name] = None
            return self.fields.get(name, Ignored())

        return reader.mapping(known, self._complete)

    def take(self, value: Any) -> dict[str, Any]:
        if not isinstance(value, dict):
            misfit()
        found: dict[str, Any] = {}
        for key, item in value.items():
            name = self.aliases.get(str(key), str(key))
            shape = self.fields.get(name)
            if shape is None:
                continue
            if name in found:
                misfit()
            found[name] = shape.take(item)
        return {name: found[name] if name in found else shape.missing(name) for name, shape in self.fields.items()}

    def _complete(self, given: dict[str, Any]) -> dict[str, Any]:
        named = {self.aliases.get(key, key): value for key, value in given.items()}
        return {name: named[name] if name in named else shape.missing(name) for name, shape in self.fields.items()}

    def _of_sequence(self, reader: Reader) -> dict[str, Any]:
        names = list(self.fields)

        def complete(values: list[Any]) -> list[Any]:
            for number in range(len(values), len(names)):
                shape = self.fields[names[number]]
                if not isinstance(shape, Default):
                    count = f"{len(names)} element{'s' if len(names) != 1 else ''}"
                    raise DataError(f"invalid length {number}, expected struct {self.name} with {count}")
                values.append(shape.value())
            return values

        values, _ = reader.sequence(lambda number: self.fields[names[number]], complete, len(names))
        return dict(zip(names, values, strict=True))
