"""The body of a real server's response, passed on part by part, with a copy of it for the recording."""

from __future__ import annotations

import logging
from collections.abc import Awaitable, Callable

import httpx

_log = logging.getLogger("mock_server")


class RecordedStream:
    """An asynchronous iterator over the parts of a body as they come, which is recorded once it is complete.

    A body that is too large is passed on, too; like one that its reader leaves, it is not recorded, with a log line.
    """

    def __init__(
        self, answer: httpx.Response, limit: int, place: str, record: Callable[[bytes], Awaitable[None]]
    ) -> None:
        """Begin with the open response of the real server.

        Args:
            answer: the response; it is closed at the end.
            limit: the bytes that are kept.
            place: the path of the request, for log lines.
            record: called with the whole body, before its reader sees the end.
        """
        self._answer = answer
        self._parts = answer.aiter_raw()
        self._limit = limit
        self._place = place
        self._record = record
        self._kept: list[bytes] | None = []
        self._size = 0

    def __aiter__(self) -> RecordedStream:
        return self

    async def __anext__(self) -> bytes:
        """Return the next part. Raises ConnectionResetError if the real server ends within the body."""
        try:
            part = await anext(self._parts)
        except StopAsyncIteration:
            await self._end()
            raise
        except httpx.HTTPError as error:
            self._discard(f"the real server ended within the body: {type(error).__name__}")
            raise ConnectionResetError("the real server ended within the body") from None
        self._size += len(part)
        if self._kept is not None and self._size > self._limit:
            self._discard(f"the body is over {self._limit} bytes")
        if self._kept is not None:
            self._kept.append(part)
        return part

    async def aclose(self) -> None:
        """Close the connection to the real server; a body that is not complete is not recorded."""
        self._discard("the client left before the end")
        await self._answer.aclose()

    async def _end(self) -> None:
        kept, self._kept = self._kept, None
        if kept is not None:
            await self._record(b"".join(kept))

    def _discard(self, reason: str) -> None:
        if self._kept is not None:
            _log.warning("not recorded, as %s: %s", reason, self._place)
        self._kept = None
