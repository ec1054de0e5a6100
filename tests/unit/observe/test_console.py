"""Access lines for people."""

from __future__ import annotations

import io
import re

import pytest

from proxy.observe.access import AccessLine, ConsoleAccessLog

LINE = AccessLine("GET", "/noetl/health", "/noetl/{path:**}", 200, 2.44, 1.9, 1, "127.0.0.1", "abc")


def written(line: AccessLine, *, coloured: bool = False) -> str:
    out = io.StringIO()
    ConsoleAccessLog(out, coloured=coloured).write(line)
    return out.getvalue()


def test_a_line_reads_like_a_request() -> None:
    text = written(LINE)
    assert re.fullmatch(r"\d\d:\d\d:\d\d .*\n", text)
    assert text[9:] == "GET /noetl/health 200 2.4ms upstream=1.9ms user=1 ip=127.0.0.1 id=abc\n"


def test_what_is_not_known_is_left_out_and_the_detail_comes_last() -> None:
    text = written(LINE._replace(status=403, user_id=None, upstream_ms=0.0, detail="no rule allows it"))
    assert text[9:] == "GET /noetl/health 403 2.4ms ip=127.0.0.1 id=abc no rule allows it\n"


@pytest.mark.parametrize(("status", "colour"), [(200, 32), (304, 36), (404, 33), (502, 31), (101, 0)])
def test_a_terminal_shows_the_status_in_colour(status: int, colour: int) -> None:
    assert f"\x1b[{colour}m{status}\x1b[0m" in written(LINE._replace(status=status), coloured=True)


def test_nothing_forges_a_line() -> None:
    text = written(LINE._replace(path="/a\n12:00:00 GET /b 200", detail="x\x1b[31m"))
    assert text.count("\n") == 1
    assert "\x1b" not in text
