"""Where a measurement was made: processor, memory, kernel, and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
from collections.abc import Mapping
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from bench.programs import ROOT

_PACKAGES = ("noetl-edge", "aiohttp", "httptools", "uvloop", "graphql-core", "lmdb", "structlog", "hdrhistogram")


def machine() -> dict[str, str | int]:
    """What the numbers depend on, without the machine's name."""
    info = Path("/proc/cpuinfo").read_text()
    model = re.search(r"^model name\s*:\s*(.+)$", info, re.MULTILINE)
    return {
        "processor": model.group(1) if model else platform.machine(),
        "cores": len(os.sched_getaffinity(0)),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "kernel": platform.release(),
        "load_before": f"{os.getloadavg()[0]:.2f}",
    }


def versions(programs: Mapping[str, str]) -> dict[str, str]:
    """Versions by name, also of `programs` (name to path); the commit ends in `+` where files differ from it."""
    found = {"commit": _commit(), "python": f"{platform.python_version()} ({platform.python_compiler()})"}
    for name, path in programs.items():
        number = re.search(r"[0-9]+\.[0-9]+[0-9.]*", said(path, "--version" if name == "node" else "-v"))
        found[name] = number[0] if number else "unknown"
    for name in _PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found


def said(*command: str) -> str:
    """The first line that a command prints."""
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    lines = (done.stdout + done.stderr).splitlines()
    return lines[0].strip() if lines else ""


def _commit() -> str:
    try:
        commit = said("git", "rev-parse", "--short", "HEAD")
        changed = said("git", "status", "--porcelain", "--untracked-files=no")
    except FileNotFoundError:
        return "unknown"
    return f"{commit}{'+' if changed else ''}" if re.fullmatch("[0-9a-f]{7,40}", commit) else "unknown"
