"""The audit log: one line per login, failed login, logout, denial and ended session, in a tamper-evident file.

Each line contains the hash of the previous line (HMAC-SHA256 if a key is configured), so that a changed, removed or
inserted line breaks the chain. Several processes share the file; rotated files continue the chain. On stdout each
process has its own chain, which its lines name. If the log can't be written, an error is logged, and the gateway
continues.
"""

from __future__ import annotations

import fcntl
import hashlib
import hmac
import json
import os
import secrets
import time
from abc import ABC, abstractmethod
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.observe.access import AccessLine
from proxy.observe.logs import get_logger

START = "0" * 64
STDOUT = "-"
_TAIL = 64 * 1024
_LOGINS = {200: "success", 401: "refused", 429: "slowed_down"}
EVENTS = {
    "auth.login": "login",
    "auth.logout": "logout",
    "auth.sessions": "session.end",
    "auth.backchannel_logout": "logout.backchannel",
}
"""The event of a request to each handler. A request that an access rule denies, on any route, is `access.denied`."""


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The file, its maximum size in bytes, the number of rotated files that are kept, and the key for the hashes."""

    file: Path
    max_size: int
    keep: int
    key: bytes = field(repr=False)


class AuditError(Exception):
    """The chain of a file is broken. The text names the file, the line and the cause."""


class Audit(ABC):
    """A writer of a chain of lines."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._failed = False

    def append(self, entry: Mapping[str, Any]) -> None:
        """Write one line; log an error if that fails."""
        try:
            self._append(entry)
        except OSError as error:
            if not self._failed:
                get_logger().error("audit.failed", file=self._place, reason=str(error))
            self._failed = True
        else:
            self._failed = False

    @abstractmethod
    def _append(self, entry: Mapping[str, Any]) -> None:
        """Write one line. Raises OSError."""


class AuditStream(Audit):
    """A writer to a stream, by default stdout, with a new chain per process.

    Each line is one write, so that lines of several processes do not mix.
    """

    def __init__(self, key: bytes, stream: int = 1) -> None:
        super().__init__("stdout")
        self._key = key
        self._stream = stream
        self._chain = secrets.token_hex(8)
        self._previous = START

    def _append(self, entry: Mapping[str, Any]) -> None:
        line = encode({**entry, "chain": self._chain}, self._previous, self._key)
        os.write(self._stream, line)
        self._previous = str(json.loads(line)["hash"])


class AuditFile(Audit):
    """A writer to a file, which several processes may share."""

    def __init__(self, settings: AuditSettings) -> None:
        super().__init__(str(settings.file))
        self.settings = settings

    def _append(self, entry: Mapping[str, Any]) -> None:
        settings = self.settings
        settings.file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{settings.file}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            previous = _last_hash(settings.file)
            if settings.file.exists() and settings.file.stat().st_size >= settings.max_size:
                _rotate(settings.file, settings.keep)
            line = encode(entry, previous, settings.key)
            target = os.open(settings.file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
            try:
                os.write(target, line)
            finally:
                os.close(target)
        finally:
            os.close(lock)


def encode(entry: Mapping[str, Any], previous: str, key: bytes) -> bytes:
    """Return a line of the chain: the entry, the hash of the previous line, and its own hash."""
    body = json.dumps({**entry, "previous": previous}, separators=(",", ":"), sort_keys=True)
    return f'{body[:-1]},"hash":"{_hash(body, key)}"}}\n'.encode()


def _hash(body: str, key: bytes) -> str:
    data = body.encode()
    return hmac.new(key, data, hashlib.sha256).hexdigest() if key else hashlib.sha256(data).hexdigest()


def _last_hash(file: Path) -> str:
    try:
        with file.open("rb") as stream:
            stream.seek(0, os.SEEK_END)
            size = stream.tell()
            stream.seek(max(0, size - _TAIL))
            lines = stream.read().splitlines()
    except FileNotFoundError:
        lines = []
    if not lines:
        older = Path(f"{file}.1")
        return _last_hash(older) if older.exists() else START
    try:
        return str(json.loads(lines[-1])["hash"])
    except (ValueError, KeyError, TypeError):
        return START


def _rotate(file: Path, keep: int) -> None:
    for number in range(keep, 0, -1):
        newer = file if number == 1 else Path(f"{file}.{number - 1}")
        if newer.exists():
            os.replace(newer, f"{file}.{number}")
    if keep == 0:
        file.unlink()


def verify(files: Iterable[Path], key: bytes) -> int:
    """Verify the chain in files, oldest first, and return the number of lines.

    Lines that name a chain, such as those of stdout, are compared with the lines of that chain. The previous hash in
    the first line of a chain is not checked, because older files may have been deleted.

    Raises:
        AuditError: a line was changed, removed, inserted or moved.
        OSError: a file can't be read.
    """
    count = 0
    ends: dict[str, str] = {}
    for file in files:
        for number, line in enumerate(_lines(file), 1):
            where = f"{file}:{number}"
            found = _parsed(line, where)
            stated = str(found.pop("hash"))
            body = json.dumps(found, separators=(",", ":"), sort_keys=True)
            if not hmac.compare_digest(stated, _hash(body, key)):
                raise AuditError(f"{where}: the line was changed, or the key is different")
            name = str(found.get("chain", ""))
            if name in ends and found.get("previous") != ends[name]:
                raise AuditError(
                    f"{where}: the line does not follow the previous line: lines were removed, inserted or moved"
                )
            ends[name], count = stated, count + 1
    return count


def _parsed(line: bytes, where: str) -> dict[str, Any]:
    try:
        found = json.loads(line)
    except ValueError:
        found = None
    if not isinstance(found, dict) or not isinstance(found.get("hash"), str) or "previous" not in found:
        raise AuditError(f"{where}: not a line of an audit log")
    return found


def _lines(file: Path) -> Iterator[bytes]:
    with file.open("rb") as stream:
        yield from stream


class AuditTrail:
    """Writes the entries of requests to an audit log."""

    def __init__(self, audit: Audit) -> None:
        self._audit = audit

    def write(self, line: AccessLine, handler: str | None) -> None:
        """Write the entry of a request, if it is one for the audit log: by its handler, or as it was denied."""
        event = EVENTS.get(handler or "")
        if event is not None and line.method != "GET":
            self._audit.append(_entry(event, _outcome(event, line), line))
        elif line.denied:
            self._audit.append(_entry("access.denied", "denied", line))


def _outcome(event: str, line: AccessLine) -> str:
    if event == "login":
        return _LOGINS.get(line.status, "failed")
    return "success" if line.status < 300 else "denied" if line.status == 403 else "failed"


def local_event(event: str, outcome: str, detail: str) -> dict[str, Any]:
    """Return the entry of a local event, such as a reload or a command."""
    return {"at": _now(), "event": event, "outcome": outcome, "ip": "local", "detail": detail}


def _now() -> str:
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"


def _entry(event: str, outcome: str, line: AccessLine) -> dict[str, Any]:
    return {
        "at": _now(),
        "event": event,
        "outcome": outcome,
        "user_id": line.user_id,
        "ip": line.ip,
        "method": line.method,
        "path": line.path,
        "status": line.status,
        "request_id": line.request_id,
        "detail": line.detail,
    }
