"""What the upstream answers, in the shape of the Python NoETL server, and what a right answer looks like."""

from __future__ import annotations

import functools
import json
import random
import re
from typing import Any

EXECUTION_ID = "478775660589088776"
PATH = "data_pipeline/transform_data"
LARGE_BYTES = 1024 * 1024
STATS = {
    "status": "success",
    "stats": {
        "total_executions": 1204,
        "successful_executions": 1131,
        "failed_executions": 41,
        "total_playbooks": 37,
        "total_workflows": 37,
        "pending_executions": 32,
        "active_executions": 32,
    },
}
VARIABLES = {"input_file": "gs://bucket/input.csv", "factor": 3}
_STARTED = "2026-01-05T10:15:30.123456Z"
STATUS = {
    "execution_id": EXECUTION_ID,
    "current_step": "transform",
    "completed_steps": ["start", "read_input"],
    "failed": False,
    "completed": False,
    "completion_inferred": False,
    "variables": VARIABLES,
    "start_time": _STARTED,
    "end_time": None,
    "duration_seconds": 12.345,
    "duration_human": "12.3s",
}
DETAIL = {
    "execution_id": EXECUTION_ID,
    "catalog_id": "478775660589088001",
    "path": PATH,
    "version": 1,
    "status": "RUNNING",
    "start_time": _STARTED,
    "end_time": None,
    "duration_seconds": 12.345,
    "progress": 50,
    "result": None,
    "error": None,
    "parent_execution_id": None,
    "events": [],
    "pagination": {
        "page": 1, "page_size": 10, "total_events": 0, "total_pages": 1, "has_next": False, "has_prev": False,
    },
}  # fmt: skip
ACCEPTED = {"status": "ok"}
POLLED = {
    "data": {
        "executionStatus": {
            "executionId": EXECUTION_ID,
            "path": PATH,
            "status": "running",
            "completed": False,
            "failed": False,
            "cancelled": False,
            "currentStep": "transform",
            "completedSteps": ["start", "read_input"],
            "variables": VARIABLES,
            "result": None,
            "error": None,
        }
    }
}


class Matching:
    """Equal to every text that a pattern matches whole: for what is new in each answer, such as ids and times."""

    def __init__(self, pattern: str) -> None:
        self._pattern = re.compile(pattern)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, str) and bool(self._pattern.fullmatch(other))

    def __hash__(self) -> int:
        return hash(self._pattern)

    def __repr__(self) -> str:
        return f"a text like {self._pattern.pattern}"


A_NEW_ID = Matching("47877[0-9]{13}")
AN_INSTANT = Matching(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?\+00:00")
A_SESSION = Matching("[0-9a-f]{32}")


def started(execution_id: Any) -> dict[str, Any]:
    """The upstream's answer to `POST /api/execute`."""
    return {"execution_id": execution_id, "status": "started", "commands_generated": 1}


@functools.cache
def large() -> dict[str, str]:
    """A document of exactly 1 MiB as `json_text` writes it, that nobody could compress to little."""
    frame = len(json_text({"result": ""}))
    return {"result": random.Random(3).randbytes(LARGE_BYTES // 2).hex()[: LARGE_BYTES - frame]}


def json_text(value: Any) -> str:
    """JSON as the NoETL server writes it."""
    return json.dumps(value, separators=(",", ":"))


def upstream_values() -> dict[str, str]:
    """What stands for the names in the upstream's configuration."""
    return {
        "STATS": json_text(STATS),
        "ACCEPTED": json_text(ACCEPTED),
        "STARTED": json_text(started("47877$milliseconds")),
        "STATUS": json_text(STATUS).replace(EXECUTION_ID, "$execution_id"),
        "DETAIL": json_text(DETAIL).replace(EXECUTION_ID, "$execution_id"),
    }
