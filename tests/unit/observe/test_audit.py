"""The chain of the audit log: what was written is what is read, and whatever was done to it shows."""

from __future__ import annotations

import json
import threading
from collections.abc import Callable
from pathlib import Path

import pytest

from proxy.commands.audit import chain
from proxy.observe.audit import AuditError, AuditFile, AuditSettings, AuditStream, local_event, verify


def log(folder: Path, *, key: bytes = b"", max_size: int = 1_000_000, keep: int = 3) -> AuditFile:
    return AuditFile(AuditSettings(folder / "audit.log", max_size, keep, key))


def written(folder: Path, count: int, key: bytes = b"") -> Path:
    audit = log(folder, key=key)
    for number in range(count):
        audit.append(local_event("login", "success", f"number {number}"))
    return folder / "audit.log"


@pytest.mark.parametrize("key", [b"", b"secret"])
def test_what_was_written_verifies(tmp_path: Path, key: bytes) -> None:
    assert verify([written(tmp_path, 5, key)], key) == 5


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
    with pytest.raises(AuditError, match=r"audit\.log:[23]: "):
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
    assert verify(files, b"") > 10
    with pytest.raises(AuditError, match="lines were removed"):
        verify([files[0], files[2], files[3]], b"")


def test_several_writers_make_one_chain(tmp_path: Path) -> None:
    writers = [threading.Thread(target=written, args=(tmp_path, 50)) for _ in range(4)]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    assert verify([tmp_path / "audit.log"], b"") == 200


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
    assert verify([streamed(tmp_path, key=key)], key) == 6


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
