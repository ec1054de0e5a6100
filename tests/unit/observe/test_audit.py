"""The chain of the audit log: what was written is what is read, and whatever was done to it shows."""

from __future__ import annotations

import fcntl
import hashlib
import json
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.commands.audit import chain
from proxy.observe.audit import AuditFile, AuditSettings, AuditStream, BackgroundAudit, local_event
from proxy.observe.audit_chain import CUT, MAX_LINE, AuditError, encode, verify


def log(folder: Path, *, key: bytes = b"", max_size: int = 1_000_000, keep: int = 3) -> AuditFile:
    return AuditFile(AuditSettings(folder / "audit.log", max_size, keep, key))


def written(folder: Path, count: int, key: bytes = b"") -> Path:
    audit = log(folder, key=key)
    for number in range(count):
        audit.append(local_event("login", "success", f"number {number}"))
    return folder / "audit.log"


@pytest.mark.parametrize("key", [b"", b"secret"])
def test_what_was_written_verifies(tmp_path: Path, key: bytes) -> None:
    assert verify([written(tmp_path, 5, key)], key).lines == 5


def changed(lines: list[str]) -> list[str]:
    return [lines[0], lines[1].replace("number 1", "number 9"), *lines[2:]]


def left_out(lines: list[str]) -> list[str]:
    return [lines[0], *lines[2:]]


def moved(lines: list[str]) -> list[str]:
    return [lines[0], lines[2], lines[1], *lines[3:]]


def repeated(lines: list[str]) -> list[str]:
    return [lines[0], lines[1], lines[1], *lines[2:]]


def made_up(lines: list[str]) -> list[str]:
    return [*lines[:2], json.dumps({"event": "login", "previous": "0", "hash": "0"}), *lines[2:]]


def torn(lines: list[str]) -> list[str]:
    return [*lines[:2], lines[2][:20], *lines[3:]]


@pytest.mark.parametrize("tamper", [changed, left_out, moved, repeated, made_up, torn])
def test_whatever_is_done_to_a_line_shows_with_its_place(
    tmp_path: Path, tamper: Callable[[list[str]], list[str]]
) -> None:
    file = written(tmp_path, 5)
    file.write_text("\n".join(tamper(file.read_text().splitlines())) + "\n")
    with pytest.raises(AuditError, match=r"audit\.log:[234]: "):
        verify([file], b"")


def test_a_chain_made_without_the_key_does_not_verify(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="the key is different"):
        verify([written(tmp_path, 2, b"forged")], b"secret")


def test_rotated_files_are_one_chain_and_their_number_is_limited(tmp_path: Path) -> None:
    audit = log(tmp_path, max_size=1000, keep=3)
    for number in range(60):
        audit.append(local_event("login", "success", f"number {number}"))
    files = chain(tmp_path / "audit.log")
    assert [file.name for file in files] == ["audit.log.3", "audit.log.2", "audit.log.1", "audit.log"]
    assert verify(files, b"").lines > 10
    with pytest.raises(AuditError, match="lines were removed"):
        verify([files[0], files[2], files[3]], b"")


