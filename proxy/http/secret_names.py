"""The rule for which names stand for a secret: of variables, headers and query parameters. Pure."""

from __future__ import annotations

import re

_SECRET_NAME = re.compile(r"auth|cookie|token|secret|passw|key|credential|signature", re.IGNORECASE)
_SECRET_PARAMETER = re.compile(rf"{_SECRET_NAME.pattern}|\A(?:ticket|code)\Z", re.IGNORECASE)
_MAY_HOLD_SECRET = re.compile(rf"%|\+|{_SECRET_NAME.pattern}|ticket|code", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Return True if a variable or a header of this name may hold a secret."""
    return _SECRET_NAME.search(name) is not None


def is_secret_parameter(name: str) -> bool:
    """Return True if a query parameter of this name, decoded, may hold a secret."""
    return _SECRET_PARAMETER.search(name.strip()) is not None


def may_hold_secret(query: str) -> bool:
    """Return False if no parameter of a query can be secret, by a quick look."""
    return _MAY_HOLD_SECRET.search(query) is not None
