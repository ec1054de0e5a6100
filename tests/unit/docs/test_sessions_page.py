"""The page about sessions names tests that exist, and leaves no requirement of the chapter out."""

from __future__ import annotations

import re

from tests.unit.docs.test_threat_model import ROOT, TEST, names_in

PAGE = (ROOT / "docs" / "sessions.md").read_text("utf-8")
ROW = re.compile(r"^\| (7\.\d\.\d) (.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)
OF_EACH_SECTION = {1: 3, 2: 4, 3: 2, 4: 5, 5: 3, 6: 2}


def test_every_test_that_the_page_names_exists() -> None:
    assert [f"{path}::{name}" for path, name in TEST.findall(PAGE) if name not in names_in(path)] == []


def test_every_requirement_of_the_chapter_has_a_row() -> None:
    wanted = [f"7.{section}.{number}" for section, count in OF_EACH_SECTION.items() for number in range(1, count + 1)]
    assert [number for number, *_ in ROW.findall(PAGE)] == wanted


def test_whatever_has_no_test_says_that_it_is_not_done_or_why_there_is_none() -> None:
    untested = {number: (how, test) for number, _, how, test in ROW.findall(PAGE) if not TEST.search(test)}
    assert [
        number
        for number, (how, test) in untested.items()
        if test != "documentation" and not how.startswith(("not applicable: ", "**not implemented:** "))
    ] == []
