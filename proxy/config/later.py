"""A mark for settings that are not available yet. Using one is a configuration error."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Later:
    """Metadata of a field that is not available yet: `what` names the feature; values in `inert` are accepted."""

    what: str
    inert: tuple[Any, ...] = ()

    def accepts(self, value: Any) -> bool:
        """Return True if the value does not need the missing feature."""
        return any(type(value) is type(quiet) and value == quiet for quiet in self.inert)
