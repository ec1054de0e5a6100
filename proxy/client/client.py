"""`Client`, which blocks, and `AsyncClient`, which awaits: they send the calls of `_calls.py` over httpx."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping
from contextlib import suppress
from ssl import SSLContext
from types import TracebackType
from typing import Any, TypeVar

import httpx

from proxy.client._calls import Call, Session, pause
from proxy.client._types import (
    AccessCheck,
    ExecutionStatus,
    LoginResult,
    Playbook,
    Unauthorized,
    User,
)

T = TypeVar("T")


class Client(Session):
    """A gateway client that blocks. Use it as a context manager, or call `close()`.

    `timeout` (seconds) bounds each wait of a request: to connect, to send, for the next bytes of the answer.
    `session_token` goes on with an earlier session. `verify` and `transport` are httpx's.
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
        self._http = httpx.Client(base_url=base_url, timeout=timeout, verify=verify, transport=transport)

    def __enter__(self) -> Client:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the connections. The session goes on until it expires or `logout()` ends it."""
        self._http.close()

    def login(self, auth0_token: str, auth0_domain: str | None = None, duration_hours: int = 8) -> LoginResult:
        """Trade an Auth0 `id_token` for a session and use it from here on. The gateway may shorten the duration.

        Raises `Unauthorized` if the token is refused.
        """
        result = self._send(self._login_call(auth0_token, auth0_domain, duration_hours))
        self._token = result.session_token
        return result

    def validate_session(self) -> bool:
        """Whether there is a session and the gateway still knows it."""
        return self._token is not None and self._send(self._validate_call(self._token))

    def check_access(self, playbook: str, permission: str = "execute") -> AccessCheck:
        """What the access list says; `permission` is execute, view, modify or delete."""
        return self._send(self._access_call(playbook, permission))

    def me(self) -> User:
        """Who is signed in."""
        return self._send(self._me_call())

    def logout(self, everywhere: bool = False) -> None:
        """End this session, or all of the user's. A session that had ended already is no error."""
        if self._token is None:
            return
        with suppress(Unauthorized):
            self._send(self._logout_call(everywhere))
        self._token = None

    def execute_playbook(self, name: str, variables: Mapping[str, Any] | None = None) -> str:
        """Start a playbook; returns the execution id. Raises `Forbidden` or `NotFound`."""
        return self._send(self._execute_call(name, variables))

    def get_execution_status(self, execution_id: str) -> ExecutionStatus:
        """How far an execution is."""
        return self._send(self._status_call(execution_id))

    def wait_for_completion(
        self, execution_id: str, poll_interval: float = 1.0, timeout: float | None = None
    ) -> ExecutionStatus:
        """Look every `poll_interval` seconds until the execution has ended, well or badly.

        After `timeout` seconds (None: never) raises `ExecutionTimeout`; a look under way is finished first.
        """
        deadline = None if timeout is None else time.monotonic() + timeout
        while not (status := self.get_execution_status(execution_id)).completed:
            time.sleep(pause(status, poll_interval, deadline))
        return status

    def cancel_execution(self, execution_id: str, reason: str | None = None) -> ExecutionStatus:
        """Stop an execution; returns how it stands after that."""
        return self._send(self._cancel_call(execution_id, reason))

    def playbooks(self) -> tuple[Playbook, ...]:
        """The playbooks that the user may see."""
        return self._send(self._playbooks_call())

    def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """Run any GraphQL operation; returns `data`. An answer with errors raises the first of them."""
        return self._send(self._graphql_call(query, variables, dict))

    def _send(self, call: Call[T]) -> T:
        try:
            response = self._http.request(**call.arguments())
        except httpx.HTTPError as error:
            raise call.no_answer(error) from None
        return call.result(response)


class AsyncClient(Session):
    """A gateway client that awaits; otherwise as `Client`. Use it with `async with`, or call `aclose()`."""

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
        self._http = httpx.AsyncClient(base_url=base_url, timeout=timeout, verify=verify, transport=transport)

    async def __aenter__(self) -> AsyncClient:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.aclose()

    async def aclose(self) -> None:
        """As `Client.close`."""
        await self._http.aclose()

    async def login(self, auth0_token: str, auth0_domain: str | None = None, duration_hours: int = 8) -> LoginResult:
        """As `Client.login`."""
        result = await self._send(self._login_call(auth0_token, auth0_domain, duration_hours))
        self._token = result.session_token
        return result

    async def validate_session(self) -> bool:
        """As `Client.validate_session`."""
        return self._token is not None and await self._send(self._validate_call(self._token))

    async def check_access(self, playbook: str, permission: str = "execute") -> AccessCheck:
        """As `Client.check_access`."""
        return await self._send(self._access_call(playbook, permission))

    async def me(self) -> User:
        """As `Client.me`."""
        return await self._send(self._me_call())

    async def logout(self, everywhere: bool = False) -> None:
        """As `Client.logout`."""
        if self._token is None:
            return
        with suppress(Unauthorized):
            await self._send(self._logout_call(everywhere))
        self._token = None

    async def execute_playbook(self, name: str, variables: Mapping[str, Any] | None = None) -> str:
        """As `Client.execute_playbook`."""
        return await self._send(self._execute_call(name, variables))

    async def get_execution_status(self, execution_id: str) -> ExecutionStatus:
        """As `Client.get_execution_status`."""
        return await self._send(self._status_call(execution_id))

    async def wait_for_completion(
        self, execution_id: str, poll_interval: float = 1.0, timeout: float | None = None
    ) -> ExecutionStatus:
        """As `Client.wait_for_completion`."""
        deadline = None if timeout is None else time.monotonic() + timeout
        # Another process ends the execution, so there is nothing to wait on but the clock.
        while not (status := await self.get_execution_status(execution_id)).completed:  # noqa: ASYNC110
            await asyncio.sleep(pause(status, poll_interval, deadline))
        return status

    async def cancel_execution(self, execution_id: str, reason: str | None = None) -> ExecutionStatus:
        """As `Client.cancel_execution`."""
        return await self._send(self._cancel_call(execution_id, reason))

    async def playbooks(self) -> tuple[Playbook, ...]:
        """As `Client.playbooks`."""
        return await self._send(self._playbooks_call())

    async def graphql(self, query: str, variables: Mapping[str, Any] | None = None) -> dict[str, Any]:
        """As `Client.graphql`."""
        return await self._send(self._graphql_call(query, variables, dict))

    async def _send(self, call: Call[T]) -> T:
        try:
            response = await self._http.request(**call.arguments())
        except httpx.HTTPError as error:
            raise call.no_answer(error) from None
        return call.result(response)
