"""`Client`: sends the calls of `_calls.py` with httpx, and waits for each."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import suppress
from ssl import SSLContext
from types import TracebackType
from typing import Any, TypeVar

import httpx

from proxy.client._calls import Call, Session, error_of, pause
from proxy.client._live import LiveRun, of_status
from proxy.client._pages import Page, Paging, checked_size
from proxy.client._stream import EventStream
from proxy.client._subscription import LiveEvents, StatusStream
from proxy.client._types import (
    AccessCheck,
    ExecutionEvent,
    ExecutionStatus,
    ExecutionSummary,
    LiveEvent,
    LoginResult,
    Playbook,
    RunResult,
    Unauthorized,
    User,
)

T = TypeVar("T")


class Client(Session):
    """A blocking client of the gateway. Use it as a context manager, or call `close()`.

    Args:
        base_url: the url of the gateway.
        session_token: the token of an existing session, to continue it.
        timeout: the maximum time for each step of a request (connect, send, receive the next bytes), in seconds.
        verify: the verification of the server's certificate, as in httpx.
        transport: the transport, as in httpx.

    Raises:
        ValueError: `base_url`, `session_token` or `timeout` is invalid.
    """

    def __init__(
        self,
        base_url: str,
        *,
        session_token: str | None = None,
        timeout: float = 30.0,
        verify: SSLContext | bool = True,
        transport: httpx.BaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, session_token, timeout)
        self._timeout = timeout
        self._http = httpx.Client(base_url=base_url, timeout=timeout, verify=verify, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The session stays valid until it expires or `logout()` ends it."""
        self._http.close()

    def login(self, auth0_token: str, auth0_domain: str | None = None, duration_hours: int = 8) -> LoginResult:
        """Exchange an Auth0 `id_token` for a session, and use this session from then on.

        Args:
            auth0_token: the `id_token`.
            auth0_domain: the domain of the tenant; None: not sent.
            duration_hours: the requested duration of the session, in hours. The gateway may shorten it.

        Raises:
            Unauthorized: the token is rejected.
        """
        result = self._send(self._login_call(auth0_token, auth0_domain, duration_hours))
        self._token = result.session_token
        return result

    def validate_session(self) -> bool:
        """Return True if there is a session that is still valid."""
        return self._token is not None and self._send(self._validate_call(self._token))

    def check_access(self, playbook: str, permission: str = "execute") -> AccessCheck:
        """Return whether the user may use a playbook; `permission` is execute, view, modify or delete."""
        return self._send(self._access_call(playbook, permission))

    def me(self) -> User:
        """Return the signed-in user."""
        return self._send(self._me_call())

    def logout(self, everywhere: bool = False) -> None:
        """End this session, or all sessions of the user (`everywhere`). Ignore a session that has already ended."""
        if self._token is None:
            return
        with suppress(Unauthorized):
            self._send(self._logout_call(everywhere))
        self._token = None

    def execute_playbook(
        self, name: str, variables: Mapping[str, Any] | None = None, client_id: str | None = None
    ) -> str:
        """Start a playbook and return the id of its execution.

        Args:
            name: the playbook.
            variables: its variables.
            client_id: the client that receives the result; see `live_events`.

        Raises:
            Forbidden: no rule allows the user to execute the playbook.
            NotFound: the playbook does not exist.
        """
        return self._send(self._execute_call(name, variables, client_id))

    def run(self, name: str, variables: Mapping[str, Any] | None = None, timeout: float | None = None) -> RunResult:
        """Start a playbook, wait for its end, and return the result, also of a run that failed.

        It waits by events: the result arrives as soon as it is there, also if a worker sends it before the end. A
        stream that breaks is resumed; if none can be opened, the status is polled.

        Args:
            name: the playbook.
            variables: its variables.
            timeout: the maximum time to wait, in seconds; None: no limit.

        Raises:
            ExecutionTimeout: the run did not end in time; it goes on.
            Forbidden: no rule allows the user to execute the playbook.
            NotFound: the playbook does not exist.
        """
        run = LiveRun(name, variables, timeout)
        while not run.must_poll:
            with (
                suppress(httpx.HTTPError),
                self._http.stream(**run.request(self._required_token(), self._timeout)) as response,
            ):
                found = self._follow(run, response)
                if found is not None:
                    return found
            if not run.has_started and run.failures:
                run.started(self._send(self._start_call(run)))
            if not run.must_poll:
                time.sleep(run.pause())
        return of_status(self.wait_for_completion(run.execution_id, timeout=run.remaining()))

    def _follow(self, run: LiveRun, response: httpx.Response) -> RunResult | None:
        """Read a stream to the result, or to its end; start the playbook once it is open."""
        if response.is_error:
            response.read()
        if not run.opened(error_of(response) if response.is_error else None):
            return None
        for text in response.iter_lines():
            event = run.line(text)
            if event is None:
                continue
            if not run.has_started:
                run.started(self._send(self._start_call(run)))
            for found in run.take(event):
                return found
        return None

    def subscribe(self, execution_id: str, timeout: float | None = None) -> Iterator[ExecutionStatus]:
        """Yield the status of an execution: the current one, and each that differs from the one before, up to its end.

        A stream that breaks is opened again; a status that was missed meanwhile is not yielded later.

        Args:
            execution_id: the id of the execution.
            timeout: the maximum time until the end, in seconds; None: no limit.

        Raises:
            ExecutionTimeout: the execution did not end in time; it goes on.
            ConnectionFailed: the stream could not be opened again.
        """
        return self._events(StatusStream(execution_id, timeout))

    def live_events(self, client_id: str, last_event_id: str | None = None) -> Iterator[LiveEvent]:
        """Yield the events of executions that were started with a client's id, without end.

        A stream that breaks is resumed behind the last event, so that none is missed.

        Args:
            client_id: the id of the client: up to 128 letters, digits and the characters . _ : -
            last_event_id: the id of the last event that is known; None: events follow that were never sent.

        Raises:
            Forbidden: the id belongs to another user.
            ConnectionFailed: the stream could not be opened again.
        """
        return self._events(LiveEvents(client_id, last_event_id))

    def _events(self, stream: EventStream[T]) -> Iterator[T]:
        while not stream.over:
            with (
                suppress(httpx.HTTPError),
                self._http.stream(**stream.request(self._required_token(), self._timeout)) as response,
            ):
                if response.is_error:
                    response.read()
                if stream.opened(error_of(response) if response.is_error else None):
                    for text in response.iter_lines():
                        yield from stream.events(text)
                        if stream.over:
                            return
            time.sleep(stream.broken())

    def get_execution_status(self, execution_id: str) -> ExecutionStatus:
        """Return the status of an execution."""
        return self._send(self._status_call(execution_id))

    def wait_for_completion(
        self, execution_id: str, poll_interval: float = 1.0, timeout: float | None = None
    ) -> ExecutionStatus:
        """Request the status until the execution has ended, also if it failed or was cancelled. Return the last status.

        Args:
            execution_id: the id of the execution.
            poll_interval: the seconds between two requests.
            timeout: the maximum time to wait, in seconds; None: no limit. A request in progress is finished first.

        Raises:
            ExecutionTimeout: the execution did not end in time.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (status := self.get_execution_status(execution_id)).completed:
            time.sleep(pause(status, poll_interval, deadline))
        return status

    def cancel_execution(self, execution_id: str, reason: str | None = None) -> ExecutionStatus:
        """Cancel an execution and return its status after that."""
        return self._send(self._cancel_call(execution_id, reason))

    def playbooks(self) -> tuple[Playbook, ...]:
        """Return the playbooks that the user may view."""
        return self._send(self._playbooks_call())

    def executions(
        self, path: str | None = None, status: str | None = None, page_size: int = 100
    ) -> Iterator[ExecutionSummary]:
        """Return an iterator over the executions that the user may view, newest first. It requests page after page.

        Executions that start meanwhile are not among them; each of the others is there once.

        Args:
            path: only executions of this playbook.
            status: only executions with this status.
            page_size: the number of executions of a page, from 1 to 1000.

        Raises:
            ValueError: `page_size` is invalid.
            IncompleteList: at the end, if there may be more executions than the NoETL server lists.
        """
        size = checked_size(page_size)
        return self._all(Paging(), lambda after: self._executions_call(path, status, size, after))

    def events(self, execution_id: str, after: str | None = None, page_size: int = 100) -> Iterator[ExecutionEvent]:
        """Return an iterator over the events of an execution, oldest first. It requests page after page.

        It ends with the newest event, also if the execution runs.

        Args:
            execution_id: the id of the execution.
            after: only events after the one with this id.
            page_size: the number of events of a page, from 1 to 1000.

        Raises:
            ValueError: `page_size` is invalid.
            IncompleteList: at the end, if there were older events that the NoETL server no longer sends.
        """
        size = checked_size(page_size)
        return self._all(Paging(after), lambda place: self._events_call(execution_id, size, place))

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run a GraphQL operation and return `data`.

        Raises:
            ApiError: the first error of the response.
        """
        return self._send(self._graphql_call(query, variables, dict))

    def _all(self, paging: Paging, call: Callable[[str | None], Call[Page[T]]]) -> Iterator[T]:
        goes_on = True
        while goes_on:
            page = self._send(call(paging.after))
            yield from page.entries
            goes_on = paging.advance(page)

    def _send(self, call: Call[T]) -> T:
        try:
            response = self._http.request(**call.arguments())
        except httpx.HTTPError as error:
            raise call.no_response(error) from None
        return call.result(response)
