"""Callbacks of auth playbooks: who waits for which, in this process, and a way to the other processes.

The worker of a playbook posts its answer to any process of the gateway. One that does not wait for it sends it to the
others, and the one that waits says so. An answer counts once.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from proxy.errors import Unavailable
from proxy.http.json import read_json, write_json
from proxy.peer_messages import PeerMessages

MAX_WAITING = 2000
"""The most callbacks that a process waits for at once."""
_ANSWER, _TAKEN = "auth-callback", "auth-callback-taken"
_SECONDS = 0.5
"""How long another process has to say that it waits for a callback."""


class AuthCallbacks:
    """The callbacks that are waited for. The state of a process: a reload changes nothing here."""

    def __init__(self, messages: PeerMessages) -> None:
        self._messages = messages
        self._waiting: dict[str, asyncio.Future[Any]] = {}
        self._passed_on: dict[str, asyncio.Future[None]] = {}
        messages.handle(_ANSWER, self._accept)
        messages.handle(_TAKEN, self._taken)

    @contextmanager
    def expect(self) -> Iterator[tuple[str, asyncio.Future[Any]]]:
        """Wait for a callback: the id of the request, and a future with the body of the callback.

        Raises Unavailable if too many wait.
        """
        if len(self._waiting) >= MAX_WAITING:
            raise Unavailable("Too many logins are under way", detail=f"{MAX_WAITING} auth playbooks are running")
        request_id = str(uuid.uuid4())
        future = self._waiting[request_id] = asyncio.get_running_loop().create_future()
        try:
            yield request_id, future
        finally:
            del self._waiting[request_id]

    async def deliver(self, request_id: str, document: Any) -> bool:
        """Give the body of a callback to who waits for it; return False if nobody does, or has an answer already."""
        if request_id in self._waiting:
            return self._give(request_id, document)
        if self._messages.alone or request_id in self._passed_on or len(self._passed_on) >= MAX_WAITING:
            return False
        taken = self._passed_on[request_id] = asyncio.get_running_loop().create_future()
        try:
            self._messages.send(_ANSWER, write_json([request_id, document]))
            async with asyncio.timeout(_SECONDS):
                await taken
            return True
        except TimeoutError:
            return False
        finally:
            del self._passed_on[request_id]

    def _give(self, request_id: str, document: Any) -> bool:
        future = self._waiting.get(request_id)
        if future is None or future.done():
            return False
        future.set_result(document)
        return True

    def _accept(self, payload: bytes) -> None:
        """Accept a callback that came to another process."""
        request_id, document = read_json(payload)
        if self._give(request_id, document):
            self._messages.send(_TAKEN, request_id.encode())

    def _taken(self, payload: bytes) -> None:
        future = self._passed_on.get(payload.decode())
        if future is not None and not future.done():
            future.set_result(None)
