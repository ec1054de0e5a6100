"""The audit log: one line per login, failed login, logout, denial and ended session, in a tamper-evident file.

`audit_chain.py` describes the lines. Several processes share the file; rotated files continue the chain. On stdout each
process has its own chain, which its lines name. If the log can't be written, an error is logged, and the gateway
continues. The gateway writes in a thread (`BackgroundAudit`): another process may hold the lock of the file.
"""

from __future__ import annotations

import errno
import fcntl
import os
import secrets
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from proxy.observe.audit_chain import START, bounded, encode, end_of
from proxy.observe.logs import get_logger

STDOUT = "-"
_MAX_WAITING = 4000
_CLOSE_SECONDS = 5.0
Entry = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class AuditSettings:
    """The file, its maximum size in bytes, the number of rotated files that are kept, and the key for the hashes."""

    file: Path
    max_size: int
    keep: int
    key: bytes = field(repr=False)


class Audit(ABC):
    """A writer of a chain of lines."""

    def __init__(self, place: str) -> None:
        self._place = place
        self._failed = False
        self._failures = 0

    @property
    def failures(self) -> int:
        """How many writes failed, or lines were lost."""
        return self._failures

    def append(self, *entries: Entry) -> None:
        """Write a line for each entry; log an error if that fails."""
        try:
            self._append(entries)
        except OSError as error:
            self._failures += 1
            if not self._failed:
                get_logger().error("audit.failed", file=self._place, reason=str(error))
            self._failed = True
        else:
            self._failed = False

    @abstractmethod
    def _append(self, entries: Sequence[Entry]) -> None:
        """Write the lines. Raises OSError."""


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

    def _append(self, entries: Sequence[Entry]) -> None:
        for entry in entries:
            line, stated = encode({**entry, "chain": self._chain}, self._previous, self._key)
            os.write(self._stream, line)
            self._previous = stated


class AuditFile(Audit):
    """A writer to a file, which several processes may share. It waits for the lock of the file."""

    def __init__(self, settings: AuditSettings) -> None:
        super().__init__(str(settings.file))
        self.settings = settings

    def _append(self, entries: Sequence[Entry]) -> None:
        file = self.settings.file
        file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = os.open(f"{file}.lock", os.O_CREAT | os.O_RDWR | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            previous, incomplete = end_of(file)
            older = Path(f"{file}.1")
            if previous is None and older.exists():
                previous = end_of(older).previous
            for entry in entries:
                previous, incomplete = self._append_one(entry, previous or START, incomplete), False
        finally:
            os.close(lock)

    def _append_one(self, entry: Entry, previous: str, incomplete: bool) -> str:
        """Write one line, behind an incomplete one if there is one; return its hash."""
        settings, file = self.settings, self.settings.file
        if file.exists() and file.stat().st_size >= settings.max_size:
            _rotate(file, settings.keep)
            incomplete = False
        line, stated = encode(entry, previous, settings.key)
        target = os.open(file, os.O_CREAT | os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            data = b"\n" + line if incomplete else line
            if os.write(target, data) < len(data):
                raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        finally:
            os.close(target)
        return stated


def _rotate(file: Path, keep: int) -> None:
    for number in range(keep, 0, -1):
        newer = file if number == 1 else Path(f"{file}.{number - 1}")
        if newer.exists():
            os.replace(newer, f"{file}.{number}")
    if keep == 0:
        file.unlink()


class BackgroundAudit(Audit):
    """Writes to another audit log in a thread, in order. If too many lines wait, the others are counted only."""

    def __init__(self, audit: Audit) -> None:
        super().__init__("")
        self._audit = audit
        self._waiting: list[Entry] = []
        self._lost = 0
        self._busy = self._closed = False
        self._changed = threading.Condition()
        self._thread: threading.Thread | None = None

    def _append(self, entries: Sequence[Entry]) -> None:
        with self._changed:
            for entry in entries:
                if len(self._waiting) < _MAX_WAITING:
                    self._waiting.append(bounded(entry))
                else:
                    self._lost += 1
            if self._thread is None:
                self._thread = threading.Thread(target=self._run, name="audit", daemon=True)
                self._thread.start()
            self._changed.notify_all()

    def _run(self) -> None:
        while True:
            with self._changed:
                self._busy = False
                self._changed.notify_all()
                self._changed.wait_for(lambda: self._waiting or self._closed)
                entries, self._waiting = self._waiting, []
                lost, self._lost = self._lost, 0
                self._busy = True
                if not entries:
                    self._thread = None
                    return
            if lost:
                self._failures += lost
                get_logger().error("audit.lost", lines=lost)
                entries.append(local_event("audit.lost", "failed", f"{lost} lines could not be written in time"))
            try:
                self._audit.append(*entries)
            except Exception:
                self._failures += 1
                get_logger().exception("audit.failed", lines=len(entries))

    @property
    def failures(self) -> int:
        return self._failures + self._audit.failures

    def flush(self) -> None:
        """Wait until all lines are written, some seconds at most."""
        with self._changed:
            idle = lambda: self._thread is None or not (self._waiting or self._busy)  # noqa: E731
            self._changed.wait_for(idle, _CLOSE_SECONDS)

    def close(self) -> None:
        """Write what is waiting, and end the thread; it is left alone if it can't write within some seconds."""
        with self._changed:
            self._closed = True
            thread = self._thread
            self._changed.notify_all()
        if thread is not None:
            thread.join(_CLOSE_SECONDS)
        with self._changed:
            self._closed = False  # a line after this is written as well


def local_event(event: str, outcome: str, detail: str) -> dict[str, Any]:
    """Return the entry of a local event, such as a reload or a command."""
    return {"at": now_text(), "event": event, "outcome": outcome, "ip": "local", "detail": detail}


def now_text() -> str:
    """Return the current time in UTC, with milliseconds (RFC 3339)."""
    now = time.time()
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(now)) + f".{int(now * 1000) % 1000:03d}Z"
