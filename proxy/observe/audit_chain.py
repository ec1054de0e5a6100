"""The lines of the audit log: each contains the hash of the line before it, so that changes break the chain.

A line has at most 4 KiB. A process that is killed while it writes leaves a line incomplete; the next line continues the
chain behind the last whole one.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import os
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, BinaryIO, NamedTuple

START = "0" * 64
MAX_LINE = 4096
CUT = " [cut]"
"""The end of a text that was longer."""
_MOST = {"path": 1024, "detail": 1536, "agent": 384}
_MOST_OTHERS = 128
_BLOCK = 8 * 1024


class AuditError(Exception):
    """The chain of a file is broken. The text names the file, the line and the cause."""


def bounded(entry: Mapping[str, Any]) -> dict[str, Any]:
    """Return an entry with texts that are cut, so that its line has at most `MAX_LINE` bytes."""
    return {
        name: _cut(value, _MOST.get(name, _MOST_OTHERS)) if isinstance(value, str) else value
        for name, value in entry.items()
    }


def _cut(text: str, most: int) -> str:
    """Return a text that has at most so many bytes as JSON."""
    if len(json.dumps(text)) <= most:
        return text
    kept = text[: most - len(CUT)]
    while len(json.dumps(kept)) > most - len(CUT):
        kept = kept[: len(kept) * 7 // 8]
    return kept + CUT


def encode(entry: Mapping[str, Any], previous: str, key: bytes) -> tuple[bytes, str]:
    """Return a line of the chain and its hash: the entry, the hash of the previous line, and its own hash."""
    body = json.dumps({**bounded(entry), "previous": previous}, separators=(",", ":"), sort_keys=True)
    stated = _hash(body, key)
    return f'{body[:-1]},"hash":"{stated}"}}\n'.encode(), stated


def _hash(body: str, key: bytes) -> str:
    data = body.encode()
    return hmac.new(key, data, hashlib.sha256).hexdigest() if key else hashlib.sha256(data).hexdigest()


class End(NamedTuple):
    """The end of a file: the hash of its last whole line (None: there is none), and whether a line is incomplete."""

    previous: str | None
    incomplete: bool


def end_of(file: Path) -> End:
    """Return the end of a file. Raises OSError."""
    try:
        with file.open("rb") as stream:
            incomplete, stated = False, None
            for number, line in enumerate(_backwards(stream)):
                incomplete = incomplete or (number == 0 and line != b"")
                stated = _stated(line)
                if stated is not None:
                    break
            return End(stated, incomplete)
    except FileNotFoundError:
        return End(None, False)


def _backwards(stream: BinaryIO) -> Iterator[bytes]:
    """Yield the lines of a file without their ends, the last one first; it is empty if the file ends with a newline."""
    at = stream.seek(0, os.SEEK_END)
    rest = b""
    while at:
        size = min(_BLOCK + len(rest), at)
        at -= size
        stream.seek(at)
        first, *lines = (stream.read(size) + rest).split(b"\n")
        yield from reversed(lines)
        rest = first
    yield rest


def _stated(line: bytes) -> str | None:
    """Return the hash that a whole line states; None if it is not a line of the log."""
    try:
        found = json.loads(line)["hash"]
    except (ValueError, KeyError, TypeError, RecursionError):
        return None
    return found if isinstance(found, str) else None


@dataclass(slots=True)
class Verified:
    """The result of a verification: the number of lines, and the places of incomplete lines."""

    lines: int = 0
    incomplete: list[str] = field(default_factory=list)


def verify(files: Iterable[Path], key: bytes) -> Verified:
    """Verify the chain in files, oldest first.

    Lines that name a chain, such as those of stdout, are compared with the lines of that chain. The previous hash in
    the first line of a chain is not checked, because older files may have been deleted.

    Raises:
        AuditError: a line was changed, removed, inserted or moved.
        OSError: a file can't be read.
    """
    result = Verified()
    ends: dict[str, str] = {}
    for file in files:
        with file.open("rb") as stream:
            for number, line in enumerate(stream, 1):
                where = f"{file}:{number}"
                if _is_incomplete(line):
                    result.incomplete.append(where)
                else:
                    _verify_line(line, where, key, ends)
                    result.lines += 1
    return result


def _is_incomplete(line: bytes) -> bool:
    """Return True for the beginning of a line, or for the zeros that a file may end with after a loss of power."""
    if not line.rstrip(b"\n").strip(b"\0"):
        return line != b"\n"
    try:
        json.loads(line)
    except (ValueError, RecursionError):
        return line.startswith(b'{"')
    return False


def _verify_line(line: bytes, where: str, key: bytes, ends: dict[str, str]) -> None:
    """Compare a line with the one before it, whose hash is in `ends` by the name of the chain."""
    found = _parsed(line, where)
    stated = str(found.pop("hash"))
    body = json.dumps(found, separators=(",", ":"), sort_keys=True)
    if not hmac.compare_digest(stated, _hash(body, key)):
        raise AuditError(f"{where}: the line was changed, or the key is different")
    name = str(found.get("chain", ""))
    if name in ends and found.get("previous") != ends[name]:
        raise AuditError(f"{where}: the line does not follow the previous line: lines were removed, inserted or moved")
    ends[name] = stated


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("hash"), str) or "previous" not in found:
        raise AuditError(f"{where}: not a line of an audit log")
    return found
