"""Which `overrides` of rules a program understands, so that wrong ones are refused when a rule is added."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from pydantic import BaseModel, ValidationError

from .matching import Glob, Match
from .mistakes import PlacedError, mistakes

PLACE = "overrides"


@dataclass(frozen=True, slots=True)
class Overrides:
    """What a program understands.

    Args:
        program: the name of the program.
        model: the model of its overrides; None: it has none.
        path: the path whose responses they change.
    """

    program: str
    model: type[BaseModel] | None = None
    path: str = ""

    def check(self, given: Mapping[str, Any], match: Match) -> None:
        """Raise PlacedError for overrides that the program does not understand, or never uses."""
        if not given:
            return
        if self.model is None:
            raise PlacedError((PLACE,), f"{self.program} has none; response and merge change what it responds")
        try:
            self.model.model_validate(dict(given))
        except ValidationError as error:
            first = mistakes(error, self.model)[0]
            raise PlacedError((PLACE, *first.location), first.problem) from None
        if not Glob(match.path).fullmatch(self.path):
            raise PlacedError(("match", "path"), f"{self.program} has overrides for {self.path} only")
