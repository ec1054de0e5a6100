"""What the kernel has counted for a core: who had it, and how much of it nobody wanted."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_TICKS = os.sysconf("SC_CLK_TCK")


@dataclass(frozen=True, slots=True)
class CoreTimes:
    """Seconds since boot that a core was idle, was taken by the hypervisor, and both with all else."""

    idle: float
    stolen: float
    total: float

    def shares_since(self, before: CoreTimes) -> tuple[float, float]:
        """The parts of the time since `before` that it was idle and stolen."""
        total = max(self.total - before.total, 1e-9)
        return (self.idle - before.idle) / total, (self.stolen - before.stolen) / total


def core_times(core: int) -> CoreTimes:
    """The counts of one core (proc(5), /proc/stat). Raises OSError if there is no such core."""
    for line in Path("/proc/stat").read_text().splitlines():
        name, *fields = line.split()
        if name == f"cpu{core}":
            ticks = [int(text) / _TICKS for text in fields[:8]]
            return CoreTimes(ticks[3] + ticks[4], ticks[7], sum(ticks))
    raise OSError(f"/proc/stat has no cpu{core}")


def own_core() -> int:
    """The first core that this process may use."""
    return min(os.sched_getaffinity(0))
