"""The rule for which names of variables and headers stand for a secret."""

from __future__ import annotations

import re

_SECRET_NAME = re.compile(r"auth|cookie|token|secret|passw|key|credential|signature", re.IGNORECASE)


def is_secret_name(name: str) -> bool:
    """Return True if a variable or a header of this name may hold a secret."""
    return _SECRET_NAME.search(name) is not None
