"""JSON text as serde_json reads it: the same order of checks, and the same places in errors."""

from __future__ import annotations

import contextlib
import math
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, NoReturn

MAX_DEPTH = 128
_SPACE = b" \t\n\r"
_DIGITS = b"0123456789"
_ESCAPES = {34: '"', 92: "\\", 47: "/", 98: "\b", 102: "\f", 110: "\n", 114: "\r", 116: "\t"}
_SHOWN = {"\\": "\\\\", '"': '\\"', "\n": "\\n", "\r": "\\r", "\t": "\\t", "\0": "\\0"}
_LITERALS = {ord("n"): (b"ull", None), ord("t"): (b"rue", True), ord("f"): (b"alse", False)}


class DataError(Exception):
    """A value that does not fit its shape; `line` is 0 until its place is known."""

    def __init__(self, text: str, path: str = "", place: tuple[int, int] = (0, 0)) -> None:
        super().__init__(text)
        self.text = text
        self.path = path
        self.place = place

    def __str__(self) -> str:
        line, column = self.place
        where = f" at line {line} column {column}" if line else ""
        return f"{self.path}: {self.text}{where}" if self.path else f"{self.text}{where}"


class SyntaxFailed(DataError):
    """Text that is no JSON."""


class Shape:
    """A type of a value."""

    expected = ""

    def read(self, reader: Reader) -> Any:
        """Read a value. Raises DataError."""
        raise NotImplementedError

    def take(self, value: Any) -> Any:
        """Return the value that `read` makes of JSON data. Raises DataError if it does not fit, without a reason."""
        raise NotImplementedError

    def missing(self, name: str) -> Any:
        """Return the value of a field that is not there. Raises DataError."""
        raise DataError(f"missing field `{name}`")


@dataclass(frozen=True, slots=True)
class Anything(Shape):
    """Any JSON value."""

    def read(self, reader: Reader) -> Any:
        return reader.anything()

    def take(self, value: Any) -> Any:
        return value


