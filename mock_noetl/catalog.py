"""The catalog: all versions of all playbooks, in memory and bounded."""

from __future__ import annotations

import base64
import binascii
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from mock_noetl.errors import ApiError, PlaybookError
from mock_noetl.playbook import Playbook, parse_playbook
from mock_noetl.values import IdSource, now

SHIPPED = Path(__file__).with_name("playbooks")
MAX_ENTRIES = 10_000


@dataclass(frozen=True, slots=True)
class Entry:
    """One version of one playbook.

    Args:
        catalog_id: the id of the version.
        path: the path of the playbook.
        version: the number of the version.
        content: the YAML text.
        playbook: the parsed playbook.
        created_at: the time of the registration.
    """

    catalog_id: int
    path: str
    version: int
    content: str
    playbook: Playbook
    created_at: datetime


class Catalog:
    """The playbooks by path and version, and by catalog id."""

    def __init__(self, ids: IdSource) -> None:
        self._ids = ids
        self._by_id: dict[int, Entry] = {}
        self._by_path: dict[str, list[Entry]] = {}

    def load_folder(self, folder: Path) -> None:
        """Register every YAML file in `folder`. Raises PlaybookError for the first invalid file."""
        if not folder.is_dir():
            raise PlaybookError(f"{folder}: no such folder")
        for file in sorted([*folder.rglob("*.yaml"), *folder.rglob("*.yml")]):
            try:
                content = file.read_text(encoding="utf-8")
            except (OSError, UnicodeDecodeError) as error:
                raise PlaybookError(f"{file}: cannot be read: {error}") from None
            self.add(content, str(file))

    def add(self, content: str, source: str) -> Entry:
        """Add a playbook as the next version of its path."""
        playbook = parse_playbook(content, source)
        if len(self._by_id) >= MAX_ENTRIES:
            raise ApiError(503, "The catalog is full")
        versions = self._by_path.setdefault(playbook.path, [])
        entry = Entry(self._ids.next(), playbook.path, len(versions) + 1, content, playbook, now())
        versions.append(entry)
        self._by_id[entry.catalog_id] = entry
        return entry

    def register(self, content: str) -> Entry:
        """Add a playbook, given as YAML or as base64 of YAML. Raises ApiError 400 if it is invalid."""
        try:
            return self.add(_decoded(content), "content")
        except PlaybookError as error:
            raise ApiError(400, str(error)) from None

    def get(self, catalog_id: int) -> Entry | None:
        return self._by_id.get(catalog_id)

    def find(self, path: str, version: int | None = None) -> Entry | None:
        """Return a version of a playbook; the latest one for None."""
        versions = self._by_path.get(path, [])
        if version is None:
            return versions[-1] if versions else None
        return versions[version - 1] if 0 < version <= len(versions) else None

    def versions(self, kind: str | None = None, path: str | None = None) -> list[Entry]:
        """Return all versions of all playbooks, newest first."""
        newest = reversed(self._by_id.values())
        return [e for e in newest if kind in (None, e.playbook.kind) and path in (None, e.path)]

    def latest(self, kind: str | None = None, path: str | None = None) -> list[Entry]:
        """Return the latest version of each playbook, in the order of the paths."""
        newest = [versions[-1] for _, versions in sorted(self._by_path.items())]
        wanted = kind.lower() if kind else None
        return [e for e in newest if wanted in (None, e.playbook.kind) and path in (None, e.path)]


def _decoded(content: str) -> str:
    try:
        return base64.b64decode("".join(content.split()), validate=True).decode()
    except (binascii.Error, ValueError):
        return content
