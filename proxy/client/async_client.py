"""`AsyncClient`: sends the calls of `_calls.py` with httpx, without blocking the event loop."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable, Mapping
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


class AsyncClient(Session):
    """An asynchronous client of the gateway. Use it with `async with`, or call `aclose()`.

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
        transport: httpx.AsyncBaseTransport | None = None,
    ) -> None:
        super().__init__(base_url, session_token, timeout)
        self._timeout = timeout
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, verify=verify, transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """See `Client.close`."""
        await self._http.aclose()

    async def login(self, auth0_token: str, auth0_domain: str | None = None, duration_hours: int = 8) -> LoginResult:
        """See `Client.login`."""
        result = await self._send(self._login_call(auth0_token, auth0_domain, duration_hours))
        self._token = result.session_token
        return result

    async def validate_session(self) -> bool:
        """See `Client.validate_session`."""
        return self._token is not None and await self._send(self._validate_call(self._token))

    async def check_access(self, playbook: str, permission: str = "execute") -> AccessCheck:
        """See `Client.check_access`."""
        return await self._send(self._access_call(playbook, permission))

    async def me(self) -> User:
        """See `Client.me`."""
        return await self._send(self._me_call())

    async def logout(self, everywhere: bool = False) -> None:
        """See `Client.logout`."""
        if self._token is None:
            return
        with suppress(Unauthorized):
            await self._send(self._logout_call(everywhere))
        self._token = None

    async def execute_playbook(
        self, name: str, variables: Mapping[str, Any] | None = None, client_id: str | None = None
    ) -> str:
        """See `Client.execute_playbook`."""
        return await self._send(self._execute_call(name, variables, client_id))

    async def run(
        self, name: str, variables: Mapping[str, Any] | None = None, timeout: float | None = None
    ) -> RunResult:
        """See `Client.run`."""
        run = LiveRun(name, variables, timeout)
        while not run.must_poll:
            stream = self._http.stream(**run.request(self._required_token(), self._timeout))
            with suppress(httpx.HTTPError):
                async with stream as response:
                    found = await self._follow(run, response)
                    if found is not None:
                        return found
            if not run.has_started and run.failures:
                run.started(await self._send(self._start_call(run)))
            if not run.must_poll:
                await asyncio.sleep(run.pause())
        return of_status(await self.wait_for_completion(run.execution_id, timeout=run.remaining()))

    async def _follow(self, run: LiveRun, response: httpx.Response) -> RunResult | None:
        """See `Client._follow`."""
        if response.is_error:
            await response.aread()
        if not run.opened(error_of(response) if response.is_error else None):
            return None
        async for text in response.aiter_lines():
            event = run.line(text)
            if event is None:
                continue
            if not run.has_started:
                run.started(await self._send(self._start_call(run)))
            for found in run.take(event):
                return found
        return None

    def subscribe(self, execution_id: str, timeout: float | None = None) -> AsyncIterator[ExecutionStatus]:
        """See `Client.subscribe`; for `async for`."""
        return self._events(StatusStream(execution_id, timeout))

    def live_events(self, client_id: str, last_event_id: str | None = None) -> AsyncIterator[LiveEvent]:
        """See `Client.live_events`; for `async for`."""
        return self._events(LiveEvents(client_id, last_event_id))

    async def _events(self, stream: EventStream[T]) -> AsyncIterator[T]:
        while not stream.over:
            opening = self._http.stream(**stream.request(self._required_token(), self._timeout))
            with suppress(httpx.HTTPError):
                async with opening as response:
                    if response.is_error:
                        await response.aread()
                    if stream.opened(error_of(response) if response.is_error else None):
                        async for text in response.aiter_lines():
                            for found in stream.events(text):
                                yield found
                            if stream.over:
                                return
            await asyncio.sleep(stream.broken())

    async def get_execution_status(self, execution_id: str) -> ExecutionStatus:
        """See `Client.get_execution_status`."""
        return await self._send(self._status_call(execution_id))

    async def wait_for_completion(
        self, execution_id: str, poll_interval: float = 1.0, timeout: float | None = None
    ) -> ExecutionStatus:
        """See `Client.wait_for_completion`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        # The execution ends in another process, so polling is the only way to wait.
        while not (status := await self.get_execution_status(execution_id)).completed:  # noqa: ASYNC110
            await asyncio.sleep(pause(status, poll_interval, deadline))
        return status

    async def cancel_execution(self, execution_id: str, reason: str | None = None) -> ExecutionStatus:
        """See `Client.cancel_execution`."""
        return await self._send(self._cancel_call(execution_id, reason))

    async def playbooks(self) -> tuple[Playbook, ...]:
        """See `Client.playbooks`."""
        return await self._send(self._playbooks_call())

    def executions(
        self, path: str | None = None, status: str | None = None, page_size: int = 100
    ) -> AsyncIterator[ExecutionSummary]:
        """See `Client.executions`; for `async for`."""
        size = checked_size(page_size)
        return self._all(Paging(), lambda after: self._executions_call(path, status, size, after))

    def events(
        self, execution_id: str, after: str | None = None, page_size: int = 100
    ) -> AsyncIterator[ExecutionEvent]:
        """See `Client.events`; for `async for`."""
        size = checked_size(page_size)
        return self._all(Paging(after), lambda place: self._events_call(execution_id, size, place))

    async def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """See `Client.graphql`."""
        return await self._send(self._graphql_call(query, variables, dict))

    async def _all(self, paging: Paging, call: Callable[[str | None], Call[Page[T]]]) -> AsyncIterator[T]:
        goes_on = True
        while goes_on:
            page = await self._send(call(paging.after))
            for entry in page.entries:
                yield entry
            goes_on = paging.advance(page)

    async def _send(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(**call.arguments())
        except httpx.HTTPError as error:
            raise call.no_response(error) from None
        return call.result(response)
