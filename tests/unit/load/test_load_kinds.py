"""The kinds of errors."""

from __future__ import annotations

import pytest

from load.kinds import graphql_kind, kind_of


@pytest.mark.parametrize(
    ("status", "error", "kind"),
    [
        (429, None, "429"),
        (503, None, "5xx"),
        (404, None, "4xx"),
        (302, None, "wrong"),
        (0, TimeoutError("timed out"), "timeout"),
        (0, ConnectionResetError(), "connection"),
    ],
)
def test_kind_of_a_response(status: int, error: BaseException | None, kind: str) -> None:
    assert kind_of(status, error) == kind


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        ({"data": {"a": 1}}, ""),
        ({"data": {"a": 1}, "errors": []}, ""),
        ({"data": None}, "wrong"),
        ({"data": {"a": 1}, "errors": [{"message": "no"}]}, "wrong"),
        ({"data": None, "errors": [{"extensions": {"code": "FORBIDDEN"}}]}, "wrong"),
        ({"data": None, "errors": [{"extensions": {"code": "UPSTREAM_ERROR"}}]}, "5xx"),
        ({"errors": [{"extensions": None}, "text", {"extensions": {"code": "INTERNAL_SERVER_ERROR"}}]}, "5xx"),
        ([1], "wrong"),
    ],
)
def test_kind_of_a_graphql_response(body: object, kind: str) -> None:
    assert graphql_kind(body) == kind
