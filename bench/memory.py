"""How much memory a program holds, and the most it has held (proc(5), /proc/pid/status)."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from bench.programs import BenchError


def resident(pids: Sequence[int]) -> int:
    """Bytes in memory now."""
    return sum(_status(pid, "VmRSS") for pid in pids)


def peak(pids: Sequence[int]) -> int:
    """The most bytes in memory since `forget_peak`."""
    return sum(_status(pid, "VmHWM") for pid in pids)


def forget_peak(pids: Sequence[int]) -> None:
    """Let the peak begin anew. Raises BenchError where the kernel does not allow it."""
    for pid in pids:
        try:
            Path(f"/proc/{pid}/clear_refs").write_text("5")
        except OSError as error:
            raise BenchError(f"the peak of a program's memory can't be reset: {error.strerror}") from None


def _status(pid: int, name: str) -> int:
    found = re.search(rf"^{name}:\s+([0-9]+) kB$", Path(f"/proc/{pid}/status").read_text(), re.MULTILINE)
    if found is None:
        raise BenchError(f"the memory of process {pid} can't be read")
    return int(found[1]) * 1024
