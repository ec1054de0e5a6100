"""Both dialects of the sandbox, held to the answers that the real servers gave to the same requests."""

from __future__ import annotations

import pytest

from tests.contract.answers.compare import differences
from tests.contract.answers.run import check, recorded
from tests.contract.answers.table import DIALECTS, load
from tests.contract.servers import running


@pytest.mark.slow
@pytest.mark.parametrize("dialect", DIALECTS)
def test_sandbox_answers_as_the_real_server(dialect: str) -> None:
    with running(f"mock-{dialect}", empty=True) as url:
        result = check(url, dialect, f"mock-{dialect}")
    assert [str(one) for one in result.differing] == []
    assert [one.reason for one in result.unused] == []


@pytest.mark.parametrize("dialect", DIALECTS)
def test_table_has_enough_requests_of_every_kind(dialect: str) -> None:
    requests = load(dialect)
    methods = {request.method for request in requests}
    statuses = {line["answer"].get("status") for line in recorded(dialect)}
    assert len(requests) >= 300
    assert {"GET", "POST", "DELETE", "HEAD", "OPTIONS"} <= methods
    assert {200, 400, 404, 405, 422, 500} <= statuses


def test_difference_is_found_wherever_it_is() -> None:
    left = {"status": 200, "body": {"a": [1, {"b": None}], "c": "x"}}
    right = {"status": 200, "body": {"a": [1.0, {"b": 0}, 3], "d": "x"}}
    found = [difference.member for difference in differences("GET /", left, right)]
    assert found == ["body.a.length", "body.a[0]", "body.a[1].b", "body.c", "body.d"]
