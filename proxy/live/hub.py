"""The clients of event streams and the requests that they wait for: what the store keeps, and this process's streams.

What arrives for a client is stored first, and then every process that has a stream of the client is woken. Results are
never dropped to make room: a callback for which there is none is refused, so that its sender can repeat it.
"""

from __future__ import annotations

import asyncio
import re
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any, Protocol

from proxy.errors import BadRequest, Forbidden, NotFound, Unavailable
from proxy.live.messages import PROGRESS, STATE, Waiting, failure, notification, state, success
from proxy.sessions.live import RESULT, LiveStore, NoRoom, StoredRequest
from proxy.sessions.live_memory import MemoryLive

_KEPT_FACTOR = 4
_PAUSES = (0.02, 0.05, *[0.1] * 50)
"""How long a callback waits for the response to the start of its execution, in seconds."""
MAX_RESULT = 5 * 1024**2
"""The largest body of a callback, in bytes."""
_CLIENT_ID = re.compile(r"[A-Za-z0-9._:-]{1,128}")


@dataclass(frozen=True, slots=True)
class LiveSettings:
    """What the `live` block sets.

    Args:
        heartbeat: seconds between two pings.
        request_lifetime: seconds for which a request, and the events of a client that is away, are kept.
        queue: the most events that may wait for one stream.
        follow: whether executions are polled until a callback arrives.
    """

    heartbeat: float = 30.0
    request_lifetime: float = 1800.0
    queue: int = 256
    follow: bool = True


class Delivery(StrEnum):
    """What became of a result."""

    DELIVERED = "delivered"
    QUEUED = "queued"
    DUPLICATE = "duplicate"


@dataclass(frozen=True, slots=True)
class Outcome:
    """The end of an execution: `data` is the JSON of its result, `error` the text of its failure, or None."""

    data: bytes
    error: str | None = None
    execution_id: str = ""


class Stream(Protocol):
    """An open stream of a client."""

    def wake(self, count: int) -> None:
        """Write what is new: `count` more events."""


Notify = Callable[[str], None]
"""Wakes the streams that other processes have of a client."""


def _alone(client_id: str) -> None:
    """Do nothing: there is no other process."""


