"""The numbers of this process itself, by the names that Prometheus' own client libraries use."""

from __future__ import annotations

import asyncio
import os
import resource
import time
from pathlib import Path

from proxy.observe.metrics import Collected, add

_SELF = Path("/proc/self")
_TICKS = os.sysconf("SC_CLK_TCK")
_PAGE = os.sysconf("SC_PAGE_SIZE")


def measure_process(out: Collected) -> None:
    """Add processor time, memory, tasks, open files and start time; without `/proc`, only what the system reports."""
    used = resource.getrusage(resource.RUSAGE_SELF)
    add(out, "process_cpu_seconds", (), used.ru_utime + used.ru_stime)
    add(out, "process_max_fds", (), float(resource.getrlimit(resource.RLIMIT_NOFILE)[0]))
    add(out, "noetl_gateway_tasks", (), _tasks())
    try:
        add(out, "process_open_fds", (), float(len(os.listdir(_SELF / "fd"))))
        add(out, "process_resident_memory_bytes", (), float(_read("statm").split()[1]) * _PAGE)
        fields = _read("stat").rpartition(")")[2].split()
        add(out, "process_start_time_seconds", (), _boot_time() + int(fields[19]) / _TICKS)
    except (OSError, ValueError, IndexError):
        return


def _tasks() -> int:
    try:
        return len(asyncio.all_tasks())
    except RuntimeError:  # the supervisor has no event loop
        return 0


def _read(name: str) -> str:
    return (_SELF / name).read_text(encoding="ascii", errors="replace")


def _boot_time() -> float:
    return time.time() - time.clock_gettime(time.CLOCK_BOOTTIME)
