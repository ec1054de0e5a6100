"""What is asked: for each scenario the request that each contender gets, and the one answer that is right.

Every scenario is one piece of work that a client wants done; how it has to ask differs from contender to contender.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

import httpx

from bench.programs import BenchError

UPSTREAM, PLAIN, AUTH_REQUEST, EDGE = "upstream", "nginx", "nginx_auth_request", "noetl_edge"

EXECUTION_ID = "478775660589088776"
PATH = "data_pipeline/transform_data"
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
_VARIABLES = {"input_file": "gs://bucket/input.csv", "factor": 3}
_STARTED = "2026-01-05T10:15:30.123456Z"
STATUS = {
    "execution_id": EXECUTION_ID,
    "current_step": "transform",
    "completed_steps": ["start", "read_input"],
    "failed": False,
    "completed": False,
    "completion_inferred": False,
    "variables": _VARIABLES,
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

_QUERY = (
    "query GetStatus($id: String!) { executionStatus(executionId: $id) { executionId path status completed failed "
    "cancelled currentStep completedSteps variables result error } }"
)
_POLL = json.dumps({"query": _QUERY, "variables": {"id": EXECUTION_ID}})
_POLLED = {
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
            "variables": _VARIABLES,
            "result": None,
            "error": None,
        }
    }
}


@dataclass(frozen=True, slots=True)
class Ask:
    """One request and its right answer; a `guarded` one must be 401 without its session."""

    path: str
    expected: Any
    method: str = "GET"
    headers: Mapping[str, str] = field(default_factory=dict)
    body: str = ""
    guarded: bool = False

    def verify(self, base_url: str) -> int:
        """Ask once; the size of the right answer with its head, in bytes. Raises BenchError for a wrong one."""
        answer = self._send(base_url, self.headers)
        where = f"{self.method} {self.path}"
        try:
            got = answer.json()
        except ValueError:
            got = None
        if answer.status_code != 200 or got != self.expected:
            raise BenchError(f"{where}: wrong answer {answer.status_code}: {answer.text[:300]}")
        if self.guarded:
            bare = {name: value for name, value in self.headers.items() if name != "authorization"}
            refused = self._send(base_url, bare)
            if refused.status_code != 401:
                raise BenchError(f"{where}: without a session 401 was expected, not {refused.status_code}")
        return _size(answer)

    def _send(self, base_url: str, headers: Mapping[str, str]) -> httpx.Response:
        try:
            with httpx.Client(timeout=5, trust_env=False, headers={"accept-encoding": "identity"}) as client:
                return client.request(self.method, base_url + self.path, headers=dict(headers), content=self.body)
        except httpx.HTTPError as error:
            raise BenchError(f"{self.method} {self.path}: {type(error).__name__}: {error}") from None


def _size(answer: httpx.Response) -> int:
    head = len(f"HTTP/1.1 {answer.status_code} {answer.reason_phrase}\r\n\r\n")
    return head + sum(len(name) + len(value) + 4 for name, value in answer.headers.raw) + len(answer.content)


@dataclass(frozen=True, slots=True)
class Scenario:
    """A name for `--only`, a line for the report, and what each contender is asked, in the order of the report."""

    name: str
    title: str
    asks: Mapping[str, Ask]


def scenarios(session_token: str) -> tuple[Scenario, ...]:
    """All scenarios, with the session that they use."""
    session = {"authorization": f"Bearer {session_token}"}
    polling = {**session, "content-type": "application/json", "accept": "application/json"}
    status = f"/executions/{EXECUTION_ID}/status"
    relayed = Ask("/noetl/dashboard/stats", STATS, headers=session)
    return (
        Scenario(
            "relay",
            f"authenticated GET /noetl/dashboard/stats, {len(json_text(STATS))} bytes of JSON",
            {
                UPSTREAM: Ask("/api/dashboard/stats", STATS),
                PLAIN: relayed,
                AUTH_REQUEST: guarded(relayed),
                EDGE: guarded(relayed),
            },
        ),
        Scenario(
            "executionStatus",
            "where a running execution stands; POST /graphql at noetl-edge, the status endpoint elsewhere",
            {
                UPSTREAM: Ask(f"/api{status}", STATUS),
                AUTH_REQUEST: Ask(f"/noetl{status}", STATUS, headers=session, guarded=True),
                EDGE: Ask("/graphql", _POLLED, "POST", polling, _POLL, guarded=True),
            },
        ),
    )


def guarded(ask: Ask) -> Ask:
    """The same request to who must refuse it without a session."""
    return Ask(ask.path, ask.expected, ask.method, ask.headers, ask.body, guarded=True)


def json_text(value: Any) -> str:
    """JSON as the NoETL server writes it."""
    return json.dumps(value, separators=(",", ":"))


NAMES = tuple(scenario.name for scenario in scenarios(""))
