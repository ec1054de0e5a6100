"""Calls of the schedule, compared with the operations of a control plane."""

from __future__ import annotations

import pytest

from load.preflight import problem_of_call
from load.scenario import Call

PATHS: dict[str, dict[str, object]] = {
    "/keys/rotate": {"post": {}},
    "/rules": {"get": {}, "post": {}},
    "/rules/{name}": {"delete": {}},
}


@pytest.mark.parametrize(
    "call",
    [
        {"path": "/keys/rotate"},
        {"path": "/rules?limit=1", "method": "GET"},
        {"path": "/rules/scheduled: a/b", "method": "DELETE"},
    ],
)
def test_operation_of_the_control_plane_is_accepted(call: dict[str, str]) -> None:
    assert problem_of_call(Call.model_validate(call), PATHS) == ""


@pytest.mark.parametrize(
    ("call", "problem"),
    [
        (
            {"path": "/keys/rotat"},
            '/keys/rotat (known: /keys/rotate, /rules, /rules/{name}; did you mean "/keys/rotate"?)',
        ),
        ({"path": "/rules", "method": "DELETE"}, "DELETE /rules (known: GET, POST)"),
        ({"path": "/rules/", "method": "GET"}, "/rules/ (known: /keys/rotate, /rules, /rules/{name}; did you mean"),
    ],
)
def test_operation_that_does_not_exist_is_named_with_the_known_ones(call: dict[str, str], problem: str) -> None:
    assert problem_of_call(Call.model_validate(call), PATHS).startswith(problem)


def test_any_operation_is_accepted_without_a_document() -> None:
    assert problem_of_call(Call(path="/keys/rotat"), {}) == ""
