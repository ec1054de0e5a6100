"""What a strict client reads: one answer after another, or AssertionError. It shares no code with the gateway."""

from __future__ import annotations

import re
from collections.abc import Sequence

_START = re.compile(rb"HTTP/1\.[01] ([1-9][0-9]{2}) [\t\x20-\x7e\x80-\xff]*")
_FIELD = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]+): ?([\t\x20-\x7e\x80-\xff]*)")
_LENGTH = re.compile(rb"[0-9]{1,12}")
_SIZE = re.compile(rb"[0-9a-f]{1,8}")


def read_head(data: bytes) -> tuple[int, list[tuple[bytes, bytes]], int]:
    """The status and the fields of the head that the bytes begin with, and where it ends."""
    end = data.find(b"\r\n\r\n")
    assert end >= 0, f"no whole head: {data[:200]!r}"
    start, *lines = data[:end].split(b"\r\n")
    first = _START.fullmatch(start)
    assert first is not None, f"not a status line: {start!r}"
    fields = []
    for line in lines:
        found = _FIELD.fullmatch(line)
        assert found is not None, f"not a field: {line!r}"
        fields.append((found[1].lower(), found[2].strip()))
    return int(first[1]), fields, end + 4


def read_answers(data: bytes, told: Sequence[tuple[str, int]]) -> list[int]:
    """The statuses of final answers. `told` are method and status of each request, in the order of the answers."""
    statuses: list[int] = []
    requests = iter(told)
    while data:
        status, fields, end = read_head(data)
        if status < 200:
            data = data[end:]
            continue
        method, said = next(requests, ("", status))
        assert said == status, f"answered {status}, told {said}"
        bodiless = method == "HEAD" or status in (204, 304)
        data = data[end:] if bodiless else _after_body(data, end, fields)
        statuses.append(status)
    return statuses


def _after_body(data: bytes, at: int, fields: list[tuple[bytes, bytes]]) -> bytes:
    lengths = [value for name, value in fields if name == b"content-length"]
    codings = [value for name, value in fields if name == b"transfer-encoding"]
    assert len(lengths) + len(codings) == 1, f"not one framing: {fields}"
    if codings:
        assert codings == [b"chunked"], codings
        return _after_chunks(data, at)
    assert _LENGTH.fullmatch(lengths[0]), lengths
    end = at + int(lengths[0])
    assert len(data) >= end, "the body is cut"
    return data[end:]


def _after_chunks(data: bytes, at: int) -> bytes:
    while True:
        line = data.find(b"\r\n", at)
        assert line >= 0, "chunks without an end"
        assert _SIZE.fullmatch(data[at:line]), f"not a chunk size: {data[at:line]!r}"
        size = int(data[at:line], 16)
        end = line + 2 + size
        assert data[end : end + 2] == b"\r\n", "a chunk without an end"
        at = end + 2
        if not size:
            return data[at:]
