"""Where a measurement was made: the processor, the kernel, and the versions of everything that took part."""

from __future__ import annotations

import os
import platform
import re
import subprocess
import sysconfig
from collections.abc import Mapping
from importlib.metadata import version
from pathlib import Path

from bench.programs import ROOT

_PACKAGES = ("noetl-edge", "aiohttp", "httptools", "uvloop", "graphql-core", "lmdb")


def machine() -> dict[str, str]:
    """Return what the numbers depend on, without the machine's name."""
    model = re.search(r"^model name\s*:\s*(.+)$", Path("/proc/cpuinfo").read_text(), re.MULTILINE)
    return {
        "processor": model[1] if model else platform.machine(),
        "cores": str(len(os.sched_getaffinity(0))),
        "kernel": platform.release(),
        "load before": f"{os.getloadavg()[0]:.2f}",
    }


def versions(programs: Mapping[str, str]) -> dict[str, str]:
    """Return versions by name, also of `programs` (name to path); the commit ends in `+` where files differ from it."""
    commit = first_line("git", "rev-parse", "--short", "HEAD")
    changed = first_line("git", "status", "--porcelain", "--untracked-files=no")
    # Builds without optimisations are a fifth slower or more.
    optimized = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    python = f"{platform.python_version()}{'' if optimized else ' (built without --enable-optimizations)'}"
    found = {"commit": f"{commit}{'+' if changed else ''}", "python": python}
    for name, path in programs.items():
        number = re.search(r"[0-9]+\.[0-9.]+", first_line(path, "--version" if name == "node" else "-v"))
        found[name] = number[0] if number else "unknown"
    return {**found, **{name: version(name) for name in _PACKAGES}}


def first_line(*command: str) -> str:
    """Return the first line that a command prints; empty if there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    except FileNotFoundError:
        return ""
    return next(iter((done.stdout + done.stderr).splitlines()), "").strip()
