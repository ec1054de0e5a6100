"""A request's body as it arrives: within a size, a pause and a rate. The only module here that waits."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Callable
from typing import Any, Protocol

from proxy.errors import BadRequest, PayloadTooLarge, RequestTimeout
from proxy.http.json import parse_json, require_json
from proxy.http.request import RequestFields
from proxy.http.response import CONTINUE

_MAX_REST = 1024 * 1024
_CLOSED = "Connection closed."
"""What a RuntimeError of aiohttp says if a body is read whose connection is gone."""


class ClientLeft(ConnectionError):
    """The client closed its connection before it had its response."""


class Content(Protocol):
    """Where a body's bytes come from; aiohttp's StreamReader."""

    total_bytes: int

    async def readany(self) -> bytes:
        """Return the bytes that have arrived, at least one; nothing at the end."""

    def is_eof(self) -> bool:
        """Return whether the whole body has arrived."""


class RequestBody:
    """The body of one request.

    Args:
        content: its bytes; None for no body.
        fields: of the request.
        length: its announced length; None for a body in chunks.
        pause: the longest wait for a part of it, in seconds.
        min_rate: the least bytes in a second, once `pause` is used up; 0 is off.
        send: writes to the client.
    """

    __slots__ = ("_content", "_fields", "_min_rate", "_pause", "_send", "awaits_continue", "length")

    def __init__(
        self,
        content: Content | None,
        fields: RequestFields,
        length: int | None,
        pause: float,
        min_rate: int,
        send: Callable[[bytes], None],
    ) -> None:
        self._content = content
        self._fields = fields
        self.length = length
        self._pause = pause
        self._min_rate = min_rate
        self._send = send
        self.awaits_continue = content is not None and fields.expects_continue

    @property
    def exists(self) -> bool:
        """Whether the request has a body."""
        return self._content is not None

    @property
    def rest_is_unwanted(self) -> bool:
        """Whether a response had better end the connection: much of the body is still to come, or none of it will,
        as the client waits for 100 (RFC 9110, 10.1.1)."""
        content = self._content
        if content is None or content.is_eof():
            return False
        return self.awaits_continue or self.length is None or self.length - content.total_bytes > _MAX_REST

    async def read(self, limit: int) -> bytes:
        """Return the whole body of at most `limit` bytes. Raises PayloadTooLarge or RequestTimeout."""
        if self.length is not None and self.length > limit:
            raise PayloadTooLarge(detail=f"{self.length} bytes announced, {limit} allowed")
        data = bytearray()
        async for chunk in self.chunks(limit):
            data += chunk
        return bytes(data)

    async def chunks(self, limit: int) -> AsyncIterator[bytes]:
        """Yield the body as it arrives, at most `limit` bytes. Raises PayloadTooLarge or RequestTimeout.

        A client that waits for 100 gets it now, and not before: one whose request was refused never sends its body.
        """
        content = self._content
        if content is None:
            return
        if self.awaits_continue:
            self.awaits_continue = False
            if not content.total_bytes:
                self._send(CONTINUE)
        total, waited = 0, 0.0
        while True:
            start = time.monotonic()
            try:
                async with asyncio.timeout(self._pause):
                    chunk = await content.readany()
            except TimeoutError:
                raise RequestTimeout(detail=f"no part of the body for {self._pause:g} s") from None
            except RuntimeError as error:
                if str(error) != _CLOSED:
                    raise
                raise ClientLeft("the client left") from None
            if not chunk:
                return
            total += len(chunk)
            waited += time.monotonic() - start
            if total > limit:
                raise PayloadTooLarge(detail=f"more than {limit} bytes")
            if self._min_rate and waited > self._pause + total / self._min_rate:
                raise RequestTimeout(detail=f"{total} bytes of the body in {waited:.1f} s")
            yield chunk

    async def json(self, limit: int) -> Any:
        """Return the JSON body. Raises UnsupportedMediaType, BadRequest and what `read` raises."""
        require_json(self._fields)
        return parse_json(await self.read(limit))

    async def json_object(self, limit: int) -> dict[str, Any]:
        """Return the body, which must be a JSON object; an empty body is an empty object."""
        return read_object(self._fields, await self._object_bytes(limit))

    async def _object_bytes(self, limit: int) -> bytes:
        if not self.exists:
            return b""
        require_json(self._fields)
        return await self.read(limit)


def read_object(fields: RequestFields, data: bytes) -> dict[str, Any]:
    """Return a body that has arrived, which must be a JSON object; an empty body is an empty object.

    Raises:
        UnsupportedMediaType: it is not declared as JSON.
        BadRequest: it is not a JSON object.
    """
    if not data:
        return {}
    require_json(fields)
    document = parse_json(data)
    if not isinstance(document, dict):
        raise BadRequest("The body must be a JSON object")
    return document


async def read_ahead(chunks: AsyncIterator[bytes], enough: int) -> tuple[bytes, bool]:
    """Return the first `enough` bytes of a body, or somewhat more; and whether that was all."""
    data = bytearray()
    async for chunk in chunks:
        data += chunk
        if len(data) >= enough:
            return bytes(data), False
    return bytes(data), True


async def rejoined(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    """Yield a body whose beginning was read ahead."""
    yield first
    async for chunk in rest:
        yield chunk