class Reader:
    """Reads JSON from bytes, as serde_json does: the same order of checks, and the same places in errors."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._index = 0
        self._depth = MAX_DEPTH

    def document(self, shape: Shape) -> Any:
        """Return the value of the whole text. Raises DataError."""
        found = shape.read(self)
        if self._skip() is not None:
            raise self._peeked("trailing characters")
        return found

    # Places

    def _place(self, index: int) -> tuple[int, int]:
        before = self._data[:index]
        return before.count(b"\n") + 1, index - (before.rfind(b"\n") + 1)

    def _error(self, text: str) -> SyntaxFailed:
        return SyntaxFailed(text, place=self._place(self._index))

    def _peeked(self, text: str) -> SyntaxFailed:
        return SyntaxFailed(text, place=self._place(min(len(self._data), self._index + 1)))

    def fixed(self, error: DataError) -> DataError:
        """Return an error with the current place, if it has none."""
        if not error.place[0]:
            error.place = self._place(self._index)
        return error

    def _skip(self) -> int | None:
        """Go to the next character that is no blank, and return it."""
        while self._index < len(self._data) and self._data[self._index] in _SPACE:
            self._index += 1
        return self._data[self._index] if self._index < len(self._data) else None

    def peek(self) -> int:
        """Return the first character of a value. Raises SyntaxFailed at the end."""
        found = self._skip()
        if found is None:
            raise self._peeked("EOF while parsing a value")
        return found

    def unexpected(self, expected: str) -> DataError:
        """Return the error for a value of another type, as far as it can be read."""
        first = self.peek()
        if first in _LITERALS:
            value = self.literal()
            what = "null" if value is None else f"boolean `{str(value).lower()}`"
        elif first in b"-0123456789":
            number = self.number()
            what = f"floating point `{number!r}`" if isinstance(number, float) else f"integer `{number}`"
        elif first == ord('"'):
            what = f"string {_quoted(self.string())}"
        elif first in b"[{":
            what = "sequence" if first == ord("[") else "map"
        else:
            return self._peeked("expected value")
        return self.fixed(DataError(f"invalid type: {what}, expected {expected}"))

    # Values

    def literal(self) -> Any:
        """Read null, true or false."""
        rest, value = _LITERALS[self._data[self._index]]
        self._index += 1
        for wanted in rest:
            if self._index >= len(self._data):
                raise self._error("EOF while parsing a value")
            self._index += 1
            if self._data[self._index - 1] != wanted:
                raise self._error("expected ident")
        return value

    def number(self) -> int | float:
        """Read a number."""
        start = self._index
        if self._data[self._index] == ord("-"):
            self._index += 1
        first = self._at()
        if first is None:
            raise self._error("EOF while parsing a value")
        if first not in _DIGITS:
            self._index += 1
            raise self._error("invalid number")
        self._index += 1
        if first == ord("0"):
            following = self._at()
            if following is not None and following in _DIGITS:
                raise self._peeked("invalid number")
        else:
            self._digits()
        is_float = False
        if self._at() == ord("."):
            self._index += 1
            self._some_digits()
            is_float = True
        if self._at() in (ord("e"), ord("E")):
            self._index += 1
            if self._at() in (ord("+"), ord("-")):
                self._index += 1
            self._some_digits()
            is_float = True
        text = self._data[start : self._index].decode()
        number = int(text) if not is_float and len(text) < 400 else None
        if number is not None and -(2**63) <= number < 2**64:
            return number
        found = float(text)
        if not math.isfinite(found):
            raise self._error("number out of range")
        return found

    def _at(self) -> int | None:
        return self._data[self._index] if self._index < len(self._data) else None

    def _digits(self) -> None:
        while (found := self._at()) is not None and found in _DIGITS:
            self._index += 1

    def _some_digits(self) -> None:
        found = self._at()
        if found is None:
            raise self._peeked("EOF while parsing a value")
        if found not in _DIGITS:
            raise self._peeked("invalid number")
        self._digits()

    def string(self) -> str:
        """Read a string."""
        self._index += 1
        parts = bytearray()
        while True:
            found = self._at()
            if found is None:
                raise self._error("EOF while parsing a string")
            self._index += 1
            if found == ord('"'):
                break
            if found == ord("\\"):
                parts += self._escape().encode("utf-8", "surrogatepass")
            elif found < 0x20:
                raise self._error("control character (\\u0000-\\u001F) found while parsing a string")
            else:
                parts.append(found)
        try:
            return parts.decode()
        except UnicodeDecodeError:
            raise self._error("invalid unicode code point") from None

    def _escape(self) -> str:
        found = self._at()
        if found is None:
            raise self._error("EOF while parsing a string")
        self._index += 1
        if found in _ESCAPES:
            return _ESCAPES[found]
        if found != ord("u"):
            raise self._error("invalid escape")
        first = self._hex()
        if 0xDC00 <= first <= 0xDFFF:
            raise self._error("lone leading surrogate in hex escape")
        if not 0xD800 <= first <= 0xDBFF:
            return chr(first)
        for wanted in b"\\u":
            if self._at() is None:
                raise self._error("EOF while parsing a string")
            self._index += 1
            if self._data[self._index - 1] != wanted:
                raise self._error("unexpected end of hex escape")
        second = self._hex()
        if not 0xDC00 <= second <= 0xDFFF:
            raise self._error("lone leading surrogate in hex escape")
        return chr(0x10000 + ((first - 0xD800) << 10) + (second - 0xDC00))

    def _hex(self) -> int:
        digits = self._data[self._index : self._index + 4]
        if len(digits) < 4:
            self._index = len(self._data)
            raise self._error("EOF while parsing a string")
        self._index += 4
        try:
            return int(digits, 16) if digits.isalnum() else int("x", 16)
        except ValueError:
            raise self._error("invalid escape") from None

    def anything(self) -> Any:
        """Read a value of any type."""
        first = self.peek()
        if first in _LITERALS:
            return self.literal()
        if first in b"-0123456789":
            return self.number()
        if first == ord('"'):
            return self.string()
        if first == ord("["):
            return self.sequence(lambda number: Anything())[0]
        if first == ord("{"):
            return self.mapping(lambda key: Anything())
        raise self._peeked("expected value")

    # Lists and maps. After an error in them their end is read, too, which can move the place of the error.

    def sequence(
        self,
        shape: Callable[[int], Shape],
        complete: Callable[[list[Any]], list[Any]] = lambda values: values,
        most: int | None = None,
    ) -> tuple[list[Any], None]:
        """Read a list."""
        self._enter()
        values: list[Any] = []
        try:
            while (most is None or len(values) < most) and self._has_element(not values):
                values.append(self._inner(shape(len(values)), f"[{len(values)}]"))
            values = complete(values)
        except DataError as error:
            self._leave(self._end_of_sequence, error)
        self._depth += 1
        self._end_of_sequence()
        return values, None

    def refused_within(self, error: DataError) -> NoReturn:
        """Raise an error that comes up once a list or a map has begun."""
        end = self._end_of_mapping if self.peek() == ord("{") else self._end_of_sequence
        self._enter()
        self._leave(end, error)

    def _has_element(self, first: bool) -> bool:
        found = self._skip()
        if found == ord("]"):
            return False
        if found is None:
            raise self._peeked("EOF while parsing a list")
        if first:
            return True
        if found != ord(","):
            raise self._peeked("expected `,` or `]`")
        self._index += 1
        if self._skip() == ord("]"):
            raise self._peeked("trailing comma")
        return True

    def _end_of_sequence(self) -> None:
        found = self._skip()
        if found == ord("]"):
            self._index += 1
            return
        if found is None:
            raise self._peeked("EOF while parsing a list")
        if found == ord(","):
            self._index += 1
            raise self._peeked("trailing comma" if self._skip() == ord("]") else "trailing characters")
        raise self._peeked("trailing characters")

    def mapping(
        self,
        shape: Callable[[str], Shape],
        complete: Callable[[dict[str, Any]], dict[str, Any]] = lambda values: values,
    ) -> dict[str, Any]:
        """Read a map."""
        self._enter()
        values: dict[str, Any] = {}
        first = True
        try:
            while self._has_member(first):
                first = False
                key = self.string()
                inner = shape(key)
                self._colon()
                values[key] = self._inner(inner, key)
            values = complete(values)
        except DataError as error:
            self._leave(self._end_of_mapping, error)
        self._depth += 1
        self._end_of_mapping()
        return values

    def _has_member(self, first: bool) -> bool:
        found = self._skip()
        if found == ord("}"):
            return False
        if found is None:
            raise self._peeked("EOF while parsing an object")
        if not first:
            if found != ord(","):
                raise self._peeked("expected `,` or `}`")
            self._index += 1
            found = self._skip()
        if found == ord('"'):
            return True
        if found is None:
            raise self._peeked("EOF while parsing a value")
        raise self._peeked("trailing comma" if found == ord("}") else "key must be a string")

    def _colon(self) -> None:
        found = self._skip()
        if found is None:
            raise self._peeked("EOF while parsing an object")
        if found != ord(":"):
            raise self._peeked("expected `:`")
        self._index += 1

    def _end_of_mapping(self) -> None:
        found = self._skip()
        if found == ord("}"):
            self._index += 1
            return
        if found is None:
            raise self._peeked("EOF while parsing an object")
        raise self._peeked("trailing comma" if found == ord(",") else "trailing characters")

    def _enter(self) -> None:
        self._depth -= 1
        if not self._depth:
            raise self._peeked("recursion limit exceeded")
        self._index += 1

    def _inner(self, shape: Shape, place: str) -> Any:
        """Read a value within another one; an error in it names the place."""
        try:
            return shape.read(self)
        except DataError as error:
            between = "." if error.path and not error.path.startswith("[") else ""
            error.path = f"{place}{between}{error.path}"
            raise

    def _leave(self, end: Callable[[], None], error: DataError) -> NoReturn:
        """Read the end after an error, as far as it is there, and raise the error."""
        self._depth += 1
        if not error.place[0]:
            with contextlib.suppress(DataError):
                end()
            self.fixed(error)
        raise error


def _quoted(text: str) -> str:
    """Return a text as Rust's `{:?}` shows it."""
    return '"' + "".join(_SHOWN.get(c) or (c if c.isprintable() else f"\\u{{{ord(c):x}}}") for c in text) + '"'
