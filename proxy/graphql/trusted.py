"""Read the folder of trusted documents: `*.graphql` files, and JSON manifests of texts by their SHA-256.

Every document is parsed, limited and validated immediately. Problems are reported with file, line and column.
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from proxy.config.files import matching_files
from proxy.config.problems import ConfigError, Place, Problem
from proxy.graphql.documents import Documents, Invalid, Operation
from proxy.graphql.http import PREFIX, hash_of
from proxy.graphql.persisted import TrustedDocuments

KINDS = ("*.graphql", "*.json")


def trusted_files(folder: Path) -> list[Path]:
    """Return the files in a folder and its subfolders that can contain trusted documents."""
    return sorted(path for path in matching_files(folder, [f"**/{kind}" for kind in KINDS]) if path.is_file())


@dataclass(slots=True)
class Trusted:
    """The contents of a folder: `count` documents, and the problems of those that are invalid."""

    by_hash: dict[str, Operation] = field(default_factory=dict)
    by_text: dict[str, Operation] = field(default_factory=dict)
    count: int = 0
    problems: list[Problem] = field(default_factory=list)


def read_trusted(folder: Path, documents: Documents) -> Trusted:
    """Return all trusted documents of a folder, parsed and validated by `documents`."""
    found = Trusted()
    for file in trusted_files(folder):
        try:
            text = file.read_text("utf-8")
        except (OSError, UnicodeError) as error:
            reason = error.strerror if isinstance(error, OSError) else "it is not UTF-8"
            found.problems.append(Problem(Place(str(file), 1, 1), "", f"can't be read: {reason}"))
            continue
        if file.suffix == ".json":
            _read_manifest(file, text, documents, found)
        else:
            _add(found, documents, text, Place(str(file), 1, 1), in_file=True)
    return found


def load_trusted(folder: Path, documents: Documents) -> TrustedDocuments:
    """Return the trusted documents of a folder.

    Raises:
        ConfigError: documents are invalid; it contains every problem.
    """
    found = read_trusted(folder, documents)
    if found.problems:
        raise ConfigError(found.problems)
    return TrustedDocuments(found.by_hash, found.by_text)


def _read_manifest(file: Path, text: str, documents: Documents, found: Trusted) -> None:
    try:
        manifest = json.loads(text)
    except (ValueError, RecursionError) as error:
        line, column = (error.lineno, error.colno) if isinstance(error, json.JSONDecodeError) else (1, 1)
        found.problems.append(Problem(Place(str(file), line, column), "", "is not JSON"))
        return
    if not isinstance(manifest, dict) or not all(isinstance(value, str) for value in manifest.values()):
        wanted = 'needs an object of texts by their SHA-256, as {"<64 hexadecimal digits>": "query …"}'
        found.problems.append(Problem(Place(str(file), 1, 1), "", wanted))
        return
    for key, place in _places(file, text, manifest):
        if key.removeprefix(PREFIX).lower() != hash_of(manifest[key]):
            found.problems.append(Problem(place, "", f'"{key[:80]}" is not the SHA-256 of its document'))
        else:
            _add(found, documents, manifest[key], place, in_file=False)


def _places(file: Path, text: str, manifest: Mapping[str, str]) -> Iterator[tuple[str, Place]]:
    for key in manifest:
        at = max(0, text.find(json.dumps(key, ensure_ascii=False)))
        yield key, Place(str(file), text.count("\n", 0, at) + 1, at - text.rfind("\n", 0, at))


def _add(found: Trusted, documents: Documents, text: str, place: Place, *, in_file: bool) -> None:
    """Add a document under the hash of its text, and of its text without surrounding whitespace."""
    made = documents.get(text)
    if isinstance(made, Invalid):
        for error in made.errors:
            where, at = place, error.locations[0] if error.locations else None
            message = error.message.removeprefix("Syntax Error: ")
            if at is not None and in_file:
                where = Place(place.file, at.line, at.column)
            elif at is not None:
                message = f"{message} (line {at.line}, column {at.column} of the document)"
            found.problems.append(Problem(where, "", message))
        return
    found.count += 1
    for same in (text, text.strip()):
        found.by_text[same] = made
        found.by_hash[hash_of(same)] = made
