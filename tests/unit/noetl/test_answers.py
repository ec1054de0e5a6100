"""Answers of both servers: JSON, errors in their shapes, and ids that no server gives."""

from __future__ import annotations

import pytest

from proxy.errors import BadGateway, BadRequest, GatewayError, NotFound
from proxy.noetl.answers import checked_id, document_of, json_body, reason_of


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b'{"detail": "Execution not found"}', "Execution not found"),
        (b'{"error": "Playbook not found: p", "status": 404}', "Playbook not found: p"),
        (b'{"detail": [{"loc": ["body", "path"], "msg": "wrong"}, 5]}', "body.path: wrong"),
        (b"Failed to parse\nthe body", "Failed to parse the body"),
        (b'{"message": ""}', ""),
        (b"[1]", ""),
        (b"", ""),
    ],
)
def test_reason_is_read_in_all_shapes(data: bytes, reason: str) -> None:
    assert reason_of(data) == reason


@pytest.mark.parametrize(
    ("status", "error", "text"),
    [
        (404, NotFound, "Playbook not found"),
        (400, BadRequest, "no"),
        (409, BadRequest, "no"),
        (415, BadRequest, "no"),
        (422, BadRequest, "no"),
        (500, BadGateway, "NoETL server failed"),
        (302, BadGateway, "NoETL server failed"),
    ],
)
def test_status_of_an_error_is_an_error(status: int, error: type[GatewayError], text: str) -> None:
    with pytest.raises(error) as found:
        document_of(status, b'{"detail": "no"}', "Playbook not found")
    assert found.value.text == text


def test_document_that_is_not_json_is_an_error_of_the_server() -> None:
    assert document_of(200, b"", "") is None
    assert document_of(200, b'{"a": 1}', "") == {"a": 1}
    with pytest.raises(BadGateway, match="unexpected response"):
        document_of(200, b"<html>", "")


@pytest.mark.parametrize("execution_id", ["0", "7", "00000000000000000007", str(2**63 - 1)])
def test_id_of_63_bits_is_one(execution_id: str) -> None:
    assert checked_id(execution_id) == execution_id


@pytest.mark.parametrize("execution_id", [str(2**63), "9" * 20, "9" * 5000, "", "-1", "1.5", "7 ", "٧", "x"])
def test_other_id_is_not_found(execution_id: str) -> None:
    with pytest.raises(NotFound, match="Execution not found"):
        checked_id(execution_id)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {"a": [float("-inf")]}])
def test_number_that_json_cannot_express_is_refused(value: object) -> None:
    with pytest.raises(BadRequest, match="can't be written as JSON"):
        json_body(value)
