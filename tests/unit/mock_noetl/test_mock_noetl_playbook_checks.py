"""Warnings about playbooks that the servers accept, and that are likely not meant so."""

from __future__ import annotations

from pathlib import Path

import pytest

from mock_noetl.catalog import SHIPPED, Catalog
from mock_noetl.playbook_checks import warnings
from mock_noetl.values import IdSource

HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: n, path: some/n}\nworkflow:\n"


@pytest.mark.parametrize(
    ("text", "warning"),
    [
        (
            HEAD + "- step: start\n  next:\n    arcs:\n    - {step: finsh}\n- step: finish\n",
            "line 8: workflow[0].next.arcs[0].step: there is no step finsh (known: finish, start; did you mean",
        ),
        (HEAD + "- step: start\n  next: [b]\n", "line 6: workflow[0].next[0]: there is no step b (known: start)"),
        (HEAD + "- step: start\n  next: b\n", "line 6: workflow[0].next: there is no step b"),
        (HEAD.replace("Playbook", "Playbok") + "- step: start\n", "line 2: kind: unknown kind Playbok (known: agent"),
        (
            HEAD + "- step: start\n  tool: {kind: sandbox, duration: 300}\n",
            "line 6: workflow[0].tool.duration: 300 without a unit is 300 seconds: write 300s, or 300ms for",
        ),
        (
            HEAD + "- step: start\n  tool: {kind: sandbox, duration: {uniform: [50ms, '80']}}\n",
            "line 6: workflow[0].tool.duration.uniform[1]: 80 without a unit",
        ),
        (HEAD + "- step: start\n  tool: {kind: pyton}\n", 'tool.kind: unknown kind pyton; did you mean "python"?'),
        (HEAD + "- step: start\n  tol: {kind: noop}\n", 'workflow[0].tol: unknown key; did you mean "tool"?'),
        ("worklaod: {a: 1}\n" + HEAD + "- step: start\n", 'line 1: worklaod: unknown key; did you mean "workload"?'),
        (HEAD + "- step: start\n- step: start\n", "workflow[0].step: several steps have the name start"),
        (
            HEAD + "- step: start\n  tool: {kind: playbook, path: some/m}\n",
            'tool.path: there is no playbook some/m (known: some/n; did you mean "some/n"?)',
        ),
        (HEAD + "- step: a\n  step: start\n", "line 6: step: is there twice; remove one"),
    ],
)
def test_likely_mistake_is_a_warning_with_its_line_and_the_playbook_is_loaded(
    tmp_path: Path, text: str, warning: str
) -> None:
    (tmp_path / "mine.yaml").write_text(text)
    found = warnings(tmp_path)
    assert found[0].startswith(f"{tmp_path / 'mine.yaml'}: ")
    assert warning in found[0]
    Catalog(IdSource()).load_folder(tmp_path)


@pytest.mark.parametrize(
    "text",
    [
        "- step: start\n  next: {arcs: [{step: end}]}\n",
        "- step: start\n  tool: {kind: sandbox, duration: 5}\n",
        "- step: start\n  tool: {kind: sandbox, duration: '{{ pace }}'}\n",
        "- step: start\n  tool: {kind: sandbox, duration: {lognormal: {median: 50ms, sigma: 10}}}\n",
        "- step: start\n  tool: {kind: something}\n  own_key: 1\n",
        "- step: start\n  tool: {kind: playbook, path: '{{ path }}'}\n",
    ],
)
def test_what_may_be_meant_so_is_no_warning(tmp_path: Path, text: str) -> None:
    (tmp_path / "mine.yaml").write_text(HEAD + text)
    assert warnings(tmp_path) == []


def test_shipped_playbooks_have_no_warnings() -> None:
    assert warnings(SHIPPED) == []
