"""A stream of server-sent events that is resumed when it breaks: what arrives, and when to try again. Without I/O.

Private to `proxy.client`, whose two clients open the streams.
"""

from __future__ import annotations

import random
import time
from collections.abc import Iterable
from typing import Any, Generic, NamedTuple, TypeVar

import httpx

from proxy.client._types import ApiError, ConnectionFailed, ExecutionTimeout, ServerError

T = TypeVar("T")
_SILENCE = 90.0
"""The longest time without a line, in seconds; the gateway sends one more often."""
_FIRST_PAUSE, _LAST_PAUSE = 0.5, 8.0
MAX_FAILURES = 10


class Received(NamedTuple):
    """An event: its type, its data, and its id, which is that of the last event that had one."""

    kind: str
    data: str
    id: str


class EventStream(Generic[T]):
    """The state of a stream. `over`: it is at its end; `failures` counts streams that broke in a row.

    Args:
        execution_id: the execution that it is about, for errors; it may be empty.
        timeout: the maximum time, in seconds; None: no limit.
    """

    def __init__(self, execution_id: str, timeout: float | None) -> None:
        self.execution_id = execution_id
        self.over = False
        self.failures = 0
        self._deadline = None if timeout is None else time.monotonic() + timeout
        self._last_id = self._kind = self._data = ""
        self._retry: float | None = None

    def request(self, token: str, timeout: float) -> dict[str, Any]:
        """Return the arguments of httpx's `stream`. Raises ExecutionTimeout."""
        raise NotImplementedError

    def take(self, event: Received) -> Iterable[T]:
        """Return what the consumer gets for an event. Raises ApiError for one that reports a final error."""
        raise NotImplementedError

    def remaining(self) -> float | None:
        """Return the seconds that are left. Raises ExecutionTimeout if there are none."""
        if self._deadline is None:
            return None
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise ExecutionTimeout(self.execution_id, "running")
        return remaining

    def options(self, token: str, timeout: float) -> dict[str, Any]:
        """Return the headers and the timeouts of a request for the stream. Raises ExecutionTimeout."""
        remaining = self.remaining()
        silence = _SILENCE if remaining is None else min(_SILENCE, remaining)
        headers = {"accept": "text/event-stream", "authorization": f"Bearer {token}"}
        if self._last_id:
            headers["last-event-id"] = self._last_id
        return {"headers": headers, "timeout": httpx.Timeout(timeout, read=silence)}

    def opened(self, error: ApiError | None) -> bool:
        """Return whether a stream is open; `error` is that of its response. Raises the error if it is final."""
        if error is not None and not is_temporary(error):
            raise error
        return error is None

    def line(self, text: str) -> Received | None:
        """Take a line of the stream; return the event that it completes, if it does."""
        if text:
            name, _, value = text.partition(": ")
            if name == "event":
                self._kind = value
            elif name == "data":
                self._data += value
            elif name == "id":
                self._last_id = value
            elif name == "retry" and value.isdecimal():
                self._retry = int(value) / 1000
            return None
        found = Received(self._kind, self._data, self._last_id)
        self._kind = self._data = ""
        if not found.kind:
            return None
        self.failures = 0
        return found

    def events(self, text: str) -> Iterable[T]:
        """Take a line of the stream; return what the consumer gets."""
        event = self.line(text)
        return () if event is None else self.take(event)

    def broken(self) -> float:
        """Note that a stream has ended early; return the seconds to wait.

        Raises:
            ConnectionFailed: it breaks again and again.
            ExecutionTimeout: the time is over.
        """
        if self.failures >= MAX_FAILURES:
            raise ConnectionFailed("The stream of events breaks again and again")
        return self.pause()

    def pause(self) -> float:
        """Count a failure, and return the seconds to wait: what the gateway asks for, else more after each failure."""
        self.failures += 1
        self._kind = self._data = ""
        longest: float = min(_LAST_PAUSE, _FIRST_PAUSE * 2 ** (self.failures - 1))
        pause = longest * random.uniform(0.5, 1)  # noqa: S311 - jitter
        if self._retry is not None:
            pause, self._retry = self._retry, None
        remaining = self.remaining()
        return pause if remaining is None else min(pause, remaining)


def is_temporary(error: ApiError) -> bool:
    """Return whether a stream that ended with an error may be opened again."""
    return isinstance(error, ServerError) or error.status == 429
