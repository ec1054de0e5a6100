"""What `proxy.client` gives back and what it raises. Import both from there, where the errors' tree stands."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import datetime
from typing import Any


@dataclass(frozen=True, slots=True)
class User:
    """Who is signed in. `user_id` is stable over logins and restarts."""

    user_id: int
    email: str
    display_name: str
    roles: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class LoginResult:
    """A new session. The token is left out of `repr`, so a logged result does not give the session away."""

    session_token: str = field(repr=False)
    user: User
    expires_at: datetime


@dataclass(frozen=True, slots=True)
class ExecutionStatus:
    """How far an execution is.

    `status` is `pending`, `running`, `completed`, `failed` or `cancelled`. `completed` is true once the execution has
    ended in any way; `failed` and `cancelled` say how. `variables` and `result` are JSON values.
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
class Playbook:
    """A playbook that the user may see; `name` is what `execute_playbook` takes, `variables` are its defaults."""

    name: str
    description: str | None = None
    variables: Any = None
    version: int | None = None
    kind: str | None = None


@dataclass(frozen=True, slots=True)
class AccessCheck:
    """Whether the user may do `permission` with `playbook`, and what the gateway says about it."""

    allowed: bool
    playbook: str
    permission: str
    user_id: int | None = None
    message: str = ""


class ClientError(Exception):
    """Base of everything that the client raises on purpose."""


class ConnectionFailed(ClientError):
    """No answer came: refused, reset, timed out, or not HTTP. Whether the gateway acted on the request is unknown."""


class ExecutionTimeout(ClientError):
    """The execution had not ended in the time that the caller allowed. It goes on without us."""

    def __init__(self, execution_id: str, status: str) -> None:
        super().__init__(execution_id, status)
        self.execution_id = execution_id
        self.status = status

    def __str__(self) -> str:
        return f"Execution {self.execution_id} is still {self.status}"


class ApiError(ClientError):
    """The gateway answered with an error, by HTTP status or within GraphQL.

    `status` is the HTTP status (of a GraphQL error: the one it stands for), `message` the gateway's text, `request_id`
    what finds the request in the gateway's log, `code` GraphQL's `extensions.code`. An answer that the client cannot
    read is an `ApiError` too, with the status it came with.
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
    """400: the input is wrong; the message names the field."""


class Unauthorized(ApiError):
    """401: no session, an ended one, or an Auth0 token that was refused. Sign in again."""


class Forbidden(ApiError):
    """403: signed in, but no rule allows it."""


class NotFound(ApiError):
    """404: no such playbook, execution or route."""


class RateLimited(ApiError):
    """429: too many requests. `retry_after` is in seconds, None if the gateway did not say."""

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
    """5xx: the gateway or the NoETL server behind it failed, is unreachable (502), full (503) or late (504)."""
