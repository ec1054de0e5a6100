"""The queries of bridged requests: their parameters, read leniently. Pure."""

from __future__ import annotations

import math
from collections.abc import Mapping
from urllib.parse import parse_qsl, urlencode

_MOST = 2**63 - 1
_EXACT = 2**53


def parameters(query: str) -> dict[str, str]:
    """Return the parameters of a query, which begins with a question mark or is empty; of equal names, the last."""
    return dict(parse_qsl(query.removeprefix("?"), keep_blank_values=True))


def query_of(values: Mapping[str, str]) -> str:
    """Return the query with these parameters."""
    return f"?{urlencode(values)}" if values else ""


def whole_number(values: Mapping[str, str], name: str, otherwise: int) -> int:
    """Return the value of a parameter that is a whole number from 0; `otherwise` if it is none, or missing."""
    text = values.get(name, "")
    return min(int(text), _MOST) if text.isascii() and text.isdecimal() and len(text) <= 20 else otherwise


def least_id(number: int) -> int:
    """Return the least id that a number may stand for: JavaScript has rounded it, if it is a double over 2**53."""
    if number <= _EXACT or int(float(number)) != number:
        return number
    return number - int(math.ulp(float(number))) // 2
