"""Fetches the public documents of an identity provider: its key set and its discovery document.

Redirects, compressed responses and documents over the limit are rejected. Fetches run in tasks of their own, so that a
caller who leaves does not stop a fetch for which others wait; they end with the client.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any

import httpx

_MAX_BYTES = 256 * 1024


class DocumentClient:
    """An HTTP client for documents, and the tasks that fetch with it.

    Args:
        client: sends the requests.
    """

    def __init__(self, client: httpx.AsyncClient) -> None:
        self._client = client
        self._tasks: set[asyncio.Task[None]] = set()

    def start(self, fetch: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        """Return a task of a fetch. It is cancelled when this client is closed, at once if it already is."""
        task = asyncio.get_running_loop().create_task(fetch)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        if self._client.is_closed:
            task.cancel()
        return task

    async def get(self, url: str) -> bytes:
        """Return the JSON document at a URL, not yet read.

        Raises:
            httpx.HTTPError, httpx.InvalidURL: no response.
            ValueError: the response is not 200, is compressed, or is too large.
        """
        accept = {"accept": "application/json", "accept-encoding": "identity"}
        async with self._client.stream("GET", url, headers=accept, follow_redirects=False) as response:
            if response.status_code != 200:
                raise ValueError(f"status {response.status_code}")
            if response.headers.get("content-encoding", "identity").lower() != "identity":
                raise ValueError("compressed, although no compression was accepted")
            data = bytearray()
            async for chunk in response.aiter_bytes():
                data += chunk
                if len(data) > _MAX_BYTES:
                    raise ValueError(f"larger than {_MAX_BYTES} bytes")
            return bytes(data)

    async def close(self) -> None:
        """Cancel the fetches that are under way, and close the connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        await self._client.aclose()
