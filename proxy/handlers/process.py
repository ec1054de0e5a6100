"""What belongs to this process and outlives a configuration: its numbers, and whether it is about to end."""

from __future__ import annotations

from dataclasses import dataclass, field

from proxy.handlers.metrics import Measures
from proxy.handlers.streams import Drain


@dataclass(frozen=True, slots=True)
class Process:
    """Handed from each configuration's gateway to the next one's."""

    drain: Drain = field(default_factory=Drain)
    measures: Measures = field(default_factory=Measures)
