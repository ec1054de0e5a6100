"""What a running gateway says about itself to `noetl-edge reload`: a small file in a folder of its user.

It holds the process id, the configuration in use and the verdict on the last reload. A gateway that can't write the
file runs without it.
"""

from __future__ import annotations

import contextlib
import hashlib
import json
import os
import stat
import tempfile
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

_MAX_SIZE = 1024 * 1024
_MAX_PROBLEMS = 1000


@dataclass(frozen=True, slots=True)
class GatewayState:
    """The state of a running gateway.

    Args:
        pid: the process to signal.
        fingerprint: the hash of the configuration in use.
        reloads: how many reloads there were.
        problems: why the last reload was refused; empty if it was not.
    """

    pid: int
    fingerprint: str
    reloads: int
    problems: tuple[str, ...]


def _path(config: Path) -> Path:
    """Return the file for a configuration. Raises OSError: there is no folder for temporary files."""
    folder = Path(os.environ.get("XDG_RUNTIME_DIR") or tempfile.gettempdir()) / f"noetl-edge-{os.getuid()}"
    return folder / f"{hashlib.sha256(os.fsencode(config.resolve())).hexdigest()[:16]}.json"


def _is_ours(folder: Path) -> bool:
    facts = folder.lstat()
    return stat.S_ISDIR(facts.st_mode) and facts.st_uid == os.getuid() and not facts.st_mode & 0o022


def read_state(config: Path) -> GatewayState | None:
    """Return the state of the gateway that runs with a configuration file as this user; None if there is none."""
    try:
        path = _path(config)
        if not _is_ours(path.parent):
            return None
        with path.open("rb") as file:
            found = json.loads(file.read(_MAX_SIZE))
        state = GatewayState(**{**found, "problems": tuple(found["problems"])})
        os.kill(state.pid, 0)
    except (OSError, ValueError, TypeError, KeyError):
        return None
    return state


class StateFile:
    """Writes the state of this process, which is the one that gets the signals."""

    def __init__(self, config: Path) -> None:
        self._config = config
        self._reloads = -1

    def write(self, fingerprint: str, problems: Sequence[str] = ()) -> None:
        """Write the state: at the start, and after each reload. Errors are ignored."""
        self._reloads += 1
        state = GatewayState(os.getpid(), fingerprint, self._reloads, tuple(problems[:_MAX_PROBLEMS]))
        with contextlib.suppress(OSError):
            path = _path(self._config)
            path.parent.mkdir(mode=0o700, exist_ok=True)
            if _is_ours(path.parent):
                fresh = path.with_suffix(f".{os.getpid()}")
                fresh.write_text(json.dumps(asdict(state)), encoding="utf-8")
                fresh.replace(path)

    def close(self) -> None:
        """Remove the file: the gateway ends."""
        with contextlib.suppress(OSError):
            _path(self._config).unlink(missing_ok=True)
