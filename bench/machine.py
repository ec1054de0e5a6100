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
    """Return versions by name, also of `programs` (name to path); the commit ends in `-dirty` where files differ."""
    # Builds without optimisations are a fifth slower or more.
    optimized = "--enable-optimizations" in str(sysconfig.get_config_var("CONFIG_ARGS"))
    python = f"{platform.python_version()}{'' if optimized else ' (built without --enable-optimizations)'}"
    found = {"commit": printed("git", "describe", "--always", "--dirty").strip(), "python": python}
    for name, path in programs.items():
        number = re.search(r"[0-9]+\.[0-9.]+", printed(path, "-v"))
        found[name] = number[0] if number else "unknown"
    return {**found, **{name: version(name) for name in _PACKAGES}}


def printed(*command: str) -> str:
    """Return what a command prints; empty if there is no such command."""
    try:
        done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT, check=False)
    except FileNotFoundError:
        return ""
    return done.stdout + done.stderr
