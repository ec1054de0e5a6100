"""Playbook documents: the model they become, and where the errors point."""

from pathlib import Path

import pytest

from mock_noetl.catalog import SHIPPED, Catalog
from mock_noetl.errors import PlaybookError
from mock_noetl.playbook import parse_playbook
from mock_noetl.values import IdSource, parse_duration

HEAD = "apiVersion: noetl.io/v2\nkind: Playbook\nmetadata: {name: n, path: some/n}\n"


def with_workflow(workflow: str) -> str:
    return f"{HEAD}workflow:\n{workflow}\n"


def test_a_playbook_keeps_its_path_and_workload() -> None:
    playbook = parse_playbook(with_workflow("- step: a") + "workload: {x: 1}\n", "f.yaml")
    assert (playbook.path, playbook.kind, playbook.workload) == ("some/n", "playbook", {"x": 1})


def test_the_step_named_start_comes_first() -> None:
    assert parse_playbook(with_workflow("- step: a\n- step: start"), "f").first.name == "start"


def test_a_playbook_for_a_real_server_is_accepted() -> None:
    workflow = "- step: a\n  tool: {kind: python, code: pass}\n  next: {arcs: [{step: b}]}\n- step: b"
    assert parse_playbook(with_workflow(workflow), "f").steps[0].arcs[0].step == "b"


def test_a_time_in_a_workload_stays_text() -> None:
    playbook = parse_playbook(with_workflow("- step: a") + "workload: {day: 2026-01-02}\n", "f")
    assert playbook.workload == {"day": "2026-01-02"}


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("a: [1", "line 1, column 6"),
        ("- 1", "a playbook is a mapping"),
        ("a: &x 1\nb: *x", "line 2, column 4: aliases are not allowed"),
        ("kind: Playbook", "apiVersion"),
        (HEAD, "workflow: a list of steps"),
        (with_workflow("- a"), "workflow[0]: a mapping"),
        (with_workflow("- desc: x"), "workflow[0].step: a text"),
        (with_workflow("- step: a\n- step: a"), "workflow[1].step: a is a duplicate"),
        (with_workflow("- step: a\n  next: [b]"), "workflow[0].next: no step named b"),
        (with_workflow("- step: a\n  tool: {kind: sandbox, wait: 1s}"), "workflow[0].tool: no setting named wait"),
        (with_workflow("- step: a\n  tool: {kind: sandbox, duration: 9d}"), "workflow[0].tool.duration"),
        (with_workflow("- step: a\n  tool: {kind: sandbox, set: {v: '1 +'}}"), "workflow[0].tool.set.v"),
        (with_workflow("- step: a\n  tool: {kind: sandbox, fail: '{{ 1 + }}'}"), "workflow[0].tool.fail"),
        (with_workflow("- step: a\n  tool: {kind: sandbox, fail_if: 'x('}"), "workflow[0].tool.fail_if"),
        (with_workflow("- step: a") + "workload: {x: .nan}\n", "a number is not finite"),
        ("[" * 500, "f.yaml: "),
        ("#" * 1_000_001, "at most"),
    ],
)
def test_a_bad_playbook_is_one_line_that_names_the_file_and_place(text: str, place: str) -> None:
    with pytest.raises(PlaybookError) as caught:
        parse_playbook(text, "f.yaml")
    message = str(caught.value)
    assert message.startswith("f.yaml: ")
    assert place in message
    assert "\n" not in message


def test_the_shipped_folder_holds_the_documented_playbooks() -> None:
    catalog = Catalog(IdSource())
    catalog.load_folder(SHIPPED)
    assert [entry.path for entry in catalog.latest()] == [
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


def test_a_folder_that_is_not_there_is_an_error(tmp_path: Path) -> None:
    with pytest.raises(PlaybookError, match="no such folder"):
        Catalog(IdSource()).load_folder(tmp_path / "none")


@pytest.mark.parametrize(("text", "seconds"), [("200ms", 0.2), ("1.5s", 1.5), ("2m", 120.0), (3, 3.0)])
def test_a_duration_is_read_in_seconds(text: object, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "-1s", "1h", "2h30m", True, "1e3s", "100m"])
def test_what_is_no_duration_is_refused(text: object) -> None:
    with pytest.raises(ValueError, match="duration"):
        parse_duration(text)


def test_ids_are_unique_18_digit_integers_that_a_double_cannot_hold() -> None:
    ids = IdSource()
    made = [ids.next() for _ in range(1000)]
    assert len(set(made)) == 1000
    assert all(len(str(value)) == 18 and value > 2**53 for value in made)
    assert any(int(float(value)) != value for value in made)
