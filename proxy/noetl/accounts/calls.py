"""Login, validation of a session and a check of access at NoETL: in the server's own process, or by a playbook.

The server's own endpoints are preferred: they answer in milliseconds. A server without them runs a playbook, whose
worker calls the gateway back; if it does not in time, the execution is cancelled. No answer and no token is logged.
"""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, TypeVar

from proxy.errors import BadGateway, BadRequest, GatewayError, NotFound, Unavailable
from proxy.http.json import parse_json
from proxy.noetl.accounts.answers import (
    NoetlLogin,
    NoetlSession,
    Refused,
    UnreadableAnswer,
    read_access,
    read_login,
    read_validation,
    reason_of,
)
from proxy.noetl.accounts.callbacks import AuthCallbacks
from proxy.noetl.api import NoetlApi
from proxy.noetl.on_behalf import OnBehalf
from proxy.observe.logs import get_logger

_ASK_AGAIN = 300.0
"""After how many seconds a server that had no endpoint of its own is asked again, as it may have been replaced."""
_CANCEL_SECONDS = 5.0
_NO_ADDRESS = "0.0.0.0"  # noqa: S104 - what NoETL stores for an unknown address
T = TypeVar("T")


class AuthCall(StrEnum):
    """What NoETL is asked, with the endpoint of its own process."""

    LOGIN = "login"
    VALIDATE = "validate"
    CHECK_ACCESS = "check_access"


_ENDPOINTS = {
    AuthCall.LOGIN: "/api/auth/login",
    AuthCall.VALIDATE: "/api/auth/session/validate",
    AuthCall.CHECK_ACCESS: "/api/auth/check-playbook-access",
}


@dataclass(frozen=True, slots=True)
class AuthSettings:
    """The settings of `auth.playbooks`.

    Args:
        playbooks: the path of the playbook of each call.
        credential: the name by which NoETL knows its database of users.
        timeout: seconds to wait for an answer.
        gateway_url: where workers reach the gateway.
    """

    playbooks: Mapping[AuthCall, str]
    credential: str
    timeout: float
    gateway_url: str


@dataclass(frozen=True, slots=True)
class LoginRequest:
    """What NoETL needs for a login. `hours` is the lifetime that is asked for."""

    token: str
    domain: str
    refresh_token: str
    hours: float
    ip: str
    user_agent: str

    def __repr__(self) -> str:
        return f"LoginRequest({self.domain})"


