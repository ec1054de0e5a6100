"""The values and errors of `proxy.client`, which exports them and documents the hierarchy of the errors."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class User:
    """The signed-in user. `user_id` stays the same across logins and restarts."""

    user_id: int
    email: str
    display_name: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginResult:
    """A new session. `repr` does not show the token, so that a logged result does not disclose it."""

    session_token: str = field(repr=False)
    user: User
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ExecutionStatus:
    """The status of an execution.

    Args:
        execution_id: the id of the execution.
        status: `pending`, `running`, `completed`, `failed` or `cancelled`.
        completed: True if the execution has ended, also if it failed or was cancelled.
        failed: True if the execution failed.
        cancelled: True if the execution was cancelled.
        path: the path of the playbook.
        current_step: the name of the current step.
        completed_steps: the names of the completed steps.
        variables: the variables, a JSON value.
        result: the result, a JSON value.
        error: the error text.
    """

    execution_id: str
    status: str
    completed: bool
    failed: bool = False
    cancelled: bool = False
    path: str | None = None
    current_step: str | None = None
    completed_steps: tuple[str, ...] = ()
    variables: Any = None
    result: Any = None
    error: str | None = None


@dataclass(frozen=True, slots=True)
class RunResult:
    """The end of a run.

    Args:
        execution_id: the id of the execution.
        data: what the playbook returned, or what explains the failure; a JSON value.
        error: the text of the failure; None if it completed.
    """

    execution_id: str
    data: Any = None
    error: str | None = None

    @property
    def failed(self) -> bool:
        """True if the run failed, or was cancelled."""
        return self.error is not None


@dataclass(frozen=True, slots=True)
class ExecutionSummary:
    """An entry of the list of executions.

    Args:
        execution_id: the id of the execution.
        status: `pending`, `running`, `completed`, `failed` or `cancelled`.
        path: the path of the playbook.
        start_time: the time of the start.
        end_time: the time of the end; None until the execution has ended.
    """

    execution_id: str
    status: str
    path: str | None = None
    start_time: datetime | None = None
    end_time: datetime | None = None


@dataclass(frozen=True, slots=True)
class ExecutionEvent:
    """An event of an execution.

    Args:
        id: the id, which is the argument `after` of `events`.
        type: the type, such as `step.enter`, `call.done` or `playbook.completed`.
        step: the name of the step, or the path of the playbook.
        status: the status, in lower case.
        at: the time.
        result: the result, a JSON value.
    """

    id: str
    type: str
    step: str | None = None
    status: str | None = None
    at: datetime | None = None
    result: Any = None


@dataclass(frozen=True, slots=True)
class LiveEvent:
    """An event of a client: of an execution that was started with its id.

    Args:
        id: the id, with which `live_events` resumes.
        type: `playbook/result`, `playbook/state` or `playbook/progress`.
        data: the parameters, a JSON value.
    """

    id: str
    type: str
    data: Any


@dataclass(frozen=True, slots=True)
class Playbook:
    """A playbook that the user may view.

    Args:
        name: the path, which is the argument of `execute_playbook`.
        description: the description.
        variables: the variables with their defaults, a JSON value.
        version: the version in the catalog.
        kind: the kind of the resource, such as `Playbook`.
    """

    name: str
    description: str | None = None
    variables: Any = None
    version: int | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class AccessCheck:
    """The result of an access check.

    Args:
        allowed: True if the user has the permission.
        playbook: the path of the playbook.
        permission: the permission.
        user_id: the id of the user.
        message: the message of the gateway.
    """

    allowed: bool
    playbook: str
    permission: str
    user_id: int | None = None
    message: str = ""


class ClientError(Exception):
    """The base class of the client's errors."""


class ConnectionFailed(ClientError):
    """No response: connection refused or reset, timeout, or not HTTP. The gateway may have processed the request."""


class ExecutionTimeout(ClientError):
    """The execution did not end before the timeout. It continues to run."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(execution_id, status)
        self.execution_id = execution_id
        self.status = status

    def __str__(self) -> str:
        return f"Execution {self.execution_id} is still {self.status}"


class IncompleteList(ClientError):
    """There are more entries than the NoETL server lists. The iterator has returned those that it lists."""


class ApiError(ClientError):
    """An error response of the gateway, or a response that can't be parsed.

    Args:
        status: the HTTP status; for a GraphQL error, the equivalent HTTP status.
        message: the error text of the gateway.
        request_id: the id of the request in the gateway's log.
        code: the `extensions.code` of a GraphQL error.
    """

    def __init__(self, status: int, message: str, request_id: str | None = None, code: str | None = None) -> None:
        super().__init__(status, message, request_id, code)
        self.status = status
        self.message = message
        self.request_id = request_id
        self.code = code

    def __str__(self) -> str:
        trace = f" (request {self.request_id})" if self.request_id else ""
        return f"{self.status}: {self.message}{trace}"


class BadRequest(ApiError):
    """400: the input is invalid; the message names the field."""


class Unauthorized(ApiError):
    """401: no session, an ended session, or a rejected Auth0 token. Sign in again."""


class Forbidden(ApiError):
    """403: no access rule allows the request."""


class NotFound(ApiError):
    """404: no such playbook, execution or route."""


class RateLimited(ApiError):
    """429: too many requests.

    Args:
        status: the HTTP status.
        message: the error text of the gateway.
        request_id: the id of the request in the gateway's log.
        code: the `extensions.code` of a GraphQL error.
        retry_after: the seconds to wait before the next request; None if the response did not contain it.
    """

    def __init__(
        self,
        status: int,
        message: str,
        request_id: str | None = None,
        code: str | None = None,
        retry_after: int | None = None,
    ) -> None:
        super().__init__(status, message, request_id, code)
        self.args = (*self.args, retry_after)
        self.retry_after = retry_after


class ServerError(ApiError):
    """5xx: the gateway or the NoETL server failed, is unreachable (502), overloaded (503) or timed out (504)."""
