"""The threat model names tests that exist, and files that do."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.attack.table import table

ROOT = Path(__file__).parents[3]
PAGE = (ROOT / "docs" / "threat-model.md").read_text("utf-8")
TEST = re.compile(r"`(tests/[\w/]+\.py)::(test_\w+)`")
ROW = re.compile(r"^\| (?!claim |---)(.+?) \| (.+?) \| (.+?) \|$", re.MULTILINE)


def names_in(path: str) -> set[str]:
    """The names of a file's tests."""
    tree = ast.parse((ROOT / path).read_text("utf-8"))
    return {node.name for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)}


def test_every_test_that_the_threat_model_names_exists() -> None:
    named = TEST.findall(PAGE)
    assert len(named) >= 40
    assert [f"{path}::{name}" for path, name in named if name not in names_in(path)] == []


def test_every_claim_has_a_mechanism_and_a_test() -> None:
    claims = PAGE.partition("## Claims")[2].partition("\n## ")[0]
    rows = ROW.findall(claims)
    assert len(rows) >= 30
    assert [claim for claim, _, test in rows if not TEST.search(test)] == []


def test_every_module_that_the_threat_model_names_exists() -> None:
    named = re.findall(r"`((?:proxy|tests)/[\w/]+\.(?:py|tsv))", PAGE)
    assert [path for path in named if not (ROOT / path).is_file()] == []


def test_every_file_of_attacks_stands_in_the_threat_model() -> None:
    files = {f"tests/attack/{path.name}" for path in (ROOT / "tests" / "attack").glob("test_*.py")}
    assert files - {path for path, _ in TEST.findall(PAGE)} == set()


def test_the_table_adds_the_lines_of_a_class_up() -> None:
    lines = table([("a", 2, 1, 1, 0), ("b", 1, 0, 0, 1), ("a", 1, 1, 0, 0)])
    rows = [line.split() for line in lines if not line.startswith("-")]
    assert rows[1:] == [["a", "3", "2", "1", "0"], ["b", "1", "0", "0", "1"], ["all", "4", "2", "1", "1"]]
    assert len({len(line) for line in lines}) == 1
    assert table([]) == []