class AuthCalls:
    """Asks NoETL. `counts` has the calls by their kind, the way (`process` or `playbook`) and their outcome."""

    def __init__(
        self,
        api: NoetlApi,
        callbacks: AuthCallbacks,
        settings: AuthSettings,
        counts: Counter[tuple[str, str, str]],
    ) -> None:
        self._api = api
        self._callbacks = callbacks
        self._settings = settings
        self._counts = counts
        self._absent: dict[AuthCall, float] = {}
        self._cancelling: set[asyncio.Task[None]] = set()

    async def login(self, wanted: LoginRequest, on_behalf: OnBehalf) -> NoetlLogin:
        """Sign a user in.

        Raises:
            Refused: NoETL refuses the token.
            GatewayError: there is no usable answer, or none in time.
        """
        ip = _address(wanted.ip)
        body = {"auth0_token": wanted.token, "auth0_domain": wanted.domain, "client_ip": ip}
        workload = {
            **body,
            "auth0_refresh_token": wanted.refresh_token,
            "session_duration_hours": _whole(wanted.hours),
            "client_user_agent": wanted.user_agent,
        }
        return await self._call(AuthCall.LOGIN, body, workload, read_login, on_behalf)

    async def validate(self, token: str, on_behalf: OnBehalf) -> NoetlSession | None:
        """Return the session of a token; None if NoETL has no such session. Raises GatewayError without an answer."""
        body = {"session_token": token}
        workload = {**body, "db_credential": self._settings.credential}
        return await self._call(AuthCall.VALIDATE, body, workload, read_validation, on_behalf)

    async def check_access(self, token: str, path: str, action: str, on_behalf: OnBehalf) -> tuple[bool, str]:
        """Return whether a user may do something with a playbook, and NoETL's message. Raises GatewayError."""
        body = {"session_token": token, "playbook_path": path, "action": action}
        return await self._call(AuthCall.CHECK_ACCESS, body, body, read_access, on_behalf)

    async def _call(
        self,
        call: AuthCall,
        body: dict[str, Any],
        workload: dict[str, Any],
        read: Callable[[Any], T],
        on_behalf: OnBehalf,
    ) -> T:
        way = "process" if self._has_endpoint(call) else "playbook"
        outcome = "error"
        try:
            async with asyncio.timeout(self._settings.timeout):
                found = await self._in_process(call, body, on_behalf) if way == "process" else None
                if found is None:
                    way = "playbook"
                    found = await self._by_playbook(call, workload, on_behalf)
            result = read(found)
            outcome = "answered"
            return result
        except Refused:
            outcome = "refused"
            raise
        except UnreadableAnswer as error:
            outcome = "unreadable"
            raise BadGateway("NoETL sent an unexpected answer", detail=f"{call} by {way}: {error}") from None
        except TimeoutError:
            outcome = "timeout"
            text = "NoETL did not answer in time"
            raise Unavailable(text, detail=f"{call} by {way}: none in {self._settings.timeout:g} s") from None
        finally:
            self._counts[(call.value, way, outcome)] += 1

    # In the process of the server

    def _has_endpoint(self, call: AuthCall) -> bool:
        """Return True unless the server has said lately that it has no such endpoint."""
        return time.monotonic() >= self._absent.get(call, 0.0)

    async def _in_process(self, call: AuthCall, body: dict[str, Any], on_behalf: OnBehalf) -> Any:
        """Return the answer of the server's own endpoint; None if it has none. Raises GatewayError."""
        wanted = {**body, "credential": self._settings.credential}
        status, data = await self._api.send("POST", _ENDPOINTS[call], on_behalf, wanted)
        if status in (404, 405):
            self._absent[call] = time.monotonic() + _ASK_AGAIN
            return None
        try:
            document = parse_json(data) if status == 200 else None
        except BadRequest:
            document = None
        if not isinstance(document, dict):
            detail = f"{_ENDPOINTS[call]} answered {status}{'' if status != 200 else ', not a JSON object'}"
            raise Unavailable("NoETL can't sign users in just now", detail=detail)
        if call is AuthCall.LOGIN and document.get("status") == "error":
            raise Refused(reason_of(document.get("data")))
        if document.get("status") not in ("ok", "success"):
            raise Unavailable("NoETL can't sign users in just now", detail=f"{call}: {reason_of(document, 'an error')}")
        return document if call is AuthCall.VALIDATE else document.get("data")

    # By a playbook

    async def _by_playbook(self, call: AuthCall, workload: dict[str, Any], on_behalf: OnBehalf) -> Any:
        """Return the data of the callback of a playbook. Raises as `_call`."""
        path = self._settings.playbooks[call]
        with self._callbacks.expect() as (request_id, callback):
            sent = {
                **workload,
                "request_id": request_id,
                "gateway_url": self._settings.gateway_url,
                "callback_subject": "",
            }
            try:
                started = await self._api.execute(path, sent, "playbook", on_behalf)
            except NotFound:
                text = "NoETL has no playbook to sign users in with"
                raise BadGateway(text, detail=f"{path} is not in NoETL's catalog") from None
            except GatewayError as error:
                error.detail = f"start of {path}: {type(error).__name__}"  # the text may repeat the token
                raise
            try:
                document = await callback
            except asyncio.CancelledError:
                self._cancel_soon(started.execution_id, path, on_behalf)
                raise
        return _data_of(document, call)

    def _cancel_soon(self, execution_id: str, path: str, on_behalf: OnBehalf) -> None:
        """Cancel an execution for whose answer nobody waits any more."""
        task = asyncio.get_running_loop().create_task(self._cancel(execution_id, path, on_behalf))
        self._cancelling.add(task)
        task.add_done_callback(self._cancelling.discard)

    async def _cancel(self, execution_id: str, path: str, on_behalf: OnBehalf) -> None:
        try:
            async with asyncio.timeout(_CANCEL_SECONDS):
                await self._api.cancel(execution_id, "The gateway does not wait any longer", on_behalf, cascade=True)
        except (GatewayError, TimeoutError) as error:
            self._counts[("cancel", "playbook", "error")] += 1
            get_logger().warning("auth.cancel_failed", execution_id=execution_id, playbook=path, reason=str(error))


def _data_of(document: Any, call: AuthCall) -> Any:
    """Return the data of a callback. Raises Refused, or UnreadableAnswer."""
    status = document.get("status")
    if status == "success":
        return document.get("data")
    if status != "error":
        raise UnreadableAnswer("the callback has no status")
    reason = reason_of(document.get("data"))
    if call is AuthCall.LOGIN:
        raise Refused(reason)
    raise UnreadableAnswer(f"the playbook failed: {reason}")


def _address(text: str) -> str:
    """Return a client address as NoETL accepts it."""
    try:
        return str(ip_address(text))
    except ValueError:
        return _NO_ADDRESS


def _whole(hours: float) -> int:
    """Return a number of hours as NoETL accepts it: a whole one, rounded up."""
    return max(1, -int(-hours // 1))
