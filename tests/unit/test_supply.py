"""`make audit`: which licences pass, and what is said of known vulnerabilities."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from scripts.supply.check import ROOT, allowed, licences, main


def component(name: str, *texts: str) -> dict[str, Any]:
    return {"name": name, "version": "1", "licenses": [{"license": {"name": text}} for text in texts]}


def judged(folder: Path, components: list[dict[str, Any]], dependencies: list[dict[str, Any]]) -> int:
    sbom, audit = folder / "sbom.json", folder / "audit.json"
    sbom.write_text(json.dumps({"components": components}))
    audit.write_text(json.dumps({"dependencies": dependencies, "fixes": []}))
    return main(sbom, audit)


@pytest.mark.parametrize(
    ("licence", "expected"),
    [
        ("MIT", True),
        ("MIT OR GPL-3.0-only", True),
        ("(Apache-2.0 AND MIT)", True),
        ("Apache-2.0 AND GPL-3.0-only", False),
        ("(MIT OR GPL-3.0-only) AND GPL-3.0-only", False),
        ("GPL-3.0-only AND (GPL-3.0-only OR MIT)", False),
        ("MIT AND (GPL-3.0-only OR (Apache-2.0 AND ISC))", True),
        ("MIT AND", False),
        ("(MIT", False),
        ("MIT)", False),
        ("GPL-3.0-only", False),
        ("", False),
        ("my own terms", False),
    ],
)
def test_a_licence_passes_if_one_may_choose_it(licence: str, expected: bool) -> None:
    assert allowed(licence) is expected


def test_licences_in_other_words_are_known() -> None:
    assert licences(component("x", "Apache Software License", "MIT License", "odd")) == ["Apache-2.0", "MIT", "odd"]


def test_what_is_well_passes_and_what_was_not_looked_up_is_said(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    looked_up, not_looked_up = {"name": "a", "version": "1", "vulns": []}, {"name": "b", "skip_reason": "not found"}
    assert judged(tmp_path, [component("a", "MIT")], [looked_up, not_looked_up]) == 0
    assert "0 in 1 packages" in (said := capsys.readouterr().out)
    assert "not checked: 1 packages" in said


def test_a_licence_that_is_not_on_the_list_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert judged(tmp_path, [component("a", "GPL-3.0-only"), component("b")], []) == 1
    said = capsys.readouterr().out
    assert "a: the licence GPL-3.0-only is not on the list" in said
    assert "b: the licence is missing" in said


def test_a_known_vulnerability_fails(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    hole = {"name": "a", "version": "1", "vulns": [{"id": "PYSEC-1", "fix_versions": ["2"]}]}
    assert judged(tmp_path, [component("a", "MIT")], [hole]) == 1
    assert "a 1: PYSEC-1, mended in 2" in capsys.readouterr().out


def test_what_runs_is_what_was_tested() -> None:
    """The other lock files are parts of requirements.lock: what the gateway needs, and what builds it."""

    def pins(name: str) -> dict[str, str]:
        return dict(re.findall(r"^([A-Za-z0-9_.-]+)==([^ ;\\]+)", (ROOT / name).read_text(), re.MULTILINE))

    runtime, everything = pins("requirements-runtime.lock"), pins("requirements.lock")
    assert {"aiohttp", "lmdb", "pydantic-core"} <= runtime.keys()
    assert runtime.items() <= everything.items()
    assert pins("requirements-build.lock").items() <= everything.items()
    assert pins("requirements-build.lock").keys() == {"setuptools"}
    assert not {"pytest", "hypothesis", "mypy"} & runtime.keys()


def test_an_audit_that_fails_does_not_pass_with_the_report_of_the_last_one(tmp_path: Path) -> None:
    tool = tmp_path / "var/supply/tools/bin/pip-audit"
    tool.parent.mkdir(parents=True)
    tool.write_text("#!/bin/sh\necho the index can not be reached >&2; exit 1\n")
    tool.chmod(0o755)
    (tmp_path / "var/supply/audit.json").write_text('{"dependencies": [], "fixes": []}')
    (tmp_path / "dist").mkdir()
    (tmp_path / "dist/noetl-edge.cdx.json").write_text('{"components": []}')
    (tmp_path / "scripts/supply").mkdir(parents=True)
    shutil.copy(ROOT / "scripts/supply/check.py", tmp_path / "scripts/supply")
    made = (
        "make",
        "-C",
        str(tmp_path),
        "-f",
        str(ROOT / "Makefile"),
        "-o",
        "sbom",
        "audit",
        f"PYTHON={sys.executable}",
    )
    done = subprocess.run(made, capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "the index can not be reached" in done.stderr
