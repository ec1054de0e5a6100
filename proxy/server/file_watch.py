"""Detection of changed files by polling, which works on every file system."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path

from proxy.config.files import matching_files
from proxy.config.load import Loaded
from proxy.graphql.trusted import trusted_files

State = dict[Path, tuple[int, int, int]]


def files_of(loaded: Loaded) -> tuple[Path, ...]:
    """Return the file of a configuration, and all files that a reload would read, but for the server's certificate."""
    folder, gateway = loaded.file.parent, loaded.gateway
    trusted = gateway.graphql.trusted_documents
    documents = trusted_files(folder / trusted) if trusted is not None else ()
    authorities = (folder / up.tls.ca for up in gateway.upstreams.values() if up.tls is not None and up.tls.ca)
    values = sorted(loaded.document.files)
    return (loaded.file, *matching_files(folder, gateway.include), *documents, *authorities, *values)


def state_of(files: Iterable[Path]) -> State:
    """Return modification time, size and inode of each file; missing files are omitted."""
    found: State = {}
    for file in files:
        try:
            facts = file.stat()
        except OSError:
            continue
        found[file] = (facts.st_mtime_ns, facts.st_size, facts.st_ino)
    return found


class Changes:
    """The detection of changes to the files of the configuration in use."""

    def __init__(self, loaded: Loaded) -> None:
        self._reported = self._before = state_of(files_of(loaded))

    def detected(self, loaded: Loaded) -> bool:
        """Return True once per change, when two polls in a row find the same state of the files."""
        now = state_of(files_of(loaded))
        stable, self._before = now == self._before, now
        if not stable or now == self._reported:
            return False
        self._reported = now
        return True
