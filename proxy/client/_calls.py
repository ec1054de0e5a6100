"""The client's operations as values: the request to send, and how to parse its response. Without I/O.

Private to `proxy.client`, whose two clients send these calls.
"""

from __future__ import annotations

import re
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Generic, TypeVar

import httpx

from proxy.client._live import START, LiveRun
from proxy.client._pages import EVENTS, EXECUTIONS, Page, events_page, executions_page
from proxy.client._types import (
    AccessCheck,
    ApiError,
    BadRequest,
    ConnectionFailed,
    ExecutionEvent,
    ExecutionStatus,
    ExecutionSummary,
    ExecutionTimeout,
    Forbidden,
    LoginResult,
    NotFound,
    Playbook,
    RateLimited,
    ServerError,
    Unauthorized,
    User,
)

T = TypeVar("T")

_TOKEN = re.compile(r"[!-~]+")
_BY_STATUS: dict[int, type[ApiError]] = {400: BadRequest, 401: Unauthorized, 403: Forbidden, 404: NotFound}
_STATUS_OF_CODE = {
    "BAD_USER_INPUT": 400,
    "UNAUTHENTICATED": 401,
    "FORBIDDEN": 403,
    "NOT_FOUND": 404,
    "LIMIT_EXCEEDED": 429,
    "INTERNAL": 500,
    "UPSTREAM_UNAVAILABLE": 502,
    "UPSTREAM_TIMEOUT": 504,
}
STATUS_FIELDS = "executionId path status completed failed cancelled currentStep completedSteps variables result error"
_EXECUTE = (
    "mutation ExecutePlaybook($name: String!, $vars: JSON!) "
    "{ executePlaybook(name: $name, variables: $vars) { executionId status } }"
)
_GET_STATUS = f"query GetStatus($id: String!) {{ executionStatus(executionId: $id) {{ {STATUS_FIELDS} }} }}"
_CANCEL = (
    "mutation Cancel($id: String!, $reason: String) "
    f"{{ cancelExecution(executionId: $id, reason: $reason) {{ {STATUS_FIELDS} }} }}"
)
_LIST_PLAYBOOKS = "query ListPlaybooks { playbooks { name description variables version kind } }"


@dataclass(frozen=True, slots=True)
class Call(Generic[T]):
    """One request, and how to parse its response.

    Args:
        method: the HTTP method.
        path: the path of the request.
        read: returns the operation's value for the JSON body of the response.
        body: the JSON body of the request.
        token: the session token that is sent.
        secrets: texts that must not appear in errors.
    """

    method: str
    path: str
    read: Callable[[Any], T]
    body: Mapping[str, Any] | None = field(default=None, repr=False)
    token: str | None = field(default=None, repr=False)
    secrets: tuple[str, ...] = field(default=(), repr=False)

    def arguments(self) -> dict[str, Any]:
        """Return the arguments of httpx's `request`."""
        headers = {"accept": "application/json"}
        if self.token is not None:
            headers["authorization"] = f"Bearer {self.token}"
        return {"method": self.method, "url": self.path, "json": self.body, "headers": headers}

    def result(self, response: httpx.Response) -> T:
        """Return the operation's value from a response.

        Raises:
            ApiError: the response is an error, or can't be parsed.
        """
        request_id = response.headers.get("x-request-id")
        content = _json(response)
        error = _error_in(response, content)
        if error is not None:
            raise self._without_secrets(error)
        try:
            return self.read(content)
        except (KeyError, TypeError, ValueError, AttributeError):
            raise ApiError(
                response.status_code, "The response is not a valid response of the gateway", request_id
            ) from None

    def no_response(self, error: httpx.HTTPError) -> ConnectionFailed:
        """Return the error of a request without a response."""
        return ConnectionFailed(self._hide(f"No response from the gateway: {type(error).__name__}: {error}"))

    def _without_secrets(self, error: ApiError) -> ApiError:
        error.message = self._hide(error.message)
        error.args = (error.status, error.message, *error.args[2:])
        return error

    def _hide(self, text: str) -> str:
        for secret in (*self.secrets, *filter(None, [self.token])):
            text = text.replace(secret, "[hidden]")
        return text


def error_of(response: httpx.Response) -> ApiError | None:
    """Return the error that a response is; None if it is none."""
    return _error_in(response, _json(response))


