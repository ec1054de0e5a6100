"""Where bytes are cut for the parser."""

from __future__ import annotations

import pytest

from proxy.server.parsed_message import head_end

HEAD = b"GET / HTTP/1.1\r\nhost: a\r\n\r\n"


@pytest.mark.parametrize(
    ("data", "begins", "end"),
    [
        (HEAD, True, len(HEAD)),
        (HEAD + b"body", True, len(HEAD)),
        (HEAD + HEAD, True, len(HEAD)),
        (HEAD[:-1], True, len(HEAD) - 1),
        (b"", True, 0),
        (b"\r\n\r\n\r\n", True, 6),
        (b"\r\n\r\n" + HEAD + HEAD, True, 4 + len(HEAD)),
        (b"\n" + HEAD, False, 1),
        (b"\r\n" + HEAD, False, 2),
        (b"\n\r\n" + HEAD, False, 3),
        (b"x: y\r\n\r\n" + HEAD, False, 8),
    ],
)
def test_bytes_are_cut_behind_the_first_end_of_a_head(data: bytes, begins: bool, end: int) -> None:
    assert head_end(data, begins=begins) == end
