"""Playbook documents: the program they become, and where the errors point."""

from __future__ import annotations

from pathlib import Path

import pytest

from mock_noetl.catalog import SHIPPED, Catalog
from mock_noetl.errors import PlaybookError
from mock_noetl.playbook import MAX_TEXT, Program, compile_program, load
from mock_noetl.values import IdSource

HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: n, path: some/n}\n"


def program(workflow: str) -> Program:
    found = compile_program(load(f"{HEAD}workflow:\n{workflow}\n"))
    assert found is not None
    return found


def test_step_named_start_is_first() -> None:
    assert program("- step: a\n- step: start").first == 1
    assert program("- step: a\n- step: b").first == 0


@pytest.mark.parametrize(
    "following",
    ["{arcs: [{step: b, when: x}]}", "[{step: b, when: x}]", "{spec: {mode: exclusive}, arcs: [{step: b, when: x}]}"],
)
def test_next_steps_in_every_form(following: str) -> None:
    (arc,) = program(f"- step: a\n  next: {following}\n- step: b").steps[0].arcs
    assert (arc.step, arc.target, arc.when) == ("b", 1, "x")


def test_unknown_next_step_has_no_target() -> None:
    assert program("- step: a\n  next: {arcs: [{step: z}]}").steps[0].arcs[0].target is None


def test_time_in_a_workload_stays_text() -> None:
    assert load("workload: {day: 2026-01-02}") == {"workload": {"day": "2026-01-02"}}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1", "line 1, column 6"),
        ("- 1", "a playbook is a mapping"),
        ("workload: {x: .nan}", "a number is not finite"),
        ("[" * 500, "not YAML"),
        ("#" * (MAX_TEXT + 1), "at most"),
        ("a: &a [1,2,3,4,5,6,7,8,9,0]\nb: &b [*a,*a,*a,*a,*a,*a,*a,*a,*a,*a]\nc: &c [*b,*b,*b,*b,*b,*b,*b,*b,*b,*b]\n"
         "d: &d [*c,*c,*c,*c,*c,*c,*c,*c,*c,*c]\ne: &e [*d,*d,*d,*d,*d,*d,*d,*d,*d,*d]\nf: [*e,*e]", "too many parts"),
    ],
)  # fmt: skip
def test_yaml_that_can_not_be_used_is_one_line(text: str, place: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        load(text)
    assert place in str(caught.value)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("tool", "place"),
    [
        ("wait: 1s", "workflow.0.tool.wait: there is no such setting"),
        ("duration: 9d", "workflow.0.tool.duration: a duration is"),
        ("duration: {gamma: {}}", "workflow.0.tool.duration: "),
        ("set: [1]", "workflow.0.tool.set: a mapping"),
        ("set: {v: '{{ 1 + }}'}", "workflow.0.tool.set.v: "),
        ("set: {v: '{% for a in b %}{% endfor %}'}", "workflow.0.tool.set.v: For is not supported"),
        ("fail: '{{ 1 + }}'", "workflow.0.tool.fail: "),
        ("fail: ''", "workflow.0.tool.fail: a text"),
        ("fail_if: 'x('", "workflow.0.tool.fail_if: "),
        ("fail_probability: 2", "workflow.0.tool.fail_probability: a number from 0 to 1"),
        ("accounts: logout", "workflow.0.tool.accounts: one of login"),
        ("callback: none", "workflow.0.tool.callback: one of auth"),
        ("callback: auth, times: 11", "workflow.0.tool.times: a number from 0 to 10"),
        ("fail: a, raise: b", "workflow.0.tool.raise: not together with fail"),
        ("times: 2", "workflow.0.tool.times: only with callback"),
        ("callback: auth, late: '{{ x }}'", "workflow.0.tool.late: a duration"),
    ],
)
def test_wrong_setting_of_the_tool_is_named(tool: str, place: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        program(f"- step: a\n  tool: {{kind: sandbox, {tool}}}")
    assert str(caught.value).startswith(place)


def test_shipped_folder_holds_the_documented_playbooks() -> None:
    catalog = Catalog(IdSource())
    catalog.load_folder(SHIPPED)
    assert catalog.paths() == [
        "api_integration/auth0/auth0_login",
        "api_integration/auth0/auth0_validate_session",
        "api_integration/auth0/check_playbook_access",
        "data_pipeline/my_playbook",
        "data_pipeline/transform_data",
        "examples/callback",
        "examples/failing",
        "examples/hello_world",
        "examples/slow",
        "my_playbook",
        "system/purge",
    ]


def test_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match="no such folder"):
        Catalog(IdSource()).load_folder(tmp_path / "none")


def test_ids_are_unique_18_digit_integers_that_a_double_cannot_hold() -> None:
    ids = IdSource()
    made = [ids.next() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(len(str(value)) == 18 and value > 2**53 for value in made)
    assert any(int(float(value + 1)) != value + 1 for value in made)
