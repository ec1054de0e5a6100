"""Marks the settings whose machinery is not built yet: using one is an error that says so, never silence."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Later:
    """Metadata of a field. Any value but those in `inert` is refused; `what` names the missing machinery."""

    what: str
    inert: tuple[Any, ...] = ()

    def accepts(self, value: Any) -> bool:
        """Whether the value asks for nothing that is missing."""
        return any(type(value) is type(quiet) and value == quiet for quiet in self.inert)
