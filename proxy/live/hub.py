"""The clients and requests of this process: who waits for which result, and what has arrived for whom.

Everything is bounded: clients of a user, clients, requests, and the bytes of all events. Results are never dropped to
make room: a callback for which there is none is refused, so that its sender can repeat it.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass
from datetime import UTC, datetime
from enum import StrEnum
from typing import Any

from proxy.errors import BadRequest, Forbidden, NotFound, Unavailable
from proxy.live.clients import LiveClient, is_client_id
from proxy.live.event_log import EventLog, LogFull
from proxy.live.messages import PROGRESS, RESULT, STATE, Waiting, failure, notification, state, success

_MAX_CLIENTS = 50_000
_CLIENTS_OF_USER = 100
_REQUESTS_OF_CLIENT = 1000
_LOG_FACTOR = 4
_CLIENT_BYTES = 24 * 1024**2
_ALL_BYTES = 256 * 1024**2
MAX_RESULT = 5 * 1024**2
"""The largest body of a callback, in bytes."""


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


@dataclass(slots=True, eq=False)
class LiveRequest:
    """A start with the id of a client, which waits for the result. The execution is known after the start."""

    request_id: str
    client: LiveClient
    created_at: float
    execution_id: str = ""
    path: str = ""
    is_over: bool = False


class Hub:
    """The clients and requests of this process. It survives a reload, which may change its settings."""

    def __init__(self) -> None:
        self.settings = LiveSettings()
        self.clients: dict[str, LiveClient] = {}
        self.requests: dict[str, LiveRequest] = {}
        self._of_user: dict[int, dict[str, LiveClient]] = {}
        self._bytes = 0
        self._number = int(time.time() * 1000)

    # Clients

    def client(self, client_id: str | None, user_id: int) -> LiveClient:
        """Return the client with an id, which belongs to the user who used it first; without an id, a new client.

        Raises:
            BadRequest: the id is malformed.
            Forbidden: it is another user's.
            Unavailable: there are too many clients.
        """
        now = time.monotonic()
        self._expire(now)
        if client_id is not None and not is_client_id(client_id):
            raise BadRequest("client_id has up to 128 letters, digits and the characters . _ : -")
        client = self.clients.pop(client_id, None) if client_id is not None else None
        if client is None:
            client = self._new_client(client_id or str(uuid.uuid4()), user_id)
        elif client.user_id != user_id:
            self.clients[client.client_id] = client
            raise Forbidden("This client_id belongs to another user", detail=f"client {client.client_id}")
        client.used_at = now
        self.clients[client.client_id] = client  # at the end: the clients are in the order of their last use
        return client

    def _new_client(self, client_id: str, user_id: int) -> LiveClient:
        own = self._of_user.get(user_id, {})
        if len(own) >= _CLIENTS_OF_USER:
            away = next((each for each in own.values() if not each.connected and not each.requests), None)
            if away is None:
                raise Unavailable("Too many clients", detail=f"user {user_id} has {len(own)} clients")
            self._drop(away)
        if len(self.clients) >= _MAX_CLIENTS:
            raise Unavailable("Too many clients", detail=f"{len(self.clients)} clients")
        queue = self.settings.queue
        client = LiveClient(
            client_id, user_id, EventLog(_LOG_FACTOR * queue, _CLIENT_BYTES, self._next_number()), queue
        )
        self._of_user.setdefault(user_id, {})[client_id] = client
        return client

    def waiting(self, client: LiveClient) -> list[Waiting]:
        """Return the requests whose result a client waits for."""
        found = [self.requests[each] for each in client.requests]
        found.sort(key=lambda each: each.created_at)
        return [Waiting(each.request_id, each.execution_id, each.path) for each in found]

    def _drop(self, client: LiveClient) -> None:
        del self.clients[client.client_id]
        own = self._of_user[client.user_id]
        del own[client.client_id]
        if not own:
            del self._of_user[client.user_id]
        self._bytes -= client.log.size
        for request_id in client.requests:
            del self.requests[request_id]

    def _expire(self, now: float) -> None:
        """Forget requests and absent clients whose time is over; the oldest come first."""
        oldest = now - self.settings.request_lifetime
        while self.requests and (first := next(iter(self.requests.values()))).created_at < oldest:
            del self.requests[first.request_id]
            first.client.requests.discard(first.request_id)
        while self.clients and (client := next(iter(self.clients.values()))).used_at < oldest:
            if client.connected or client.requests:
                del self.clients[client.client_id]
                client.used_at = now
                self.clients[client.client_id] = client
            else:
                self._drop(client)

    # Requests

    def begin(self, client_id: str, user_id: int) -> LiveRequest:
        """Begin a request of a client; its id goes with the start, for the callback. Raises as `client`."""
        client = self.client(client_id, user_id)
        if len(client.requests) >= _REQUESTS_OF_CLIENT:
            raise Unavailable("Too many requests wait for a result", detail=f"client {client.client_id}")
        request = LiveRequest(str(uuid.uuid4()), client, time.monotonic())
        self.requests[request.request_id] = request
        client.requests.add(request.request_id)
        return request

    def started(self, request: LiveRequest, execution_id: str, path: str) -> None:
        """Note which execution a request has started."""
        request.execution_id, request.path = execution_id, path

    def abandon(self, request: LiveRequest) -> None:
        """Forget a request that has started nothing."""
        self.requests.pop(request.request_id, None)
        request.client.requests.discard(request.request_id)

    def find(self, request_id: str) -> LiveRequest:
        """Return a request. Raises NotFound."""
        self._expire(time.monotonic())
        request = self.requests.get(request_id)
        if request is None:
            raise NotFound("Request not found")
        return request

    # Events

    def finish(self, request: LiveRequest, outcome: Outcome) -> Delivery:
        """Add the result of a request to the events of its client, once. Raises Unavailable if there is no room."""
        if request.is_over:
            return Delivery.DUPLICATE
        client, execution_id = request.client, request.execution_id or outcome.execution_id
        failed = outcome.error is not None
        word = "failed" if failed else "completed"
        change = state(execution_id, f"playbook.{word}", None, word, datetime.now(UTC).isoformat())
        if outcome.error is not None:
            result = failure(request.request_id, execution_id, outcome.error, outcome.data)
        else:
            result = success(request.request_id, execution_id, outcome.data)
        self._append(client, (STATE, notification(STATE, change)), (RESULT, result))
        request.is_over = True
        client.requests.discard(request.request_id)
        return Delivery.DELIVERED if client.connected else Delivery.QUEUED

    def progress(self, request: LiveRequest, step: Any, message: Any, progress: Any) -> None:
        """Add a report of progress, of JSON values, to the events of the client of a request."""
        params = {"requestId": request.request_id, "executionId": request.execution_id}
        params |= {"step": step, "message": message, "progress": progress}
        self._append(request.client, (PROGRESS, notification(PROGRESS, params)))

    def step_ended(self, request: LiveRequest, step: str, at: str) -> None:
        """Add the end of a step to the events of the client of a request."""
        params = state(request.execution_id, "step.exit", step, "COMPLETED", at)
        self._append(request.client, (STATE, notification(STATE, params)))

    def _append(self, client: LiveClient, *events: tuple[str, bytes]) -> None:
        log, before = client.log, client.log.size
        if self._bytes + sum(len(data) for _, data in events) > _ALL_BYTES:
            raise Unavailable("Too many results are waiting", detail="the memory for events is used up")
        try:
            for method, data in events:
                log.append(self._next_number(), method, data)
        except LogFull:
            raise Unavailable("Too many results are waiting", detail=f"client {client.client_id}") from None
        finally:
            self._bytes += log.size - before
        client.announce()

    def _next_number(self) -> int:
        """Return the next number. Numbers begin with the time, so that they grow across restarts, too."""
        self._number = max(self._number + 1, int(time.time() * 1000))
        return self._number