class Hub:
    """The clients and requests. It survives a reload, which may change its settings and its store."""

    def __init__(self) -> None:
        self.settings = LiveSettings()
        self.store: LiveStore = MemoryLive()
        self.process = "0"
        """The name of this process among those of the store."""
        self.notify: Notify = _alone
        self._streams: dict[str, set[Stream]] = {}

    def use(self, settings: LiveSettings, store: LiveStore) -> None:
        """Use other settings and another store, also for the streams that are open."""
        self.settings, self.store = settings, store
        for client_id in list(self._streams):
            self.wake(client_id, 0)

    # Clients

    async def open_client(self, client_id: str | None, user_id: int) -> str:
        """Return the id of a client, which belongs to the user who used it first; without an id, that of a new one.

        Raises:
            BadRequest: the id is malformed.
            Forbidden: it is another user's.
            Unavailable: there are too many clients.
        """
        if client_id is not None and not _CLIENT_ID.fullmatch(client_id):
            raise BadRequest("client_id has up to 128 letters, digits and the characters . _ : -")
        name = client_id or str(uuid.uuid4())
        try:
            owner = await self.store.open_client(name, user_id, time.time())
        except NoRoom as error:
            raise Unavailable("Too many clients", detail=str(error)) from None
        if owner != user_id:
            raise Forbidden("This client_id belongs to another user", detail=f"client {name}")
        return name

    async def waiting(self, client_id: str) -> list[Waiting]:
        """Return the requests whose result a client waits for."""
        found = [each for each in await self.store.waiting(client_id) if self._is_kept(each)]
        return [Waiting(each.request_id, each.execution_id, each.path) for each in found]

    async def join(self, client_id: str, stream: Stream) -> None:
        """Add an open stream of a client."""
        streams = self._streams.setdefault(client_id, set())
        streams.add(stream)
        if len(streams) == 1:
            await self.store.open_stream(client_id, self.process)

    def leave(self, client_id: str, stream: Stream) -> None:
        """Remove a stream that has ended."""
        streams = self._streams.get(client_id, set())
        streams.discard(stream)
        if not streams and self._streams.pop(client_id, None) is not None:
            self.store.close_stream(client_id, self.process, time.time())

    def wake(self, client_id: str, count: int = 1) -> None:
        """Let the streams that this process has of a client write what is new."""
        for stream in list(self._streams.get(client_id, ())):
            stream.wake(count)

    def wake_all(self) -> None:
        """Let all streams of this process look for new events."""
        for client_id in list(self._streams):
            self.wake(client_id, 0)

    # Requests

    async def begin(self, client_id: str, user_id: int, identity: bytes) -> StoredRequest:
        """Begin a request of a client; its id goes with the start, for the callback. Raises as `open_client`.

        `identity` are the lines with which the execution is followed, if that is switched on.
        """
        name = await self.open_client(client_id, user_id)
        lines = identity.decode("latin-1")
        request = StoredRequest(str(uuid.uuid4()), name, user_id, time.time(), identity=lines, process=self.process)
        try:
            await self.store.begin(request)
        except NoRoom as error:
            raise Unavailable("Too many requests wait for a result", detail=str(error)) from None
        return request

    async def find(self, request_id: str) -> StoredRequest:
        """Return a request. Raises NotFound."""
        request = await self._find(request_id)
        for pause in _PAUSES:
            if request.execution_id:
                break
            await asyncio.sleep(pause)  # a worker is faster than the response to the start, which names the execution
            request = await self._find(request_id)
        return request

    async def _find(self, request_id: str) -> StoredRequest:
        request = await self.store.request(request_id)
        if request is None or not self._is_kept(request):
            raise NotFound("Request not found")
        return request

    def _is_kept(self, request: StoredRequest) -> bool:
        return request.alive_at >= time.time() - self.settings.request_lifetime

    # Events

    async def finish(self, request: StoredRequest, outcome: Outcome) -> Delivery:
        """Add the result of a request to the events of its client, once. Raises Unavailable if there is no room."""
        if request.is_over:
            return Delivery.DUPLICATE
        execution_id = request.execution_id or outcome.execution_id
        word = "completed" if outcome.error is None else "failed"
        change = state(execution_id, f"playbook.{word}", None, word, datetime.now(UTC).isoformat())
        if outcome.error is not None:
            result = failure(request.request_id, execution_id, outcome.error, outcome.data)
        else:
            result = success(request.request_id, execution_id, outcome.data)
        events = ((STATE, notification(STATE, change)), (RESULT, result))
        try:
            added = await self.store.finish(request.request_id, events, self._kept)
        except NoRoom as error:
            raise Unavailable("Too many results are waiting", detail=str(error)) from None
        if not added:
            return Delivery.DUPLICATE
        self._announce(request.client_id, len(events))
        return Delivery.DELIVERED if await self.store.connected(request.client_id) else Delivery.QUEUED

    async def progress(self, request: StoredRequest, step: Any, message: Any, progress: Any) -> None:
        """Add a report of progress, of JSON values, to the events of the client of a request, which goes on."""
        await self.store.keep(request.request_id, time.time())
        params = {"requestId": request.request_id, "executionId": request.execution_id}
        params |= {"step": step, "message": message, "progress": progress}
        await self._append(request, [(PROGRESS, notification(PROGRESS, params))])

    async def steps_ended(self, request: StoredRequest, steps: Sequence[str], at: str) -> None:
        """Add the ends of steps to the events of the client of a request."""
        changes = [state(request.execution_id, "step.exit", step, "COMPLETED", at) for step in steps]
        await self._append(request, [(STATE, notification(STATE, change)) for change in changes])

    async def _append(self, request: StoredRequest, events: Sequence[tuple[str, bytes]]) -> None:
        try:
            await self.store.append(request.request_id, events, self._kept)
        except NoRoom as error:
            raise Unavailable("Too many results are waiting", detail=str(error)) from None
        self._announce(request.client_id, len(events))

    def _announce(self, client_id: str, count: int) -> None:
        self.wake(client_id, count)
        self.notify(client_id)

    @property
    def _kept(self) -> int:
        return _KEPT_FACTOR * self.settings.queue

    async def purge(self) -> None:
        """Delete what has been kept for long enough."""
        await self.store.purge_live(time.time() - self.settings.request_lifetime)
