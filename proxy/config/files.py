"""Which files a glob of the configuration stands for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

_NO_FOLDER = Path("/dev/null")


def is_pattern(text: str) -> bool:
    """Return whether a text is a relative glob that `Path.glob` accepts."""
    try:
        next(_NO_FOLDER.glob(text), None)  # the text is looked at when the first name is wanted
    except (ValueError, NotImplementedError):  # pathlib's words for an absolute or malformed one
        return False
    return True


def matching_files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files below a folder that match any pattern, each file once, in order of pattern and name.

    A file that several names lead to counts once, under the first one. Names that begin with `..` are left out:
    a ConfigMap of Kubernetes is a folder of links into such folders, which hold the same files. A pattern that is not a
    relative glob (see `is_pattern`) matches nothing, which `load` reports with its place and the remedy.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        if not is_pattern(pattern):
            continue
        for path in sorted(path for path in folder.glob(pattern) if not path.is_dir()):
            if not any(part.startswith("..") for part in path.relative_to(folder).parts):
                found.setdefault(path.resolve(), path)
    return list(found.values())