def test_several_writers_make_one_chain(tmp_path: Path) -> None:
    writers = [threading.Thread(target=written, args=(tmp_path, 50)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert verify([tmp_path / "audit.log"], b"").lines == 200


def test_only_its_owner_can_read_it(tmp_path: Path) -> None:
    assert written(tmp_path, 1).stat().st_mode & 0o077 == 0


def test_where_it_can_not_be_written_nothing_breaks(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "none").write_text("a file where the folder should be")
    audit = AuditFile(AuditSettings(tmp_path / "none" / "audit.log", 1000, 1, b""))
    for _ in range(3):
        audit.append(local_event("login", "success", ""))
    assert "".join(capsys.readouterr()).count("audit.failed") == 1


def streamed(folder: Path, lines: int = 3, key: bytes = b"") -> Path:
    """What two processes wrote to one stream, in turns."""
    file = folder / "stdout.log"
    with file.open("wb") as stream:
        processes = [AuditStream(key, stream.fileno()) for _ in range(2)]
        for number in range(lines):
            for process in processes:
                process.append(local_event("login", "success", f"number {number}"))
    return file


@pytest.mark.parametrize("key", [b"", b"secret"])
def test_the_chains_of_several_processes_on_one_stream_verify(tmp_path: Path, key: bytes) -> None:
    assert verify([streamed(tmp_path, key=key)], key).lines == 6


def test_a_line_that_is_left_out_of_a_stream_shows(tmp_path: Path) -> None:
    file = streamed(tmp_path)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text("".join([*lines[:2], *lines[3:]]))
    with pytest.raises(AuditError, match=r"stdout\.log:4: the line does not follow the previous line"):
        verify([file], b"")


def test_a_stream_that_is_closed_fails_no_request(tmp_path: Path) -> None:
    with (tmp_path / "closed").open("wb") as stream:
        number = stream.fileno()
    AuditStream(b"", number).append(local_event("login", "success", "nobody hears"))


LONG = "x" * 20_000


@pytest.mark.parametrize("text", [LONG, "\ud800" * 20_000, "😀" * 5000, '"' * 9000, "\x00" * 9000], ids=repr)
def test_line_has_at_most_4_kib_whatever_the_entry_says(text: str) -> None:
    names = ("at", "event", "outcome", "ip", "agent", "method", "path", "request_id", "detail", "chain")
    line, _ = encode({**dict.fromkeys(names, text), "user_id": 2**63, "status": 499}, "0" * 64, b"k")
    assert len(line) <= MAX_LINE
    assert all(str(json.loads(line)[name]).endswith(CUT) for name in names)


def test_text_within_the_limit_is_not_cut() -> None:
    line, _ = encode({"path": "/" + "p" * 1000, "detail": "d" * 1500}, "0" * 64, b"")
    assert CUT.encode() not in line


def test_long_login_does_not_break_the_chain(tmp_path: Path) -> None:
    audit = log(tmp_path)
    for detail in ("a", LONG, "b"):
        audit.append(local_event("login", "refused", detail))
    assert verify([tmp_path / "audit.log"], b"").lines == 3


@pytest.mark.parametrize("size", [5000, 70_000, 300_000])
def test_chain_continues_behind_a_line_of_any_size(tmp_path: Path, size: int) -> None:
    """Earlier versions wrote lines without a limit, and looked for the last one in the last 64 KiB."""
    file = written(tmp_path, 2)
    previous = json.loads(file.read_text().splitlines()[-1])["hash"]
    body = json.dumps({"detail": "x" * size, "previous": previous}, separators=(",", ":"), sort_keys=True)
    file.write_text(file.read_text() + f'{body[:-1]},"hash":"{hashlib.sha256(body.encode()).hexdigest()}"}}\n')
    log(tmp_path).append(local_event("login", "success", "after"))
    assert verify([file], b"").lines == 4


@pytest.mark.parametrize(
    "tail", ['{"at":"2026', '{"', "{" + '"x' * 9000, "\0" * 5000], ids=["part", "short", "long", "zeros"]
)
def test_incomplete_last_line_is_closed_off_and_reported(tmp_path: Path, tail: str) -> None:
    file = written(tmp_path, 3)
    with file.open("a") as stream:
        stream.write(tail)
    assert verify([file], b"").incomplete == [f"{file}:4"]
    for _ in range(2):
        log(tmp_path).append(local_event("login", "success", "after"))
    found = verify([file], b"")
    assert (found.lines, found.incomplete) == (5, [f"{file}:4"])


def test_whole_last_line_without_its_newline_is_kept(tmp_path: Path) -> None:
    file = written(tmp_path, 3)
    file.write_bytes(file.read_bytes()[:-1])
    log(tmp_path).append(local_event("login", "success", "after"))
    found = verify([file], b"")
    assert (found.lines, found.incomplete) == (4, [])


def test_line_that_was_made_incomplete_breaks_the_chain(tmp_path: Path) -> None:
    file = written(tmp_path, 4)
    lines = file.read_text().splitlines(keepends=True)
    file.write_text(lines[0] + lines[1][:30] + "\n" + "".join(lines[2:]))
    with pytest.raises(AuditError, match=r"audit\.log:3: the line does not follow"):
        verify([file], b"")


@pytest.mark.parametrize("line", ["hello", "[]", "5", "", "null", '{"event": "login"}'])
def test_line_that_is_no_entry_is_an_error(tmp_path: Path, line: str) -> None:
    file = written(tmp_path, 2)
    file.write_text(file.read_text() + line + "\n")
    with pytest.raises(AuditError, match=r"audit\.log:3: not a line of an audit log"):
        verify([file], b"")


def test_incomplete_line_is_rotated_with_its_file(tmp_path: Path) -> None:
    file = written(tmp_path, 3)
    with file.open("a") as stream:
        stream.write('{"at"')
    log(tmp_path, max_size=1).append(local_event("login", "success", "after"))
    assert file.read_text().startswith("{")
    assert verify(chain(file), b"").lines == 4


def test_background_log_writes_in_order_and_does_not_wait_for_the_lock(tmp_path: Path) -> None:
    audit = BackgroundAudit(log(tmp_path))
    lock = os.open(tmp_path / "audit.log.lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    started = time.monotonic()
    for number in range(100):
        audit.append(local_event("login", "success", f"number {number}"))
    waited = time.monotonic() - started
    assert not (tmp_path / "audit.log").exists()
    os.close(lock)
    audit.close()
    lines = [json.loads(line)["detail"] for line in (tmp_path / "audit.log").read_text().splitlines()]
    assert lines == [f"number {number}" for number in range(100)]
    assert waited < 1


def test_background_log_that_can_not_write_in_time_counts_what_is_lost(tmp_path: Path) -> None:
    audit = BackgroundAudit(log(tmp_path, max_size=10_000_000))
    lock = os.open(tmp_path / "audit.log.lock", os.O_CREAT | os.O_RDWR, 0o600)
    fcntl.flock(lock, fcntl.LOCK_EX)
    for number in range(10_000):
        audit.append(local_event("login", "success", f"number {number}"))
    os.close(lock)
    audit.append()
    audit.close()
    lines = [json.loads(line) for line in (tmp_path / "audit.log").read_text().splitlines()]
    lost = sum(int(line["detail"].split()[0]) for line in lines if line["event"] == "audit.lost")
    assert len(lines) < 9000
    assert lost + sum(line["event"] == "login" for line in lines) == 10_000
    assert verify([tmp_path / "audit.log"], b"").lines == len(lines)
