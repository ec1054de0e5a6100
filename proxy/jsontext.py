"""JSON as bytes: read and written."""

from __future__ import annotations

import json
from typing import Any

from pydantic_core import from_json, to_json

_ENCODER = json.JSONEncoder(separators=(",", ":"), ensure_ascii=False, check_circular=False, allow_nan=False)


def json_text(data: bytes) -> str:
    """The text, as `json.loads` reads it (RFC 8259, 8.1, and what older standards allowed). Raises ValueError."""
    if len(data) > 3 and data.isascii() and data[0] and data[1]:
        return data.decode("ascii")
    return data.decode(json.detect_encoding(data), "surrogatepass")


def read_json(data: bytes) -> Any:
    """The value that JSON has, as `json.loads` reads it; most of it much faster. Raises ValueError or RecursionError.

    What the fast parser refuses (depth over 200, NaN, halves of surrogate pairs, UTF-16) is read by the other one, so
    that nothing is refused that was not.
    """
    try:
        return from_json(data, allow_inf_nan=False, cache_strings="keys")
    except ValueError:
        return json.loads(json_text(data))


def write_json(document: Any) -> bytes:
    """JSON without spaces, in UTF-8. Raises ValueError or TypeError for what JSON can't say, such as NaN."""
    try:
        data = to_json(document)
    except (ValueError, TypeError):
        return _strict(document)
    return _strict(document) if b"NaN" in data or b"Infinity" in data else data


def _strict(document: Any) -> bytes:
    return _ENCODER.encode(document).encode()
