"""GraphQL where the NoETL server answers 200 with JSON of another shape, on both transports: an error."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from tests.attack.recorder import Arrived
from tests.integration.harness import TRANSPORTS
from tests.integration.raw import Behind, behind_recorder

PLAYBOOKS = "{ playbooks { name } }"
PLAYBOOK = '{ playbook(name: "team/flow") { name } }'
EXECUTIONS = "{ executions { id } }"
EXECUTION = '{ executionStatus(executionId: "7") { status durationSeconds result error variables completedSteps } }'
EXECUTE = 'mutation { executePlaybook(name: "team/flow") { id } }'
UNEXPECTED: dict[str, tuple[str, Any]] = {
    "catalog without entries": (PLAYBOOKS, {}),
    "catalog with entries that are null": (PLAYBOOKS, {"entries": None}),
    "catalog with entries that are an object": (PLAYBOOKS, {"entries": {"path": "team/flow"}}),
    "catalog with entries that are a text": (PLAYBOOKS, {"entries": ""}),
    "catalog that is a list": (PLAYBOOKS, [{"path": "team/flow"}]),
    "catalog that is null": (PLAYBOOKS, None),
    "catalog with a member that is no object": (PLAYBOOKS, {"entries": ["team/flow"]}),
    "catalog with a member without a path": (PLAYBOOKS, {"entries": [{"path": "team/flow"}, {"catalog_id": 1}]}),
    "resource that is a list": (PLAYBOOK, []),
    "resource that is null": (PLAYBOOK, None),
    "resource without a path": (PLAYBOOK, {"catalog_id": 1}),
    "executions that are an object": (EXECUTIONS, {"executions": []}),
    "executions that are null": (EXECUTIONS, None),
    "executions with a member that is no object": (EXECUTIONS, [1]),
    "executions with a member without an id": (EXECUTIONS, [{"path": "team/flow"}]),
    "status that is a list": (EXECUTION, []),
    "start without an id": (EXECUTE, {"status": "started"}),
    "start with an id that is true": (EXECUTE, {"execution_id": True}),
    "start with an id that is an object": (EXECUTE, {"execution_id": {"a": 1}}),
    "start that is null": (EXECUTE, None),
}


async def answered(behind: Behind, query: str, document: Any) -> dict[str, Any]:
    """Return the response to a document that was cached before; the upstream answers with `document`."""

    def says(arrived: Arrived) -> bytes:
        if query is EXECUTION and not arrived.target.endswith("/status") and not isinstance(document, dict):
            return b'{"path": "team/flow"}'
        return json.dumps(document).encode()

    behind.upstream.says = says
    body = json.dumps({"query": query}).encode()
    got = None
    for _ in range(2):
        got = await behind.ask(behind.request("/graphql", "content-type: application/json", method="POST", body=body))
    assert got is not None
    found: dict[str, Any] = json.loads(got.body)
    return found


@TRANSPORTS
@pytest.mark.parametrize(("query", "document"), UNEXPECTED.values(), ids=UNEXPECTED)
async def test_response_of_an_unexpected_shape_is_an_upstream_error(
    tmp_path: Path, fast: bool, query: str, document: Any
) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        found = await answered(behind, query, document)
        (error,) = found["errors"]
        assert error["message"] == "NoETL server sent an unexpected response"
        assert error["extensions"]["code"] == "UPSTREAM_UNAVAILABLE"
        assert behind.lines[-1].detail != ""


ODD_DETAILS: dict[str, dict[str, Any]] = {
    "events that are a number": {"events": 5},
    "events that are an object": {"events": {"a": 1}},
    "event without a type": {"events": [{"result": {"a": 1}, "error": "x"}]},
    "event that is no object": {"events": [1, None, {"event_type": "step.exit"}]},
    "duration beyond a float": {"duration_seconds": 10**400},
    "duration of a text": {"duration_seconds": "soon", "start_time": "then", "end_time": "now"},
}


@TRANSPORTS
@pytest.mark.parametrize("odd", ODD_DETAILS.values(), ids=ODD_DETAILS)
async def test_execution_with_an_odd_part_has_its_status(tmp_path: Path, fast: bool, odd: dict[str, Any]) -> None:
    async with behind_recorder(tmp_path, fast=fast) as behind:
        await behind.warm()
        found = await answered(behind, EXECUTION, {"path": "team/flow", "status": "COMPLETED", **odd})
        assert "errors" not in found
        assert found["data"]["executionStatus"]["status"] == "completed"