def _json(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


def error_in_answer(content: Any) -> ApiError | None:
    """Return the error in a GraphQL answer that came on a stream; None if it has none."""
    return _graphql_error(content, 200, httpx.Headers(), "")


def _error_in(response: httpx.Response, content: Any) -> ApiError | None:
    status, headers, phrase = response.status_code, response.headers, response.reason_phrase
    error = _graphql_error(content, status, headers, phrase)
    if error is not None or response.is_success:
        return error
    message = str(content.get("error", "")) if isinstance(content, dict) else ""
    return _api_error(status, message or phrase or "Error", headers, None)


def _graphql_error(content: Any, status: int, headers: httpx.Headers, phrase: str) -> ApiError | None:
    errors = content.get("errors") if isinstance(content, dict) else None
    first = errors[0] if isinstance(errors, list) and errors else None
    if not isinstance(first, dict):
        return None
    found = first.get("extensions")
    extensions = found if isinstance(found, dict) else {}
    message = str(first.get("message", "")) or phrase or "Error"
    return _api_error(_graphql_status(extensions, status), message, headers, extensions.get("code"))


def _graphql_status(extensions: Mapping[str, Any], http_status: int) -> int:
    """Return the status of a GraphQL error: its own, else that of its code, else that of the response, else 400."""
    given = extensions.get("status")
    if isinstance(given, int) and not isinstance(given, bool):
        return given
    return _STATUS_OF_CODE.get(str(extensions.get("code")), http_status if http_status >= 400 else 400)


def _api_error(status: int, message: str, headers: httpx.Headers, code: Any) -> ApiError:
    request_id = headers.get("x-request-id")
    code = code if isinstance(code, str) else None
    if status == 429:
        wait = headers.get("retry-after", "")
        seconds = int(wait) if wait.isascii() and wait.isdigit() else None
        return RateLimited(status, message, request_id, code, seconds)
    kind = _BY_STATUS.get(status, ServerError if status >= 500 else ApiError)
    return kind(status, message, request_id, code)


def _user(data: Mapping[str, Any]) -> User:
    return User(int(data["user_id"]), data["email"], data["display_name"], tuple(data.get("roles") or ()))


def _login_result(data: Mapping[str, Any]) -> LoginResult:
    token = _checked(data["session_token"], "session token")
    return LoginResult(token, _user(data["user"]), datetime.fromisoformat(data["expires_at"]))


def status_of(data: Mapping[str, Any]) -> ExecutionStatus:
    return ExecutionStatus(
        execution_id=str(data["executionId"]),
        status=data["status"],
        completed=data["completed"] is True,
        failed=data["failed"] is True,
        cancelled=data["cancelled"] is True,
        path=data.get("path"),
        current_step=data.get("currentStep"),
        completed_steps=tuple(data.get("completedSteps") or ()),
        variables=data.get("variables"),
        result=data.get("result"),
        error=data.get("error"),
    )


def _playbook(data: Mapping[str, Any]) -> Playbook:
    return Playbook(data["name"], data.get("description"), data.get("variables"), data.get("version"), data.get("kind"))


def _access(data: Mapping[str, Any], playbook: str, permission: str) -> AccessCheck:
    message = data.get("message") or ""
    return AccessCheck(data["allowed"] is True, playbook, permission, data.get("user_id"), message)


def _checked(token: str, what: str) -> str:
    # If a header contains a control character, the error of the transport quotes the header with the token.
    if not _TOKEN.fullmatch(token):
        raise ValueError(f"The {what} is empty or contains characters that are invalid in a token")
    return token


def pause(status: ExecutionStatus, interval: float, deadline: float | None) -> float:
    """Return the seconds until the next request for the status of an execution that has not ended.

    Args:
        status: the last status.
        interval: the seconds between requests.
        deadline: the time on the monotonic clock at which to stop; None: never.

    Raises:
        ExecutionTimeout: the deadline has passed.
    """
    if deadline is None:
        return interval
    remaining = deadline - time.monotonic()
    if remaining <= 0:
        raise ExecutionTimeout(status.execution_id, status.status)
    return min(interval, remaining)


class Session:
    """The common base of both clients: the url of the gateway, the session token, and the operations as calls."""

    def __init__(self, base_url: str, session_token: str | None, timeout: float) -> None:
        url = httpx.URL(base_url)
        if url.scheme not in ("http", "https") or not url.host:
            raise ValueError("base_url must be a http:// or https:// address")
        if not timeout > 0:
            raise ValueError("timeout must be a positive number of seconds")
        self._url = url
        self._token = None if session_token is None else _checked(session_token, "session token")

    def __repr__(self) -> str:
        state = "signed in" if self._token else "signed out"
        return f"<{type(self).__name__} {self._url.scheme}://{self._url.netloc.decode('ascii')} {state}>"

    @property
    def session_token(self) -> str | None:
        """Return the token of the session in use; keep it secret. A new client continues the session with it."""
        return self._token

    def _required_token(self) -> str:
        if self._token is None:
            raise Unauthorized(401, "Not signed in: call login() first")
        return self._token

    def _login_call(self, auth0_token: str, auth0_domain: str | None, hours: int) -> Call[LoginResult]:
        body: dict[str, Any] = {"auth0_token": _checked(auth0_token, "Auth0 token"), "session_duration_hours": hours}
        if auth0_domain is not None:
            body["auth0_domain"] = auth0_domain
        return Call("POST", "/api/auth/login", _login_result, body, secrets=(auth0_token,))

    def _validate_call(self, token: str) -> Call[bool]:
        body = {"session_token": token}
        return Call("POST", "/api/auth/validate", lambda data: data["valid"] is True, body, secrets=(token,))

    def _access_call(self, playbook: str, permission: str) -> Call[AccessCheck]:
        token = self._required_token()
        body = {"session_token": token, "playbook_name": playbook, "permission_type": permission}
        return Call(
            "POST",
            "/api/auth/check-access",
            lambda data: _access(data, playbook, permission),
            body,
            secrets=(token,),
        )

    def _logout_call(self, everywhere: bool) -> Call[None]:
        return Call("POST", "/api/auth/logout", lambda data: None, {"everywhere": everywhere}, self._required_token())

    def _me_call(self) -> Call[User]:
        return Call("GET", "/api/auth/me", lambda data: _user(data["user"]), None, self._required_token())

    def _graphql_call(
        self, query: str, variables: Mapping[str, Any] | None, read: Callable[[dict[str, Any]], T]
    ) -> Call[T]:
        return self._document_call(query, variables, lambda content: read(content["data"]))

    def _document_call(self, query: str, variables: Mapping[str, Any] | None, read: Callable[[Any], T]) -> Call[T]:
        body = {"query": query, "variables": dict(variables or {})}
        return Call("POST", "/graphql", read, body, self._required_token())

    def _execute_call(self, name: str, variables: Mapping[str, Any] | None, client_id: str | None) -> Call[str]:
        arguments: dict[str, Any] = {"name": name, "vars": dict(variables or {})}
        document = _EXECUTE
        if client_id is not None:
            document, arguments["client"] = START, client_id
        return self._graphql_call(document, arguments, lambda data: str(data["executePlaybook"]["executionId"]))

    def _start_call(self, run: LiveRun) -> Call[Mapping[str, Any]]:
        return self._graphql_call(START, run.variables, lambda data: dict(data["executePlaybook"]))

    def _status_call(self, execution_id: str) -> Call[ExecutionStatus]:
        return self._graphql_call(_GET_STATUS, {"id": execution_id}, lambda data: status_of(data["executionStatus"]))

    def _cancel_call(self, execution_id: str, reason: str | None) -> Call[ExecutionStatus]:
        arguments = {"id": execution_id, "reason": reason}
        return self._graphql_call(_CANCEL, arguments, lambda data: status_of(data["cancelExecution"]))

    def _playbooks_call(self) -> Call[tuple[Playbook, ...]]:
        return self._graphql_call(
            _LIST_PLAYBOOKS, None, lambda data: tuple(_playbook(entry) for entry in data["playbooks"])
        )

    def _executions_call(
        self, path: str | None, status: str | None, page_size: int, after: str | None
    ) -> Call[Page[ExecutionSummary]]:
        arguments = {"path": path, "status": status, "first": page_size, "after": after}
        return self._document_call(EXECUTIONS, arguments, executions_page(page_size))

    def _events_call(self, execution_id: str, page_size: int, after: str | None) -> Call[Page[ExecutionEvent]]:
        arguments = {"id": execution_id, "first": page_size, "after": after}
        return self._document_call(EVENTS, arguments, events_page(page_size))
