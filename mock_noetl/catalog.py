"""The catalog: all versions of all resources, in memory and bounded."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from mock_noetl.errors import FullError, PlaybookError
from mock_noetl.playbook import Program, compile_program, load
from mock_noetl.values import IdSource
from mock_server.clock import Clock

SHIPPED = Path(__file__).with_name("playbooks")
KINDS = frozenset({"playbook", "agent", "mcp", "memory", "credential", "subscription"})
MAX_ENTRIES = 20_000
MAX_BYTES = 200_000_000


@dataclass(slots=True, eq=False)
class Entry:
    """One version of a resource.

    Args:
        catalog_id: the id of the version.
        path: the path of the resource.
        version: the number of the version.
        kind: the kind, in lower case.
        content: the YAML text.
        document: the parsed YAML.
        created: the time of the registration.
        program: the workflow, if the resource has one.
        takes_long: whether an execution has taken long to compute.
    """

    catalog_id: int
    path: str
    version: int
    kind: str
    content: str
    document: dict[str, Any]
    created: float
    program: Program | None = None
    takes_long: bool = False
    blobs: dict[bytes, bytes] = field(default_factory=dict)
    """What ended executions have returned, so that equal results are kept once."""

    @property
    def metadata(self) -> dict[str, Any]:
        """The metadata of the resource."""
        found = self.document.get("metadata")
        return found if isinstance(found, dict) else {}


def files_of(folder: Path) -> list[Path]:
    """Return the YAML files of a folder and the folders in it. Raises PlaybookError if there is no such folder."""
    if folder.is_file():
        raise PlaybookError(f"{folder}: this is a file; a folder is expected")
    if not folder.is_dir():
        raise PlaybookError(f"{folder}: no such folder")
    return sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")])


class Catalog:
    """The resources by path and version, and by catalog id."""

    def __init__(self, ids: IdSource, clock: Clock | None = None) -> None:
        self._ids = ids
        self._clock = clock or Clock()
        self._bytes = 0
        self.by_id: dict[int, Entry] = {}
        self._by_path: dict[str, list[Entry]] = {}

    def load_folder(self, folder: Path) -> None:
        """Register every YAML file of a folder. Raises PlaybookError for the first invalid file."""
        for file in files_of(folder):
            try:
                content = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise PlaybookError(f"{file}: cannot be read: {error}") from None
            try:
                document = load(content)
                metadata = document.get("metadata") or {}
                path = str(metadata.get("path") or metadata.get("name") or "")
                if not path:
                    raise PlaybookError("metadata.path is expected")
                if not document.get("workflow"):
                    raise PlaybookError("workflow: a list of steps is expected")
                self.add(path, str(document.get("kind", "Playbook")).lower(), content, document)
            except PlaybookError as error:
                raise PlaybookError(f"{file}: {error}") from None

    def add(self, path: str, kind: str, content: str, document: dict[str, Any]) -> Entry:
        """Add a resource as the next version of its path. Raises PlaybookError or FullError."""
        if len(self.by_id) >= MAX_ENTRIES or self._bytes + len(content) > MAX_BYTES:
            raise FullError("The catalog is full")
        program = compile_program(document) if document.get("workflow") else None
        versions = self._by_path.setdefault(path, [])
        number = len(versions) + 1
        entry = Entry(self._ids.next(), path, number, kind, content, document, self._clock.now(), program)
        versions.append(entry)
        self.by_id[entry.catalog_id] = entry
        self._bytes += len(content)
        return entry

    def find(self, path: str, version: int | None = None) -> Entry | None:
        """Return a version of a resource; the latest one for None."""
        versions = self._by_path.get(path, [])
        if version is None:
            return versions[-1] if versions else None
        return versions[version - 1] if 0 < version <= len(versions) else None

    def versions(self, path: str) -> list[Entry]:
        """Return all versions of a path, oldest first."""
        return list(self._by_path.get(path, ()))

    def newest_first(self) -> Iterator[Entry]:
        """Yield all versions of all resources, newest first."""
        return reversed(self.by_id.values())

    def paths(self) -> list[str]:
        """Return the paths in their order."""
        return sorted(self._by_path)
