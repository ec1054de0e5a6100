"""What the attack tests share: the tally of a class, whose line stands in the table at the end of the run."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tests.attack.table import PROPERTY, Tally


@pytest.fixture
def tally(record_property: Any) -> Callable[[str], Tally]:
    """Begins the line of a class; it is complete when the tally is closed."""

    def begin(group: str) -> Tally:
        return Tally(group, lambda line: record_property(PROPERTY, line))

    return begin
