"""Notices that files have changed by looking at them now and then, which works on every file system."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from proxy.config.load import Loaded
from proxy.graphql.trusted import trusted_files

State = dict[Path, tuple[int, int, int]]


def files_of(loaded: Loaded) -> tuple[Path, ...]:
    """The file of a configuration, those that its `include` names now, and its trusted documents."""
    folder = loaded.file.parent
    included = (path for pattern in loaded.gateway.include for path in folder.glob(pattern))
    trusted = loaded.gateway.graphql.trusted_documents
    documents = trusted_files(folder / trusted) if trusted is not None else ()
    return (loaded.file, *sorted(included), *documents)


def state_of(files: Iterable[Path]) -> State:
    """What tells whether files changed; a file that is not there is left out."""
    found: State = {}
    for file in files:
        try:
            facts = file.stat()
        except OSError:
            continue
        found[file] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    return found


class Changes:
    """Whether the files of the configuration in force have changed since the last look, and have settled."""

    def __init__(self, loaded: Loaded) -> None:
        self._seen = self._before = state_of(files_of(loaded))

    def seen(self, loaded: Loaded) -> bool:
        """True once for each change, at the second look that finds the files the same."""
        now = state_of(files_of(loaded))
        settled, self._before = now == self._before, now
        if not settled or now == self._seen:
            return False
        self._seen = now
        return True
