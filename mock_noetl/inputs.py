"""Typed fields of request bodies and query strings; an invalid field is an ApiError 422."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from mock_noetl.errors import ApiError, Problem
from mock_noetl.values import plain

Fields = Mapping[str, Any]


def invalid(kind: str, loc: tuple[str | int, ...], msg: str) -> ApiError:
    """Return the 422 error for an invalid field."""
    return ApiError(422, msg, Problem(kind, loc, msg))


def body_fields(raw: bytes, optional: bool = False) -> Fields:
    """Return the JSON object of a body; an optional body that is absent is an empty object."""
    if not raw.strip():
        if optional:
            return {}
        raise invalid("missing", ("body",), "Field required")
    try:
        value = plain(json.loads(raw, parse_constant=_no_constant))
    except json.JSONDecodeError as error:
        raise invalid("json_invalid", ("body", error.pos), "JSON decode error") from None
    except (ValueError, RecursionError):
        raise invalid("json_invalid", ("body", 0), "JSON decode error") from None
    if not isinstance(value, dict):
        raise invalid("dict_type", ("body",), "Input should be a valid dictionary")
    return value


def text(fields: Fields, name: str) -> str | None:
    """Return a text field; None if it is absent or null."""
    value = fields.get(name)
    if value is not None and not isinstance(value, str):
        raise invalid("string_type", ("body", name), "Input should be a valid string")
    return value


def required_text(fields: Fields, name: str) -> str:
    value = text(fields, name)
    if value is None:
        raise invalid("missing", ("body", name), "Field required")
    return value


def integer(fields: Fields, name: str, texts: bool = True) -> int | None:
    """Return an integer field; with `texts`, a text of digits is accepted too."""
    value = fields.get(name)
    if value is None:
        return None
    if isinstance(value, str) and texts and is_id(value):
        return int(value)
    if isinstance(value, bool) or not isinstance(value, int):
        raise invalid("int_type", ("body", name), "Input should be a valid integer")
    return value


def boolean(fields: Fields, name: str) -> bool:
    value = fields.get(name)
    if value is not None and not isinstance(value, bool):
        raise invalid("bool_type", ("body", name), "Input should be a valid boolean")
    return bool(value)


def mapping(fields: Fields, name: str) -> Fields | None:
    value = fields.get(name)
    if value is not None and not isinstance(value, dict):
        raise invalid("dict_type", ("body", name), "Input should be a valid dictionary")
    return value


def query_integer(query: Mapping[str, str], name: str, default: int, least: int, most: int) -> int:
    """Return an integer of the query string, between `least` and `most`."""
    value = query.get(name)
    if value is None:
        return default
    if not is_id(value):
        raise invalid("int_parsing", ("query", name), "Input should be a valid integer")
    number = int(value)
    if number < least:
        raise invalid("greater_than_equal", ("query", name), f"Input should be greater than or equal to {least}")
    if number > most:
        raise invalid("less_than_equal", ("query", name), f"Input should be less than or equal to {most}")
    return number


def query_boolean(query: Mapping[str, str], name: str, default: bool) -> bool:
    value = query.get(name, "true" if default else "false").lower()
    if value not in ("true", "false", "1", "0"):
        raise invalid("bool_parsing", ("query", name), "Input should be a valid boolean")
    return value in ("true", "1")


def is_id(value: str) -> bool:
    """Return True if a text is a decimal number of 64 bits."""
    return value.isascii() and value.isdigit() and len(value) <= 19


def _no_constant(word: str) -> Any:
    raise ValueError(f"{word} is not JSON")
