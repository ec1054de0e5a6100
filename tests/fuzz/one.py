"""One target in this process: run files through it, or fuzz it by atheris (`tests.fuzz.run` starts this).

`python -m tests.fuzz.one TARGET FILE...` reproduces a finding. Anything but a file is an option of libFuzzer's.
"""

from __future__ import annotations

import faulthandler
import os
import sys
import traceback
from collections.abc import Sequence
from pathlib import Path

from tests.fuzz.registry import NAMES, Target, load, name_of

_INSTRUMENTED = ["proxy", "graphql.language", "graphql.execution.values", "jwt", "yaml"]

_HANG = 10.0
BROKEN = "=== a promise is broken ==="
BROKE = 77


def main(arguments: Sequence[str]) -> int:
    """Exit code 1 if a file breaks a promise; atheris ends the process itself."""
    name, *rest = arguments
    if name not in NAMES:
        print(f"no target is called {name}: {', '.join(NAMES)}", file=sys.stderr)
        return 2
    if rest and all(Path(path).is_file() for path in rest):
        return _replay(load(name), rest)
    return _fuzz(name, rest)


def _replay(target: Target, files: Sequence[str]) -> int:
    for path in files:
        faulthandler.dump_traceback_later(_HANG, exit=True, file=2)
        try:
            target.run(Path(path).read_bytes())
        finally:
            faulthandler.cancel_dump_traceback_later()
        print(f"{path}: as it must be")
    return 0


def _fuzz(name: str, options: Sequence[str]) -> int:
    import atheris

    with atheris.instrument_imports(include=_INSTRUMENTED):
        target = load(name)
    found = next((Path(text.partition("=")[2]) for text in options if text.startswith("-artifact_prefix=")), Path())
    atheris.Setup([sys.argv[0], *options], lambda data: _guarded(target, data, found))
    atheris.Fuzz()
    return 0


def _guarded(target: Target, data: bytes, found: Path) -> None:
    """Run an input; what breaks a promise is written down at once, as libFuzzer does so only if its end is in order."""
    try:
        target.run(data)
    except Exception:
        (found / f"crash-{name_of(data)}").write_bytes(data)
        print(f"\n{BROKEN}\n{traceback.format_exc()}", flush=True)
        os._exit(BROKE)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
