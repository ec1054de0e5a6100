"""Which files a glob of the configuration stands for."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path


def matching_files(folder: Path, patterns: Iterable[str]) -> list[Path]:
    """Return the files below a folder that match any pattern, each file once, in order of pattern and name.

    A file that several names lead to counts once, under the first one. Names that begin with `..` are left out:
    a ConfigMap of Kubernetes is a folder of links into such folders, which hold the same files. A pattern that is not a
    relative glob matches nothing, which `load` reports with its place.
    """
    found: dict[Path, Path] = {}
    for pattern in patterns:
        try:
            names = sorted(path for path in folder.glob(pattern) if not path.is_dir())
        except (ValueError, NotImplementedError):
            continue
        for path in names:
            if not any(part.startswith("..") for part in path.relative_to(folder).parts):
                found.setdefault(path.resolve(), path)
    return list(found.values())
